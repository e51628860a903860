"""Commands that run to their end, and what they cost.

The system counts the memory of a process from before it has its own program, when it was a copy of this one. So its peak is read while it runs.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks import machine
from benchmarks.load import ROOT, Failed

_LOOK_SECONDS = 0.005
_BYTECODE = ROOT / ".cache" / "benchmarks" / "bytecode"
"""Kept between runs, as by an installation."""


class Cost(Struct, frozen=True, kw_only=True):
    """What a command used, with the processes that it started and waited for."""

    seconds: float
    cpu_seconds: float
    memory_mib: float
    """The most that it had resident, as it was some milliseconds before its end."""


def run(command: Sequence[str], *, place: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command in a directory, where its output is kept as `log`. Raises `Failed` if it ends with an error."""
    whole = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(_BYTECODE),
        **(environment or {}),
    }
    # An installed program has its modules as bytecode, whatever this shell is set to.
    whole.pop("PYTHONDONTWRITEBYTECODE", None)
    log = place / "log"
    with log.open("wb") as stream:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=whole, cwd=place
        )
        memory = 0.0
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            memory = machine.most_memory_mib(process.pid) or memory
            time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        end = log.read_text(errors="replace")[-2000:]
        raise Failed(f"{' '.join(command[:6])} ended with {process.returncode}:\n{end}")
    return Cost(seconds=seconds, cpu_seconds=used.ru_utime + used.ru_stime, memory_mib=memory)
