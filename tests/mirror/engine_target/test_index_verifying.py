"""`verify` and `delete` on an index, as a user types them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pkgindex_core.errors import Missing
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.engine_target.verifying import IndexVerifying
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.trees.verifying import VerifyOrder

from .index_commands import MirrorIndex
from .places import downloaded, page_of
from .test_index_target import put_index, read_through

ALPHA, BETA = build_wheel("alpha", "1.0"), build_wheel("beta", "1.0")
OTHER = IndexName("root/read")


def serve(upstream: ScriptedUpstream) -> None:
    for number, built in enumerate((ALPHA, BETA)):
        name = built.filename.split("-")[0]
        upstream.add(name, built)
        upstream.serials[name] = 10 + number


@pytest.fixture
async def mirror(tmp_path: Path, upstream: ScriptedUpstream) -> MirrorIndex:
    serve(upstream)
    mirror = MirrorIndex(tmp_path, upstream)
    assert (await mirror.run("mirror")).status == 0
    return mirror


def stored(mirror: MirrorIndex, key: str) -> list[Path]:
    """Where the bytes of a digest lie, but for those that were set aside."""
    found = (path for path in mirror.data.directory.rglob(f"*{key[8:]}*") if path.is_file())
    return [path for path in found if "damaged" not in f"{path}"]


def damage(mirror: MirrorIndex, key: str) -> None:
    (place,) = stored(mirror, key)
    place.chmod(0o600)
    place.write_bytes(bytes(place.stat().st_size))


def is_right(mirror: MirrorIndex, built: BuiltFile) -> bool:
    return [place.read_bytes() for place in stored(mirror, built.sha256)] == [built.data]


async def test_wrong_and_missing_files_are_fetched_again(mirror: MirrorIndex, upstream: ScriptedUpstream):
    upstream.asked.clear()
    clean = await mirror.run("verify", "--json")
    assert (clean.status, json.loads(clean.out)["files"], upstream.asked) == (0, 4, [])
    damage(mirror, ALPHA.sha256)
    stored(mirror, BETA.sha256)[0].unlink()
    told = await mirror.run("verify", "--dry-run")
    assert (told.status, is_right(mirror, ALPHA), stored(mirror, BETA.sha256)) == (3, False, [])
    assert f"wrong bytes: {ALPHA.filename} of alpha" in told.told
    assert f"missing: {BETA.filename} of beta" in told.told
    mended = await mirror.run("verify", "--json")
    assert (mended.status, json.loads(mended.out)["fetched"]) == (0, 2), mended.told
    assert is_right(mirror, ALPHA)
    assert is_right(mirror, BETA)
    assert (await mirror.run("verify", "--dry-run")).status == 0


async def test_metadata_files_are_verified_too(mirror: MirrorIndex):
    (place,) = [
        path for path in mirror.data.directory.rglob("*") if path.is_file() and path.read_bytes() == ALPHA.metadata
    ]
    place.chmod(0o600)
    place.write_bytes(b"x" * len(ALPHA.metadata))
    mended = await mirror.run("verify", "--json")
    assert (mended.status, [each["filename"] for each in json.loads(mended.out)["wrong"]]) == (
        0,
        [f"{ALPHA.filename}.metadata"],
    )
    assert place.read_bytes() == ALPHA.metadata


async def test_what_cannot_be_fetched_is_left_to_the_next_run(mirror: MirrorIndex, upstream: ScriptedUpstream):
    damage(mirror, ALPHA.sha256)
    upstream.script("file", behaviours.status(404))
    failed = await mirror.run("verify")
    assert (failed.status, stored(mirror, ALPHA.sha256)) == (3, []), failed.told
    assert "could not be fetched" in (await mirror.run("explain", "alpha")).out
    upstream.behave()
    assert (await mirror.run("mirror")).status == 0
    assert is_right(mirror, ALPHA)


async def test_files_that_a_policy_does_not_keep_need_not_be_there(tmp_path: Path, upstream: ScriptedUpstream):
    serve(upstream)
    mirror = MirrorIndex(tmp_path, upstream, more="file-policies =\n  alpha streamed\n  beta on-demand")
    assert (await mirror.run("mirror")).status == 0
    await mirror.data.shown()
    assert await mirror.files() == {BETA.sha256}
    damage(mirror, BETA.sha256)
    assert (await mirror.run("verify")).status == 0
    assert is_right(mirror, BETA)
    stored(mirror, BETA.sha256)[0].unlink()
    upstream.asked.clear()
    assert (await mirror.run("verify")).status == 0
    assert upstream.count("file") == 0


async def test_files_of_no_project_are_removed_if_wanted(mirror: MirrorIndex, upstream: ScriptedUpstream):
    assert (await mirror.snapshot("create")).status == 0
    upstream.projects["beta"].clear()
    upstream.add("beta", build_wheel("beta", "2.0"))
    upstream.serials["beta"] = 20
    assert (await mirror.run("mirror")).status == 0
    async with mirror.data.engine() as engine:
        copies = await engine.blobs.copies()
        assert copies is not None
        stranger, new = [(await copies.put(data)).sha256 for data in (b"nobody's", b"arrived just now")]
    for key in (ALPHA.sha256, BETA.sha256, stranger):
        os.utime(stored(mirror, key)[0], (0, 0))
    before = await mirror.files()
    for words in (("verify",), ("verify", "--delete", "--dry-run")):
        assert (await mirror.run(*words)).status == 0
        assert await mirror.files() == before
    deleted = await mirror.run("verify", "--delete", "--json")
    assert json.loads(deleted.out)["unowned"] == [stranger]
    assert await mirror.files() == before - {stranger}
    assert new in before


async def test_no_file_that_arrives_meanwhile_is_removed_whatever_the_clock_of_the_store_says(
    mirror: MirrorIndex, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    """The clock of the store is two hours behind. While its files are listed a page is read through, and a file comes whose page is not written yet."""
    gamma, behind = build_wheel("gamma", "1.0"), time.time() - 7_200
    upstream.add("gamma", gamma)
    async with mirror.data.opened() as target, target.turn(), mirror.data.engine() as server:
        copies, others = await target.blobs.copies(), await server.blobs.copies()
        assert copies is not None
        assert others is not None
        stranger = (await copies.put(b"nobody's")).sha256
        os.utime(stored(mirror, stranger)[0], (0, 0))
        await put_index(server, read_through(upstream, OTHER))
        walk = copies.walk

        async def arriving() -> AsyncIterator[Blob]:
            (url,) = (await page_of(server, "gamma", index=OTHER)).values()
            assert await downloaded(server, url) == gamma.sha256
            await server.settle()
            early = (await others.put(b"a file without its page")).sha256
            for key in (ALPHA.sha256, BETA.sha256, early):
                os.utime(stored(mirror, key)[0], (behind, behind))
            os.utime(stored(mirror, gamma.sha256)[0], (0, 0))  # its copy was there before
            async for blob in walk():
                yield blob

        monkeypatch.setattr(copies, "walk", arriving)
        report = await IndexVerifying(target, VerifyOrder(delete=True), fetch=_none).run()
    assert (report.unowned, report.removed) == ([stranger], 1)
    assert len(await mirror.files()) == 4


async def _none(project: ProjectName, files: Sequence[File]) -> None:
    raise AssertionError("all files are there")


async def test_many_files_of_no_project_are_too_many(mirror: MirrorIndex):
    async with mirror.data.engine() as engine:
        copies = await engine.blobs.copies()
        assert copies is not None
        for number in range(3):
            key = (await copies.put(b"%d" % number)).sha256
            os.utime(stored(mirror, key)[0], (0, 0))
    kept = await mirror.run("verify", "--delete")
    assert "too many to be true" in kept.told
    assert len(await mirror.files()) == 5


async def test_a_project_is_deleted_with_what_nothing_else_has(mirror: MirrorIndex, upstream: ScriptedUpstream):
    told = await mirror.run("delete", "Alpha", "nonsense", "--dry-run")
    assert (told.status, "would be deleted: alpha" in told.told, len(await mirror.files())) == (1, True, 2)
    deleted = await mirror.run("delete", "Alpha", "--json")
    assert (deleted.status, json.loads(deleted.out)["files"]) == (0, 1), deleted.told
    assert [*await mirror.data.shown()] == ["beta"]
    assert await mirror.files() == {BETA.sha256}
    async with mirror.data.engine() as engine:
        with pytest.raises(Missing):
            await page_of(engine, "alpha")
    assert (await mirror.run("delete", "alpha")).status == 1
    assert (await mirror.run("mirror")).status == 0  # the filters choose it still
    assert [*await mirror.data.shown()] == ["alpha", "beta"]


async def test_deleting_leaves_files_of_snapshots_and_of_other_indexes(mirror: MirrorIndex, upstream: ScriptedUpstream):
    assert (await mirror.snapshot("create")).status == 0
    async with mirror.data.engine() as engine:
        await put_index(engine, read_through(upstream, OTHER))
        await page_of(engine, "beta", index=OTHER)
        await engine.settle()
    assert (await mirror.run("delete", "alpha", "beta")).status == 0
    assert await mirror.files() == {ALPHA.sha256, BETA.sha256}
    assert (await mirror.snapshot("drop", "1")).status == 0
    assert await mirror.files() == {BETA.sha256}
