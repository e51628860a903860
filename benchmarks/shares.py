"""Holds processes to a part of a CPU each, by control groups of the system (cgroups(7) of Linux, for root).

A client, a database and two workers want more than two CPUs. Held to a small part each, all of them have what they may use, and two
workers show what the second one gives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

_PERIOD_US: Final = 20_000
_ONE_HIERARCHY: Final = Path("/sys/fs/cgroup")
_OF_CPU_TIME: Final = Path("/sys/fs/cgroup/cpu")
"""Where systems with a hierarchy for each resource have it (version 1)."""


@contextmanager
def held(processes: Sequence[int], share: float) -> Iterator[str]:
    """Hold each process, with what it starts meanwhile, to a share of one CPU. Yields why that cannot be done; empty: it is done."""
    with ExitStack() as stack:
        try:
            for process in processes:
                stack.enter_context(_held(process, round(_PERIOD_US * share)))
        except OSError as error:
            stack.close()
            yield f"no control groups for CPU time: {error}"
        else:
            yield ""


@contextmanager
def _held(process: int, quota_us: int) -> Iterator[None]:
    top = _OF_CPU_TIME if _OF_CPU_TIME.exists() else _ONE_HIERARCHY
    if top is _ONE_HIERARCHY:
        (top / "cgroup.subtree_control").write_text("+cpu")
    group = top / f"pkgindex-benchmark-{os.getpid()}-{process}"
    group.mkdir()
    try:
        if top is _OF_CPU_TIME:
            (group / "cpu.cfs_period_us").write_text(f"{_PERIOD_US}")
            (group / "cpu.cfs_quota_us").write_text(f"{quota_us}")
        else:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(f"{process}")
        yield
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (top / "cgroup.procs").write_text(member)
        group.rmdir()
