"""What the figures were measured on, and what a process spends: CPU pinning, CPU time, memory.

CPU time a request is the figure that survives a noisy neighbour: it counts what the server's processes used, not how long
they waited for their turn. It is read from `/proc`, for the process and all its descendants, in ticks of 10 ms, so a
measurement must last for seconds. Without `/proc` it is not known, and shown so.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")
_MIB = 1024 * 1024


class Machine(Struct, frozen=True, kw_only=True):
    """Where a run took place."""

    cpu: str
    cpus: int
    memory_gib: int
    system: str
    python: str
    load: float
    """The load average of the last minute, before the run."""


def describe() -> Machine:
    """This machine, and how busy it is."""
    return Machine(
        cpu=_line("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        cpus=len(_CPUS),
        memory_gib=round(int(_line("/proc/meminfo", "MemTotal").split()[0] or 0) / 2**20) if PROC.exists() else 0,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
    )


def available_cpus() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def server_command(command: Sequence[str]) -> list[str]:
    """The command, on the CPU that is kept for servers."""
    return _pinned(command, 0)


def driver_command(command: Sequence[str]) -> list[str]:
    """The command, on the CPU that is kept for whoever sends requests."""
    return _pinned(command, 1)


@contextmanager
def as_driver() -> Iterator[None]:
    """This process itself sends requests meanwhile, from the CPU that is kept for that."""
    if len(_CPUS) < 2 or not hasattr(os, "sched_setaffinity"):
        yield
        return
    os.sched_setaffinity(0, {_CPUS[1]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CPUS)


def cpu_seconds(pid: int) -> float | None:
    """CPU time that a process and its descendants have used so far; None where that cannot be told."""
    if not PROC.exists():
        return None
    ticks = 0
    for process in _tree(pid):
        fields = _stat(process)
        if fields:
            ticks += sum(int(fields[at]) for at in (11, 12, 13, 14))  # utime, stime, and those of children waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def workers_of(pid: int) -> list[int]:
    """The processes that a process started, or itself if it started none."""
    started = [each for each in _tree(pid) if (fields := _stat(each)) and int(fields[1]) == pid]
    return started or [pid]


def memory_mib(pid: int) -> float | None:
    """Resident memory of a process and its descendants; shared pages count for each."""
    if not PROC.exists():
        return None
    total = 0
    for process in _tree(pid):
        try:
            resident = (PROC / str(process) / "statm").read_text().split()[1]
        except (OSError, IndexError):
            continue
        total += int(resident) * os.sysconf("SC_PAGE_SIZE")
    return total / _MIB


def most_memory_mib(pid: int) -> float | None:
    """The most resident memory that a process had since its program began; None when it has ended."""
    found = _line(f"/proc/{pid}/status", "VmHWM").split()
    return int(found[0]) / 1024 if found else None


_CPUS = available_cpus()


def _pinned(command: Sequence[str], which: int) -> list[str]:
    if len(_CPUS) < 2 or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(_CPUS[which]), *command]


def _tree(pid: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += parents.get(process, [])


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name, which may hold anything: state, parent, …"""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
