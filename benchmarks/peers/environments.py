"""An environment for each peer, made once: `python -m benchmarks setup`.

Versions are pinned, so that a table says what it compares with; raise them deliberately. `uv` is used when there is one,
else `venv` and `pip`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.load import ROOT

CACHE = ROOT / ".cache" / "benchmarks"
ENVIRONMENTS = CACHE / "environments"

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "devpi-server": ("devpi-server==6.20.3",),
    "devpi-client": ("devpi-client==7.3.0",),
    # waitress: the threaded server that pypiserver takes by itself when it finds it; without, one request at a time.
    "pypiserver": ("pypiserver[passlib,cache]==2.4.2", "waitress==3.0.2"),
    "simple-repository-server": ("simple-repository-server==0.10.0",),
    "proxpi": ("proxpi==1.3.1", "gunicorn==23.0.0"),
}


def program(peer: str, name: str) -> Path:
    """A program of a peer's environment."""
    return ENVIRONMENTS / peer / ("Scripts" if sys.platform == "win32" else "bin") / name


def missing(peer: str) -> str:
    """What to do when the environment is not there, or is not the one that is pinned here."""
    return "" if _stamp(peer).exists() else "not installed; run `python -m benchmarks setup`"


def version(peer: str) -> str:
    return REQUIREMENTS[peer][0].rpartition("==")[2]


def set_up() -> None:
    """Make the environments that are not there yet."""
    for peer, requirements in REQUIREMENTS.items():
        if not missing(peer):
            print(f"{peer}: there")
            continue
        place = ENVIRONMENTS / peer
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(sys.executable).parent / "uv"
        uv = str(beside) if beside.exists() else shutil.which("uv")
        python = str(program(peer, "python"))
        if uv:
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)])
            _run([uv, "pip", "install", "--quiet", "--python", python, *requirements])
        else:
            _run([sys.executable, "-m", "venv", str(place)])
            _run([python, "-m", "pip", "install", "--quiet", *requirements])
        _stamp(peer).touch()
        print(f"{peer}: installed {', '.join(requirements)}")
    for name, package in (("wrk", "wrk"), ("nginx", "nginx")):
        found = shutil.which(name)
        print(f"{name}: {found or f'not installed; your system has it as the package {package}'}")


def _stamp(peer: str) -> Path:
    key = "-".join(REQUIREMENTS[peer]).replace("/", "-")
    return ENVIRONMENTS / peer / f".{key}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
