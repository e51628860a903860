#!/usr/bin/env bash
# pip 26.3 does not read the name of a file where the standards put it: it takes the last part of the URL's path, and passes over `filename` of a JSON
# page (PEP 691: "The filename that is being represented", beside `url`, "The URL that the file can be fetched from") and `name` of a wheel in
# pylock.toml (PEP 751, which falls back to the URL only where there is no name). So an index or a lock whose files lie under an id or a digest,
# as content-addressed stores and download links have it, holds nothing for pip: "from versions: none", and no word, with -v either, about the file
# that it passed over. uv 0.13.9 installs from both.
#
# Seen: demo-1.0-py3-none-any.whl at the URL /files/5f1c
#                     pip 26.3                                             uv 0.13.9
#   JSON page         "from versions: none"                                installed
#   pylock.toml       "Could not install locked package 'demo'"            installed
#   both of them with the URL /files/demo-1.0-py3-none-any.whl             both install
# Exit: 0 while that is so, 1 when it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 pip==26.3
"$work/env/bin/python" - "$work" <<'PY'
import hashlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import zipfile

work = pathlib.Path(sys.argv[1])
name, info = "demo-1.0-py3-none-any.whl", "demo-1.0.dist-info"
content = io.BytesIO()
with zipfile.ZipFile(content, "w") as archive:
    archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(f"{info}/RECORD", "".join(f"{info}/{each},,\n" for each in ("METADATA", "WHEEL", "RECORD")))
wheel = content.getvalue()
sha256 = hashlib.sha256(wheel).hexdigest()
urls = {"named": f"/files/{name}", "numbered": "/files/5f1c"}


class Index(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        kind, body = "application/octet-stream", wheel
        if not self.path.startswith("/files/"):
            file = {"filename": name, "url": urls[self.path.split("/")[1]], "hashes": {"sha256": sha256}, "size": len(wheel)}
            page = {"meta": {"api-version": "1.1"}, "name": "demo", "versions": ["1.0"], "files": [file]}
            kind, body = "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}"
environment = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
pip = ["pip", "install", "--isolated", "--no-cache-dir", "--disable-pip-version-check"]
uv = ["uv", "pip", "install", "--no-cache", "--no-config", "--preview", "--python", work / "env/bin/python"]
seen = {}
for case, url in urls.items():
    lock = work / case / "pylock.toml"
    lock.parent.mkdir()
    lock.write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{name}", url = "{root}{url}", size = {len(wheel)}, hashes = {{ sha256 = "{sha256}" }} }}]\n'
    )
    for source, words in (("page", ["--index-url", f"{root}/{case}/", "demo"]), ("lock", ["-r", lock])):
        for tool in (pip, uv):
            target = work / case / source / tool[0]
            command = [work / "env/bin" / tool[0], *tool[1:], "--target", target, *words]
            ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=work)
            installed = (target / info).is_dir()
            failures = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith(("ERROR", "error"))]
            seen[case, source, tool[0]] = installed
            print(f"{case:9} {source} {tool[0]:4}", "installed" if installed else failures[:1])
for command in (["pip", "--version"], ["uv", "--version"]):
    print(subprocess.run([work / "env/bin" / command[0], *command[1:]], capture_output=True, text=True, env=environment).stdout.split(" from")[0].strip())
sys.exit(any(installed != (tool == "uv" or case == "named") for (case, _source, tool), installed in seen.items()))
PY
