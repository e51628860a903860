#!/usr/bin/env bash
# None of pip 26.3, uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 can use a project page whose <base href> is relative, though it is valid: the simple
# repository API (PEP 503) asks for valid HTML5, where the base's URL may be relative and is then taken against the page's own (what browsers
# do). All four take the relative value for the base itself: the links of the page lose their scheme and host, and uv refuses the page. A server
# that does not know under which host it is reached, as behind a reverse proxy, can write a base in no other form.
#
# Seen: a page with one link, demo-1.0-py3-none-any.whl, and
#          <base href="http://host/files/">   <base href="/files/">
#   pip    installs                           "No connection adapters were found for ':///files/…"
#   uv     installs                           "Failed to parse URL: /files/", "relative URL without a base"
#   Poetry locks                              "Invalid URL '/files/…': No scheme supplied"
#   PDM    locks                              "Request URL is missing an 'http://' or 'https://' protocol"
# Exit: 0 while that is so, 1 when it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$work/env/bin/uv" pip install --quiet --python "$work/env/bin/python" pip==26.3 poetry==2.5.1 pdm==2.29.4 hishel==1.4.0
"$work/env/bin/python" - "$work" <<'PY'
import hashlib
import http.server
import io
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
link = f'<a href="{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>'


class Index(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        status, kind, body = 404, "text/plain", b""
        if self.path == f"/files/{name}":
            status, kind, body = 200, "application/octet-stream", wheel
        elif self.path.endswith("/demo/"):
            base = "/files/" if self.path.startswith("/relative/") else f"{root}/files/"
            page = f'<!DOCTYPE html><html><head><title>demo</title><base href="{base}"></head><body>{link}</body></html>'
            status, kind, body = 200, "text/html", page.encode()
        self.send_response(status)
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
foreign = ("UV_", "PIP_", "PDM_", "POETRY_")
environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign) and key != "VIRTUAL_ENV"}
environment |= {"HOME": str(work), "PDM_CHECK_UPDATE": "0", "PDM_IGNORE_SAVED_PYTHON": "1", "POETRY_VIRTUALENVS_CREATE": "false"}
project = '[project]\nname = "application"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["demo"]\n'
sources = {
    "poetry": '[tool.poetry]\npackage-mode = false\n[[tool.poetry.source]]\nname = "index"\nurl = "{index}"\n',
    "pdm": '[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\n',
}
commands = {
    "pip": "pip install --isolated --no-cache-dir --disable-pip-version-check --target {place}/target --index-url {index} demo",
    "uv": "uv pip install --no-config --no-cache --python {work}/env/bin/python --target {place}/target --default-index {index} demo",
    "poetry": "poetry lock --no-interaction --no-cache",
    "pdm": "pdm lock",
}
complaints = {
    "pip": "No connection adapters were found for ':///files/",
    "uv": "Failed to parse URL: /files/",
    "poetry": "Invalid URL '/files/",
    "pdm": "Request URL is missing an 'http://' or 'https://' protocol",
}
right = True
for tool, command in commands.items():
    version = subprocess.run([work / "env/bin" / tool, "--version"], capture_output=True, text=True, env=environment).stdout
    print(version.split(" from")[0].strip())
    for base in ("absolute", "relative"):
        place, index = work / tool / base, f"{root}/{base}/"
        place.mkdir(parents=True)
        (place / "pyproject.toml").write_text(project + sources.get(tool, "").format(index=index))
        words = command.format(place=place, index=index, work=work).split()
        own = environment | {"PDM_CACHE_DIR": str(place / "cache")}
        ran = subprocess.run([work / "env/bin" / words[0], *words[1:]], cwd=place, env=own, capture_output=True, text=True)
        said = " ".join((ran.stdout + ran.stderr).split())
        print(f"  {base} {ran.returncode}", "" if ran.returncode == 0 else said[max(said.find(complaints[tool]), 0) :][:90])
        right &= ran.returncode == 0 if base == "absolute" else ran.returncode != 0 and complaints[tool] in said
sys.exit(not right)
PY
