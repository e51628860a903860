"""A run that is killed at any step: the next one goes on, and leaves what a run from scratch leaves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pkgindex_core.failpoints import POINTS
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream

from .mirror_commands import MirrorDirectory

STEPS = sorted(point for point in POINTS if point.startswith("sync."))
FOLLOW = "removed = delete\nshrink_limit = 100\njson = true"
HIDDEN = "evil"


def begin(upstream: ScriptedUpstream) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma", HIDDEN)):
        upstream.add(name, build_wheel(name, "1.0"))
        upstream.serials[name] = 10 + number
        upstream.documents[name] = {"info": {"name": name}, "last_serial": 10 + number, "releases": {}}


def change(upstream: ScriptedUpstream) -> None:
    """A new project with a large file, a changed one, one that is removed, and one that is quarantined."""
    upstream.add("new", build_wheel("new", "2.0", description="word " * 300_000, stored=True))
    upstream.add("alpha", build_wheel("alpha", "1.1"))
    upstream.serials |= {"new": 20, "alpha": 21}
    upstream.documents["new"] = {"info": {"name": "new"}, "last_serial": 20, "releases": {}}
    del upstream.projects["beta"], upstream.documents["beta"], upstream.serials["beta"]
    upstream.page_says[HIDDEN] = {"project-status": {"status": "quarantined"}, "files": []}
    upstream.listed = lambda: [name for name in upstream.projects if name != HIDDEN]


async def from_scratch(place: Path, upstream: ScriptedUpstream) -> dict[str, bytes]:
    mirror = MirrorDirectory(place, upstream, more=FOLLOW)
    assert (await mirror.run("mirror")).status == 0
    return mirror.content()


def shown(content: dict[str, bytes]) -> dict[str, bytes]:
    """Without the files of the quarantined project, which stay in a mirror that had them."""
    return {path: data for path, data in content.items() if f"/{HIDDEN}-1.0-" not in path}


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_run_is_gone_on_with(step: str, tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = MirrorDirectory(tmp_path / "mirror", upstream, more=FOLLOW)
    first = await mirror.run("mirror")
    assert first.status == 0, first.told
    change(upstream)
    killed = await mirror.run("mirror", failpoints=f"{step}=kill")
    assert killed.status == -signal.SIGKILL, killed.told
    resumed = await mirror.run("mirror")
    assert resumed.status == 0, resumed.told
    assert shown(mirror.content()) == await from_scratch(tmp_path / "scratch", upstream)
    assert mirror.litter() == []
    upstream.asked.clear()
    await mirror.run("mirror")
    assert [asked.path for asked in upstream.asked] == ["/simple/"]


async def test_a_first_run_that_is_killed_is_gone_on_with(tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = MirrorDirectory(tmp_path / "mirror", upstream, more=FOLLOW)
    killed = await mirror.run("mirror", failpoints="sync.project_published=kill@3")
    assert killed.status == -signal.SIGKILL
    assert (await mirror.run("mirror")).status == 0
    assert mirror.content() == await from_scratch(tmp_path / "scratch", upstream)


async def test_a_full_disk_ends_the_run_and_nothing_is_half_done(tmp_path: Path, upstream: ScriptedUpstream):
    begin(upstream)
    mirror = MirrorDirectory(tmp_path / "mirror", upstream, more=FOLLOW)
    full = await mirror.run("mirror", failpoints="sync.file_came=raise:ENOSPC@2")
    assert full.status == 5, full.told
    assert "no room" in full.told
    assert (await mirror.run("mirror")).status == 0
    assert mirror.content() == await from_scratch(tmp_path / "scratch", upstream)
