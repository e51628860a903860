"""An environment for each peer, made once: `python -m benchmarks setup`.

Versions are pinned, so that a table says what it compares with; raise them deliberately. `uv` is used when there is one,
else `venv` and `pip`.
"""

from __future__ import annotations

import os
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
    "devpi-web": ("devpi-web==5.1.1", "devpi-server==6.20.3"),
    # waitress: the threaded server that pypiserver takes by itself when it finds it; without, one request at a time.
    "pypiserver": ("pypiserver[passlib,cache]==2.4.2", "waitress==3.0.2"),
    "simple-repository-server": ("simple-repository-server==0.10.0",),
    "dumb-pypi": ("dumb-pypi==1.15.0",),
    "proxpi": ("proxpi==1.3.1", "gunicorn==23.0.0"),
    "pypiron": ("pypiron==0.0.29",),
    "peryx": ("peryx==2026.1010.0",),
    "bandersnatch": ("bandersnatch==8.2.0",),
}
_NEEDS_PYTHON = {"bandersnatch": 12}
"""The minor version of Python that a peer needs, where this project needs less."""
_WITH_OLDER_PYTHON = {"bandersnatch": ("bandersnatch==6.8.0",)}
"""What is installed instead where there is no such Python."""


def program(peer: str, name: str) -> Path:
    """A program of a peer's environment."""
    return ENVIRONMENTS / peer / ("Scripts" if sys.platform == "win32" else "bin") / name


def missing(peer: str) -> str:
    """What to do when the environment is not there, or is not the one that is pinned here."""
    return "" if _stamp(peer).exists() else "not installed; run `python -m benchmarks setup`"


def version(peer: str) -> str:
    return requirements_of(peer)[0].rpartition("==")[2]


def requirements_of(peer: str) -> tuple[str, ...]:
    """What is installed here for a peer."""
    return REQUIREMENTS[peer] if python_for(peer) else _WITH_OLDER_PYTHON[peer]


def python_for(peer: str) -> str:
    """The Python of a peer: this one, one on the path, or one that pyenv has. Empty when none is new enough."""
    minor = _NEEDS_PYTHON.get(peer, 0)
    if sys.version_info >= (3, minor):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    on_path = [shutil.which(f"python3.{newer}") for newer in range(minor, minor + 4)]
    check = f"import sys; sys.exit(sys.version_info < (3, {minor}))"
    for candidate in (*on_path, *sorted(map(str, pyenv.glob("3.*/bin/python")))):
        if candidate and subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return ""


def set_up() -> None:
    """Make the environments that are not there yet."""
    for peer in REQUIREMENTS:
        requirements = requirements_of(peer)
        if not missing(peer):
            print(f"{peer}: there")
            continue
        place = ENVIRONMENTS / peer
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(sys.executable).parent / "uv"
        uv = str(beside) if beside.exists() else shutil.which("uv")
        base, python = python_for(peer) or sys.executable, str(program(peer, "python"))
        if uv:
            _run([uv, "venv", "--quiet", "--python", base, str(place)])
            _run([uv, "pip", "install", "--quiet", "--python", python, *requirements])
        else:
            _run([base, "-m", "venv", str(place)])
            _run([python, "-m", "pip", "install", "--quiet", *requirements])
        _stamp(peer).touch()
        print(f"{peer}: installed {', '.join(requirements)}")
    for name, package in (("wrk", "wrk"), ("nginx", "nginx")):
        found = shutil.which(name)
        print(f"{name}: {found or f'not installed; your system has it as the package {package}'}")


def _stamp(peer: str) -> Path:
    key = "-".join(requirements_of(peer)).replace("/", "-")
    return ENVIRONMENTS / peer / f".{key}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
