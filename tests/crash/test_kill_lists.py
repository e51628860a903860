"""kill -9 while a long list is written to its file: the next start has it whole, or makes it."""

from __future__ import annotations

import asyncio
import gzip
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from pkgindex_core.changes import MirrorNames, PutFile
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from tests.crash.test_sqlite_crashes import environment

STEPS = sorted(point for point in POINTS if point.startswith("mapped."))
HOSTED, MIRROR = IndexName("root/dev"), IndexName("root/pypi")
NAMES = [f"listed-{number:04}" for number in range(6000)]

_CHILD = """
import asyncio, sys
from pkgindex_core import failpoints
from tests.crash.test_kill_lists import listed

failpoints.arm(sys.argv[2])
asyncio.run(listed(sys.argv[1]))
"""


async def fill(data: Path) -> None:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.prepare(log_in=False)
        put = tuple((ProjectName(name), name) for name in NAMES)
        await engine.store.apply([MirrorNames(MIRROR, put=put)], who="[test]")


async def upload(data: Path, name: str) -> None:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        file = File(filename=f"{name}-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1)
        await engine.store.apply([PutFile(HOSTED, ProjectName(name), file)], who="[test]")


async def listed(data: Path | str) -> list[str]:
    async with Engine.open(Settings(data=Path(data)), mirrors=False) as engine:
        answer = await engine.listings.projects(
            HOSTED, principal=Principal(), media_type=JSON_V1, coding="gzip", if_none_match=None
        )
        assert answer.body is not None
        return [each["name"] for each in msgspec.json.decode(gzip.decompress(answer.body))["projects"]]


async def list_until_killed(data: Path, points: str) -> int:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, str(data), points, env=environment())
    return await asyncio.wait_for(child.wait(), 60)


@pytest.mark.parametrize("point", STEPS)
async def test_a_killed_writer_leaves_a_whole_list_or_none(tmp_path: Path, point: str) -> None:
    data = tmp_path / "data"
    await fill(data)
    assert await list_until_killed(data, f"{point}=kill") == -signal.SIGKILL
    assert await listed(data) == NAMES
    await upload(data, "ours")
    assert await list_until_killed(data, f"{point}=kill") == -signal.SIGKILL
    assert await listed(data) == [*NAMES, "ours"]
    (left,) = (data / "lists").iterdir()
    assert len(left.name) == 64
