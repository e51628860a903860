#!/usr/bin/env bash
# pip 26.3 does not install an sdist whose members begin with `./`; uv 0.13.9 does.
#
# `tar czf dots-1.0.tar.gz ./dots-1.0` makes a valid gzipped tar with the one top-level directory `dots-1.0`, as the source
# distribution format asks for (PEP 517, PEP 625). pip takes the dot for the top directory, strips that, and then finds neither
# setup.py nor pyproject.toml. The same files packed without the dot install.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv env && env/bin/python -m pip install -q "pip==26.3" "uv==0.13.9" >/dev/null
mkdir dots-1.0 && cd dots-1.0
printf 'Metadata-Version: 2.1\nName: dots\nVersion: 1.0\n' > PKG-INFO
printf '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n' > pyproject.toml
cat > backend.py <<'PY'
import pathlib, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    info, name = "dots-1.0.dist-info", "dots-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: dots\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return name
PY
cd ..
mkdir plain dotted
tar czf plain/dots-1.0.tar.gz dots-1.0
tar czf dotted/dots-1.0.tar.gz ./dots-1.0
env/bin/pip --version; env/bin/uv --version
try() { if "$@" >out.txt 2>&1; then echo installed; else grep -o "does not appear to be a Python project" out.txt | head -1 || tail -1 out.txt; fi; }
pip() { try env/bin/pip install -q --no-deps --no-cache-dir --target "$work/$1-pip" "$1/dots-1.0.tar.gz"; }
uv() { try env/bin/uv pip install -q --no-deps --no-cache --target "$work/$1-uv" "$1/dots-1.0.tar.gz"; }
seen="pip plain: $(pip plain); pip dotted: $(pip dotted); uv plain: $(uv plain); uv dotted: $(uv dotted)"
echo "$seen"
[ "$seen" = "pip plain: installed; pip dotted: does not appear to be a Python project; uv plain: installed; uv dotted: installed" ]
