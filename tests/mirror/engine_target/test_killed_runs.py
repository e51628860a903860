"""kill -9 while an index is brought up to date: what it lists is whole, and the next run leaves what a run from scratch leaves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.failpoints import POINTS
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.mirror.syncing.test_killed_runs import FOLLOW, begin, change

from .index_commands import MirrorIndex
from .places import page_of

OF_A_FIRST_RUN = ("index.forgotten", "index.taken_over")
OF_A_LONG_PAGE = "index.part_committed"
STEPS = sorted(
    point
    for point in POINTS
    if point.startswith(("index.", "sync.")) and point not in {*OF_A_FIRST_RUN, OF_A_LONG_PAGE}
)
MORE = FOLLOW.replace("json = true", "json = false")


async def examine(mirror: MirrorIndex, upstream: ScriptedUpstream) -> None:
    """Every listed file is stored: while the upstream is down, all of them are there."""
    await upstream.stop()
    try:
        await mirror.data.shown()
    finally:
        await upstream.start()


async def from_scratch(place: Path, upstream: ScriptedUpstream) -> MirrorIndex:
    mirror = MirrorIndex(place, upstream, more=MORE)
    ended = await mirror.run("mirror")
    assert ended.status == 0, ended.told
    return mirror


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_run_is_gone_on_with(step: str, tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = await from_scratch(tmp_path / "mirror", upstream)
    before = await mirror.files()
    change(upstream)
    killed = await mirror.run("mirror", failpoints=f"{step}=kill")
    assert killed.status == -signal.SIGKILL, killed.told
    await examine(mirror, upstream)
    resumed = await mirror.run("mirror")
    assert resumed.status == 0, resumed.told
    await examine(mirror, upstream)
    scratch = await from_scratch(tmp_path / "scratch", upstream)
    assert await mirror.data.shown() == await scratch.data.shown()
    hidden = before & await mirror.files() - await scratch.files()
    assert len(hidden) == 1  # the file of the quarantined project; that of the removed one has left
    assert await mirror.files() - hidden == await scratch.files()
    upstream.asked.clear()
    await mirror.run("mirror")
    assert [asked.path for asked in upstream.asked] == ["/simple/"]


@pytest.mark.parametrize("step", [*OF_A_FIRST_RUN, "index.pages_committed", "index.list_committed"])
async def test_a_first_run_that_is_killed_is_gone_on_with(step: str, tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = MirrorIndex(tmp_path / "mirror", upstream, more=MORE)
    killed = await mirror.run("mirror", failpoints=f"{step}=kill")
    assert killed.status == -signal.SIGKILL, killed.told
    assert (await mirror.run("mirror")).status == 0
    scratch = await from_scratch(tmp_path / "scratch", upstream)
    assert await mirror.data.shown() == await scratch.data.shown()


async def test_a_long_page_is_absent_or_whole(tmp_path: Path, upstream: ScriptedUpstream):
    wheel = build_wheel("long", "1.0")
    upstream.announces_sidecars = False
    upstream.add("long", *(replace(wheel, filename=f"long-1.{part}-py3-none-any.whl") for part in range(10_001)))
    mirror = MirrorIndex(tmp_path / "mirror", upstream, more="release-files = false")
    killed = await mirror.run("mirror", failpoints=f"{OF_A_LONG_PAGE}=kill")
    assert killed.status == -signal.SIGKILL, killed.told
    async with mirror.data.engine() as engine:
        (standing,) = await engine.store.standings("long", ["root/mirrored"])  # type: ignore[arg-type, list-item]  # they are normal
        assert not standing.holds
    assert (await mirror.run("mirror")).status == 0
    async with mirror.data.engine() as engine:
        assert len(await page_of(engine, "long")) == 10_001
    assert await mirror.files() == set()


async def test_a_full_disk_ends_the_run_and_nothing_is_half_done(tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = MirrorIndex(tmp_path / "mirror", upstream, more=MORE)
    full = await mirror.run("mirror", failpoints="blob.written=raise:ENOSPC@3")
    assert full.status == 5, full.told
    assert (await mirror.run("mirror")).status == 0
    scratch = await from_scratch(tmp_path / "scratch", upstream)
    assert await mirror.data.shown() == await scratch.data.shown()
