#!/usr/bin/env bash
# simple-repository 0.11.1, the library of CERN's index servers, quotes each URL of an upstream's page once more, on HTML and on JSON pages. A URL
# that is already quoted, as it must be, then names another file: %2B becomes %252B, and the ? before a query becomes %3F. So each file with a
# local version label (PEP 440) is lost behind an upstream that writes its plus sign as %2B, and so is each file behind a signed link.
# pip 26.3 and uv 0.13.9 install all three from such pages themselves (seen by hand, not run here).
#
# Seen: links of the upstream, the path that HttpRepository gives for each, and what the upstream answers to it
#   HTML and JSON   demo-1.0-py3-none-any.whl                 as it is                       200
#   HTML and JSON   demo-1.0%2Bcpu-py3-none-any.whl           demo-1.0%252Bcpu-…             404
#   HTML and JSON   demo-2.0-py3-none-any.whl?signature=5f1c  demo-2.0-…%3Fsignature%3D5f1c  404
# Exit: 0 while that is so, 1 when it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check simple-repository==0.11.1
"$work/env/bin/python" - <<'PY'
import asyncio
import http.server
import importlib.metadata
import json
import sys
import threading
import urllib.parse

import httpx
from simple_repository.components.http import HttpRepository

names = ["demo-1.0-py3-none-any.whl", "demo-1.0+cpu-py3-none-any.whl", "demo-2.0-py3-none-any.whl"]
links = ["/demo-1.0-py3-none-any.whl", "/demo-1.0%2Bcpu-py3-none-any.whl", "/demo-2.0-py3-none-any.whl?signature=5f1c"]


def page(kind):
    if kind == "html":
        anchors = "".join(f'<a href="{link}">{name}</a>' for name, link in zip(names, links))
        return "text/html", f"<!DOCTYPE html><html><body>{anchors}</body></html>"
    files = [{"filename": name, "url": link, "hashes": {}} for name, link in zip(names, links)]
    return "application/vnd.pypi.simple.v1+json", json.dumps({"meta": {"api-version": "1.0"}, "name": "demo", "files": files})


class Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = urllib.parse.unquote(self.path.partition("?")[0])
        status, kind, body = 404, "text/plain", ""
        if path.endswith("/demo/"):
            status, (kind, body) = 200, page(path.split("/")[1])
        elif path.removeprefix("/") in names:
            status = 200
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"


async def main():
    print("simple-repository", importlib.metadata.version("simple-repository"))
    seen = []
    async with httpx.AsyncClient() as client:
        for kind in ("html", "json"):
            project = await HttpRepository(f"{root}/{kind}/", client).get_project_page("demo")
            for link, file in zip(links, project.files):
                direct, given = (await client.get(root + link)).status_code, (await client.get(file.url)).status_code
                seen.append((direct, file.url.removeprefix(root), given))
                print(kind, link, *seen[-1])
    return seen


expected = [
    (200, "/demo-1.0-py3-none-any.whl", 200),
    (200, "/demo-1.0%252Bcpu-py3-none-any.whl", 404),
    (200, "/demo-2.0-py3-none-any.whl%3Fsignature%3D5f1c", 404),
]
sys.exit(asyncio.run(main()) != expected * 2)
PY
