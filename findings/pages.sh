#!/usr/bin/env bash
# uv refuses a whole project page for one link or file whose digest is of an algorithm that the standards allow.
#
# Versions: uv 0.13.9, pip 26.3, Python 3.11 and newer. Seen 2026-11-29.
#
# The simple repository API (PEP 503) lets a link carry "#<hashname>=<hashvalue>" of any algorithm that hashlib guarantees, among them
# md5, sha1, sha224, sha256, sha384 and sha512. PEP 691: "hashes" maps names "that are valid to pass to hashlib.new".
#
#   page                                             pip 26.3     uv 0.13.9
#   HTML, one link has #sha1=…                       installs     "Unsupported hash algorithm", no version of the project installs
#   HTML, one link has #sha224=…                     installs     the same
#   JSON, one file has hashes {"sha1": …}            installs     installs: in JSON an unknown name is passed over
#   JSON, one file has {"blake2b": 128 digits}       installs     "Invalid hash digest length (expected 64 …)", the whole page again,
#         (what hashlib.new("blake2b") gives)                     even where the file has a sha256 as well
#
# In all of these demo==1.0 is asked for, whose own digest is sha256: the odd digest is that of demo 2.0.
# Exits 0 while this is so, 1 when a tool behaves otherwise.
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
import subprocess
import sys
import threading
import zipfile

work = sys.argv[1]


def wheel(version):
    info = f"demo-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"demo-{version}-py3-none-any.whl", out.getvalue()


wheels = dict(map(wheel, ("1.0", "2.0")))
old, new = wheels
digest = lambda name, algorithm: hashlib.new(algorithm, wheels[name]).hexdigest()


def html(algorithm):
    links = [f'<a href="/f/{old}#sha256={digest(old, "sha256")}">{old}</a>', f'<a href="/f/{new}#{algorithm}={digest(new, algorithm)}">{new}</a>']
    return "text/html", "<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>"


def page(*algorithms):
    files = [
        {"filename": old, "url": f"/f/{old}", "hashes": {"sha256": digest(old, "sha256")}},
        {"filename": new, "url": f"/f/{new}", "hashes": {name: digest(new, name) for name in algorithms}},
    ]
    return "application/vnd.pypi.simple.v1+json", json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files, "versions": ["1.0", "2.0"]})


pages = {
    "html-sha1": html("sha1"), "html-sha224": html("sha224"), "html-md5": html("md5"),
    "json-sha1": page("sha1"), "json-blake2b": page("blake2b"), "json-both": page("sha256", "blake2b"),
}  # fmt: skip
uv_refuses = {"html-sha1", "html-sha224", "json-blake2b", "json-both"}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        status, kind, body = 404, "text/plain", b""
        if parts[0] == "f" and parts[-1] in wheels:
            status, kind, body = 200, "application/octet-stream", wheels[parts[-1]]
        elif parts[0] in pages and parts[1:] == ["demo"]:
            status, (kind, text) = 200, pages[parts[0]]
            body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
here = f"{work}/env/bin"
wrong = 0
for name in pages:
    index = f"http://127.0.0.1:{server.server_port}/{name}/"
    uv = subprocess.run(
        [f"{here}/uv", "pip", "install", "--no-cache", "--no-config", "--python", f"{here}/python", "--target", f"{work}/uv-{name}",
         "--default-index", index, "demo==1.0"], capture_output=True, text=True, env=env)  # fmt: skip
    pip = subprocess.run(
        [f"{here}/pip", "install", "--isolated", "--no-cache-dir", "--quiet", "--target", f"{work}/pip-{name}", "-i", index, "demo==1.0"],
        capture_output=True, text=True, env=env)  # fmt: skip
    said = " ".join(uv.stderr.split())[-150:] if uv.returncode else "installed"
    print(f"{name:14} pip: {'installed' if not pip.returncode else 'failed'}   uv: {said}")
    wrong += (uv.returncode != 0) != (name in uv_refuses) or pip.returncode != 0
sys.exit(1 if wrong else 0)
PY
