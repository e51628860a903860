#!/usr/bin/env bash
# One pdm.lock of PDM 2.29.4 installs three different builds, as the index changes, if a version has builds with local labels (PEP 440), as
# projects publish for each accelerator. The lock drops the label: it says version 1.0, and lists the files of 1.0, 1.0+cpu and 1.0+cuda
# together, each with its hash. `pdm sync` takes the highest label among those that the index still shows, says "Install demo 1.0 successful",
# and exits 0; nothing in the lock tells which build was tested. Only a requirement that names the label (demo==1.0+cpu) locks one build.
# uv 0.13.9 and Poetry 2.5.1 lock 1.0+cuda and its one file, from the same page for the same requirement (seen by hand, not run here).
#
# Versions: pdm 2.29.4 with hishel 1.4.0. Seen:
#   in the lock                           1.0: demo-1.0+cpu demo-1.0+cuda demo-1.0
#   pdm sync, index shows all             1.0+cuda
#   the same lock, 1.0+cuda was removed   1.0+cpu
#   the same lock, only 1.0 is left       1.0
# Exit: 0 while that is so, 1 when it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pdm==2.29.4 hishel==1.4.0
"$work/env/bin/python" - "$work" <<'PY'
import functools
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import zipfile

work = pathlib.Path(sys.argv[1])
project, site = work / "project", work / "site"
page = site / "simple/demo/index.html"
for folder in (project, page.parent):
    folder.mkdir(parents=True)


def wheel(version):
    path, info = site / f"demo-{version}-py3-none-any.whl", f"demo-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "".join(f"{info}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")))
    return f'<a href="/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'


links = {version: wheel(version) for version in ("1.0", "1.0+cpu", "1.0+cuda")}


def show(*versions):
    page.write_text("<!DOCTYPE html><html><body>" + "".join(links[version] for version in versions) + "</body></html>")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
threading.Thread(target=server.serve_forever, daemon=True).start()
(project / "pyproject.toml").write_text(f"""
[project]
name = "application"
version = "1"
requires-python = ">=3.9"
dependencies = ["demo"]
[tool.pdm]
distribution = false
[[tool.pdm.source]]
name = "pypi"
url = "http://127.0.0.1:{server.server_port}/simple/"
""")
environment = {name: value for name, value in os.environ.items() if not name.startswith("PDM_") and name != "VIRTUAL_ENV"}
environment |= {"HOME": str(work), "PDM_CACHE_DIR": str(work / "cache"), "PDM_CHECK_UPDATE": "0", "PDM_IGNORE_SAVED_PYTHON": "1"}


def pdm(*words):
    shutil.rmtree(project / ".venv", ignore_errors=True)
    shutil.rmtree(work / "cache", ignore_errors=True)
    subprocess.run([work / "env/bin/pdm", *words], cwd=project, env=environment, check=True, capture_output=True)


show(*links)
pdm("lock")
lock = (project / "pdm.lock").read_text()
seen = [re.search(r'name = "demo"\nversion = "(.*)"', lock)[1] + ": " + " ".join(re.findall(r'"(demo-.*?)-py3', lock))]
for shown in (["1.0", "1.0+cpu", "1.0+cuda"], ["1.0", "1.0+cpu"], ["1.0"]):
    show(*shown)
    pdm("sync")
    [installed] = (project / ".venv").glob("lib/python*/site-packages/demo-*.dist-info")
    seen.append(installed.name.removeprefix("demo-").removesuffix(".dist-info"))
assert (project / "pdm.lock").read_text() == lock
print(subprocess.run([work / "env/bin/pdm", "--version"], env=environment, capture_output=True, text=True).stdout.strip(), *seen, sep="\n")
sys.exit(seen != ["1.0: demo-1.0+cpu demo-1.0+cuda demo-1.0", "1.0+cuda", "1.0+cpu", "1.0"])
PY
