"""The memory of a process whose threads used much of it at different times."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, threading
from pkgindex_core import memory

if {shared}:
    memory.share_memory()

def use(stay):  # 4 MiB in pieces that the library keeps, then freed
    pieces = [bytes(64_000) for _ in range(64)]
    stay.append(bytes(64_000))  # holds the memory of its thread
    del pieces

stay = []
threads = [threading.Thread(target=use, args=(stay,)) for _ in range(8)]
begun = threading.Barrier(8)
for thread in threads:
    thread.start()
    thread.join()
with open("/proc/self/maps") as maps:
    print(sum("---p" in line and int(line.split("-")[1].split()[0], 16) - int(line.split("-")[0], 16) > 1 << 25 for line in maps))
"""
"""Prints the number of arenas besides the first one: each reserves 64 MiB of addresses, of which most are not accessible."""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the maps of Linux")
def test_threads_share_their_memory() -> None:
    arenas = {
        shared: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM.format(shared=shared)], capture_output=True, check=True
            ).stdout
        )
        for shared in (False, True)
    }
    assert arenas[True] == 0
    assert arenas[False] > 0, "without it each thread has memory of its own"
