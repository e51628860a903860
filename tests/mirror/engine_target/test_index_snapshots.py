"""Snapshots of an index, and the indexes that show them, as a user types the commands."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.models import decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.engine_target import promoted_indexes
from pkgindex_mirror.engine_target.opening import index_snapshots
from pkgindex_mirror.engine_target.promoted_indexes import PromotedIndexes
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.testing import ScriptedUpstream

from .index_commands import MirrorIndex
from .places import INDEX, downloaded, page_of

PROD, TEST = IndexName("root/prod"), IndexName("root/test")
STEPS = (
    "index_snapshots.taken",
    "index_snapshots.dropped",
    "index_snapshots.promotion_noted",
    "index_snapshots.promotion_committed",
)


def wheel(name: str, version: str) -> str:
    return f"{name}-{version}-py3-none-any.whl"


def put(upstream: ScriptedUpstream, serial: int, **versions: str) -> None:
    """Make these the projects of the upstream: names with versions between blanks."""
    upstream.projects.clear()
    for name, each in versions.items():
        upstream.add(name, *(build_wheel(name, version) for version in each.split()))
        upstream.serials[name] = serial


@pytest.fixture
def mirror(tmp_path: Path, upstream: ScriptedUpstream) -> MirrorIndex:
    return MirrorIndex(tmp_path, upstream, more="removed = delete")


async def state(mirror: MirrorIndex, upstream: ScriptedUpstream, serial: int, **versions: str) -> None:
    """Bring the mirror up to date with these projects."""
    put(upstream, serial, **versions)
    ran = await mirror.run("mirror", "--force-check")
    assert ran.status == 0, ran.told


async def shown(mirror: MirrorIndex, index: IndexName) -> Mapping[str, list[str]]:
    """The names of all files that clients find in an index, each of which was downloaded."""
    found = {}
    async with mirror.data.engine() as engine:
        names = await engine.sources.by_type["mirror"].names((await engine.store.tree()).indexes[index])
        assert names.is_whole
        listed = [row.name async for batch in names.read("") for row in batch]
        for name in listed:
            page = await page_of(engine, name, index=index)
            for filename, url in page.items():
                assert await downloaded(engine, url) == build_wheel(name, filename.split("-")[1]).sha256
            found[str(name)] = [*page]
        assert [row.name for row in await engine.store.projects(index)] == listed
    return found


async def done(mirror: MirrorIndex, *words: str) -> str:
    ended = await mirror.snapshot(*words)
    assert ended.status == 0, ended.told
    return ended.out


async def test_the_way_from_a_run_to_production_and_back(mirror: MirrorIndex, upstream: ScriptedUpstream):
    refused = await mirror.snapshot("create")
    assert (refused.status, "there is no store" in refused.told) == (1, True)
    await state(mirror, upstream, 10, alpha="1.0 1.1", beta="1.0")
    assert await done(mirror, "create", "--name", "first") == "1\n"
    assert await done(mirror, "create", "--if-changed") == "1\n"
    assert await done(mirror, "promote", "first", "prod") == f"{PROD}\n"
    await state(mirror, upstream, 20, alpha="1.1 2.0", gamma="3.0")
    assert await done(mirror, "create") == "3\n"
    assert (await done(mirror, "diff", "1")).split("\n")[:-1] == [
        f"- alpha/{wheel('alpha', '1.0')}",
        f"+ alpha/{wheel('alpha', '2.0')}",
        f"- beta/{wheel('beta', '1.0')}",
        f"+ gamma/{wheel('gamma', '3.0')}",
    ]
    await upstream.stop()
    first = {"alpha": [wheel("alpha", "1.0"), wheel("alpha", "1.1")], "beta": [wheel("beta", "1.0")]}
    second = {"alpha": [wheel("alpha", "1.1"), wheel("alpha", "2.0")], "gamma": [wheel("gamma", "3.0")]}
    assert await shown(mirror, PROD) == first
    await done(mirror, "promote", "latest", "test")
    await done(mirror, "promote", "test", "prod")
    assert await shown(mirror, PROD) == await shown(mirror, TEST) == await shown(mirror, INDEX) == second
    assert await done(mirror, "rollback", "prod") == "1\n"
    assert await shown(mirror, PROD) == first
    listed = json.loads(await done(mirror, "list", "--json"))
    assert [(each["number"], each["files"], each["serial"], each["published"]) for each in listed] == [
        (1, 3, 10, ["prod"]),
        (3, 3, 20, ["test"]),
    ]
    assert f"alpha/{wheel('alpha', '1.0')}" in await done(mirror, "show", "root/prod", "--files")
    await done(mirror, "withdraw", "prod")
    async with mirror.data.engine() as engine:
        assert PROD not in (await engine.store.tree()).indexes
    nothing = await mirror.snapshot("rollback", "prod")
    assert (nothing.status, "the names are: test" in nothing.told) == (1, True)


async def test_files_stay_while_a_snapshot_has_them(mirror: MirrorIndex, upstream: ScriptedUpstream):
    await state(mirror, upstream, 10, alpha="1.0", beta="1.0")
    await done(mirror, "create")
    await state(mirror, upstream, 20, alpha="2.0")
    await done(mirror, "create")
    await state(mirror, upstream, 30, alpha="3.0")
    assert len(await mirror.files()) == 4
    await done(mirror, "promote", "1", "prod")
    needed = await mirror.snapshot("drop", "1")
    assert (needed.status, "an index shows it" in needed.told) == (1, True)
    await done(mirror, "drop", "2")
    assert len(await mirror.files()) == 3
    await done(mirror, "withdraw", "prod")
    await done(mirror, "create", "--keep", "1")
    assert len(await mirror.files()) == 1
    assert [each["number"] for each in json.loads(await done(mirror, "list", "--json"))] == [3]


async def test_pruning_and_a_bound_leave_the_files_of_a_snapshot(mirror: MirrorIndex, upstream: ScriptedUpstream):
    mirror.configuration.write_text(mirror.configuration.read_text() + "file-policies = alpha on-demand\n")
    await state(mirror, upstream, 10, alpha="1.0", beta="1.0")
    await done(mirror, "create")
    await done(mirror, "promote", "1", "prod")
    await shown(mirror, PROD)
    mirror.configuration.write_text(
        mirror.configuration.read_text() + "[plugins]\nenabled = blocklist_project\n[blocklist]\npackages = beta\n"
    )
    assert (await mirror.run("prune")).status == 0
    await state(mirror, upstream, 20, alpha="2.0")
    await upstream.stop()
    mirror.data.mirror = {"cache_size": 1}
    async with mirror.data.engine() as engine:
        source = engine.sources.by_type["mirror"]
        assert isinstance(source, ReadThrough)
        await source.cache.tend()
    assert await shown(mirror, PROD) == {"alpha": [wheel("alpha", "1.0")], "beta": [wheel("beta", "1.0")]}


async def test_what_is_refused(mirror: MirrorIndex, upstream: ScriptedUpstream, tmp_path: Path):
    await state(mirror, upstream, 10, alpha="1.0")
    await done(mirror, "create")
    for words, told in (
        (("promote", "7", "prod"), "no snapshot '7'"),
        (("promote", "1", "dev"), "shows no snapshots"),
        (("promote", "1", "mirrored"), "shows no snapshots"),
        (("promote", "1", "nobody/prod"), "make the user first"),
        (("create", "--name", "7"), "is no name of a snapshot"),
        (("create", "--serial", "7"), "an index knows its serial"),
    ):
        refused = await mirror.snapshot(*words)
        assert (refused.status, told in refused.told) == (1, True), refused.told
    assert (await mirror.plain("snapshot", "list")).status == 2
    assert (await mirror.snapshot("list", "--root", str(tmp_path))).status == 2
    await done(mirror, "promote", "1", "prod")
    into = ("mirror", "--index", PROD, "--data", str(mirror.data.directory))
    refused = await mirror.plain(*into)
    assert (refused.status, "shows snapshots of another index" in refused.told) == (1, True)


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_command_is_finished_by_the_next_one(step: str, mirror: MirrorIndex, upstream: ScriptedUpstream):
    await state(mirror, upstream, 10, alpha="1.0", beta="1.0")
    await done(mirror, "create")
    await done(mirror, "promote", "1", "prod")
    await state(mirror, upstream, 20, alpha="2.0")
    words = {"taken": ("create",), "dropped": ("drop", "2")}.get(step.partition(".")[2], ("promote", "2", "prod"))
    if words != ("create",):
        await done(mirror, "create")
    if words == ("drop", "2"):
        await state(mirror, upstream, 30, alpha="3.0")
    killed = await mirror.snapshot(*words, failpoints=f"{step}=kill")
    assert killed.status == -signal.SIGKILL, killed.told
    if words == ("drop", "2"):
        assert (await mirror.run("mirror")).status == 0  # lets go of the files
        assert len(await mirror.files()) == 3
        return
    if words == ("create",):
        assert await done(mirror, "create") == "3\n"
        return
    await done(mirror, "promote", "2", "test")
    # Before the first commit nothing was promoted.
    assert await shown(mirror, PROD) == await shown(mirror, TEST if step.endswith("committed") else PROD)
    await done(mirror, "promote", "2", "prod")
    assert await shown(mirror, PROD) == await shown(mirror, TEST)


async def test_a_promotion_in_several_commits_is_unknown_or_finished(
    mirror: MirrorIndex, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(promoted_indexes, "_MOST", 1)
    await state(mirror, upstream, 10, alpha="1.0", beta="1.0", gamma="1.0")
    await done(mirror, "create")

    class StopError(Exception): ...

    commits = 0

    def stop(point: str) -> None:
        nonlocal commits
        commits += point == "index_snapshots.promotion_committed"
        if commits == 2:
            raise StopError

    monkeypatch.setattr(promoted_indexes, "failpoint", stop)
    async with mirror.data.engine() as engine:
        names = PromotedIndexes(engine, index_snapshots(engine, INDEX))
        async with names.turn():
            with pytest.raises(StopError):
                await names.promote(1, "prod")
    async with mirror.data.engine() as engine:
        assert [*await page_of(engine, "alpha", index=PROD)] == [wheel("alpha", "1.0")]
        with pytest.raises(Unavailable, match="has not ended"):
            await page_of(engine, "gamma", index=PROD)
        with pytest.raises(Unavailable, match="has not ended"):
            await page_of(engine, "nonsense", index=PROD)
        names = PromotedIndexes(engine, index_snapshots(engine, INDEX))
        async with names.turn():
            await names.recover()
        with pytest.raises(Missing):
            await page_of(engine, "nonsense", index=PROD)
    assert [*await shown(mirror, PROD)] == ["alpha", "beta", "gamma"]


async def test_a_long_page_goes_back_and_forth(
    mirror: MirrorIndex, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(promoted_indexes, "PART", 3000)
    upstream.announces_sidecars = False
    mirror.configuration.write_text(mirror.configuration.read_text() + "file-policies = long streamed\n")
    built = build_wheel("long", "1.0")
    sizes = []
    for serial, count in ((10, 2), (20, 10_005), (30, 10_001)):
        upstream.projects.clear()
        upstream.serials["long"] = serial
        upstream.add("long", *(replace(built, filename=f"long-1.{part}-py3-none-any.whl") for part in range(count)))
        ran = await mirror.run("mirror")
        assert ran.status == 0, ran.told
        await done(mirror, "create")
        sizes.append(count)
    async with mirror.data.engine() as engine:
        names = PromotedIndexes(engine, index_snapshots(engine, INDEX))
        async with names.turn():
            for number in (1, 2, 3, 2, 1):
                await names.promote(number, "prod")
                page = await engine.store.page(PROD, ProjectName("long"))
                assert page is not None
                assert len({decode_file(row.body).filename for row in page.rows}) == sizes[number - 1]
