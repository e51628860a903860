"""uv as a user runs it: compiling requirements and installing them, with an empty cache of its own each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from msgspec import Struct

from benchmarks import machine
from benchmarks.load import Failed

_PYTHON = "3.11"
_PLATFORM = "x86_64-manylinux_2_28"
_SECONDS = 300.0


class Ran(Struct, frozen=True):
    """One run of uv."""

    seconds: float
    output: str


def uv() -> str:
    """The program, or nothing where there is none."""
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv") or ""


def compile_with_uv(index: str, requirements: Path, work: Path) -> Ran:
    """Resolve requirements with nothing known beforehand. `output`: the versions, one a line."""
    options = ["pip", "compile", "--no-annotate", "--no-header", *_target(index), str(requirements)]
    return _run(options, work)


def install_with_uv(index: str, compiled: Path, work: Path) -> Ran:
    """Download and install all of it into an empty directory."""
    target = work / "target"
    shutil.rmtree(target, ignore_errors=True)
    options = ["pip", "install", "--no-deps", "--target", str(target), *_target(index), "-r", str(compiled)]
    try:
        return _run(options, work)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _target(index: str) -> list[str]:
    return ["--default-index", index, "--python-version", _PYTHON, "--python-platform", _PLATFORM, "--no-build"]


def _run(options: list[str], work: Path) -> Ran:
    cache = work / "uv-cache"
    shutil.rmtree(cache, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    command = machine.driver_command([uv(), "--no-config", "--no-progress", "--cache-dir", str(cache), *options])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    begun = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        timeout=_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    taken = time.perf_counter() - begun
    shutil.rmtree(cache, ignore_errors=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    return Ran(taken, done.stdout)
