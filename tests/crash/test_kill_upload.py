"""A server dies at every step of an upload: nothing that was acknowledged is lost, nothing is half there.

Real processes, real disk, SIGKILL from inside at the armed step. Uploads follow one another until one finds the server
dead: those before it were acknowledged in the same life, so they prove more than what an earlier life left.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from pkgindex_core import failpoints
from pkgindex_core.failpoints import POINTS
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.oracle import age_spools, examine, prepare_data, upload
from tests.crash.processes import ServerProcess, Starter, running
from tests.http.conftest import Serve, basic

Tally = Callable[[str, int], None]

GROUPS = ("upload.", "blob.", "commit.")
ONCE = sorted(point for point in POINTS if point.startswith(GROUPS))
PASSES = {point: 2 if point.startswith("blob.") else 1 for point in ONCE}
"""How often an upload of a small wheel passes each point: its metadata and itself are a blob each."""

WHEELS = [build_wheel(name, "1.0") for name in ("first", "second")]


async def test_an_upload_passes_every_point_as_often_as_is_assumed_here(
    serve: Serve, armed: None, tally: Tally
) -> None:
    async with serve(store="", blobs="") as served:
        async with served.get("/simple/", headers=basic("root")) as answered:
            assert answered.status == 200  # the first log-in stores the cheap password of these tests anew
        failpoints.arm("")
        answer = await upload(served.address, WHEELS[0])
        assert answer is not None
        assert answer.status == 200
        assert dict(failpoints.hits) == PASSES
    tally("failpoints of an upload", len(PASSES))


@pytest.mark.parametrize(("point", "turn"), [(point, turn) for point in ONCE for turn in range(1, PASSES[point] + 1)])
async def test_killed_at_a_step_of_an_upload(
    point: str, turn: int, starter: Starter, tmp_path: Path, tally: Tally
) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    server = ServerProcess(starter, data)
    acknowledged, doubtful = await upload_until_killed(server, f"{point}=kill@{PASSES[point] + turn}", WHEELS)
    assert acknowledged == WHEELS[:1]
    left = age_spools(data)
    async with running(server):
        present = await examine(server, acknowledged, doubtful=doubtful)
        assert present == (point in {"commit.committed", "upload.committed", "upload.answered"})
        answer = await upload(server.address, doubtful)
        assert answer is not None
        assert answer.status == 200, answer.body
        await examine(server, [*acknowledged, doubtful])
    tally("kills", 1)
    tally("restarts", 1)
    tally("acknowledged uploads checked", 2 * len(acknowledged) + 1)
    tally("abandoned spools swept at a start", left)


@pytest.mark.parametrize("pieces", [2, 4])
async def test_killed_in_the_middle_of_a_large_body(
    pieces: int, starter: Starter, tmp_path: Path, tally: Tally
) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    server = ServerProcess(starter, data)
    large = build_wheel("large", "1.0", files={"large.bin": random.Random(pieces).randbytes(5_000_000)}, stored=True)
    acknowledged, doubtful = await upload_until_killed(server, f"upload.body_half=kill@{pieces}", [large])
    assert (acknowledged, doubtful) == ([], large)
    age_spools(data)
    async with running(server):
        assert not await examine(server, [], doubtful=large)
        answer = await upload(server.address, large)
        assert answer is not None
        assert answer.status == 200, answer.body
        await examine(server, [large])
    tally("kills", 1)
    tally("restarts", 1)


@pytest.mark.parametrize("blobs", ["file", "memory", "remote"])
async def test_every_start_sweeps_what_died_a_day_ago_whatever_the_store(
    blobs: str, serve: Serve, tmp_path: Path
) -> None:
    """An object store spools on the local disk: what a dead upload leaves there is garbage as well."""
    data = tmp_path / "data"
    register_implementation("remote", MemoryFileSystem, clobber=True)
    url = {"file": "", "memory": "memory://", "remote": f"remote://{tmp_path}"}[blobs]
    async with serve(data=data, blobs=url) as served, served.engine.blobs.spool() as spool:
        await spool.write(b"half")
        await spool.flush()
        place = spool.path.parent
    dead, young = (place / f"{digit * 32}.part" for digit in "ab")
    for path, age in ((dead, 2 * 86_400), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    async with serve(data=data, blobs=url):
        assert [path for path in (dead, young) if path.exists()] == [young]


async def upload_until_killed(
    server: ServerProcess, failpoints: str, wheels: Sequence[BuiltFile]
) -> tuple[list[BuiltFile], BuiltFile]:
    """Upload one after the other; which were acknowledged, and during which the server died."""
    acknowledged: list[BuiltFile] = []
    async with running(server, failpoints):
        for built in wheels:
            answer = await upload(server.address, built)
            if answer is None:
                assert await server.ended() == -signal.SIGKILL
                return acknowledged, built
            assert answer.status == 200, answer.body
            acknowledged.append(built)
    raise AssertionError(f"{failpoints} was not reached")
