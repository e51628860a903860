"""A push: all of a release or nothing, under exactly what was looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropFile,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    Requirement,
    YankFile,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Conflict, Corrupt, Denied, Missing, ReadOnly, Refused, Unavailable
from pkgindex_core.hookspecs import Provider, hookimpl
from pkgindex_core.models import Attachment, Event, File, PageHead, Release, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Arriving, Blob, InspectedUpload, Principal, Span, TokenScope, UploadCheck
from pkgindex_core.services.moving.outcomes import PushResult
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.core.services.conftest import PYPI, Open, World

SOURCE = IndexName("ann/dev")
TARGET = IndexName("ann/prod")
DEMO = ProjectName("demo")
ANN = Principal(name="ann")


async def prepare(world: World, **options: Any) -> None:
    await world.user("ann")
    await world.index(SOURCE, acl_upload=("ann",))
    await world.index(TARGET, acl_upload=("ann",), **{"volatile": False, **options})


async def add(world: World, built: BuiltFile, index: IndexName = SOURCE, **fields: Any) -> File:
    """Put a whole file in by the back door."""
    blob = await world.engine.blobs.put(built.data)
    sidecar = await world.engine.blobs.put(built.metadata) if built.filename.endswith(".whl") else None
    file = File(
        filename=built.filename,
        version=built.filename.split("-")[1].removesuffix(".tar.gz"),
        digests={"sha256": blob.sha256},
        size=blob.size,
        metadata_sha256=sidecar.sha256 if sidecar else None,
        upload_time=world.clock.now(),
    )
    file = replace(file, **fields)
    await world.engine.store.apply([PutFile(index, DEMO, file, "Demo")], who="[test]")
    return file


async def attach(
    world: World, filename: str, about: str = "", data: bytes = b"docs", index: IndexName = SOURCE
) -> Attachment:
    blob = await world.engine.blobs.put(data)
    attachment = Attachment(
        kind="toxresult" if about else "doczip",
        filename=filename,
        version="1.0",
        about=about,
        sha256=blob.sha256,
        size=blob.size,
        added=world.clock.now(),
    )
    await world.engine.store.apply([PutAttachment(index, DEMO, attachment)], who="[test]")
    return attachment


async def push(world: World, version: str = "1.0", source: IndexName = SOURCE, **options: Any) -> PushResult:
    return await world.engine.pushing.push(source, TARGET, DEMO, version, principal=ANN, **options)


async def files_at(world: World, index: IndexName = TARGET) -> list[str]:
    page = await world.engine.store.page(index, DEMO)
    return sorted(row.filename for row in page.rows) if page else []


async def test_two_hundred_files_are_one_commit(open_world: Open) -> None:
    """And the versions beside it stay where they are."""
    async with open_world() as world:
        await prepare(world)
        for number in range(200):
            await add(world, build_wheel("demo", "1.0", tag=f"cp3{number}-none-any"))
        await add(world, build_wheel("demo", "2.0"))
        before = await world.engine.store.head()
        pushed = await push(world, "1.0.0")  # the same version, spelled otherwise
        assert pushed.changed
        assert len(pushed.items) == 200
        assert await world.engine.store.head() == before + 1
        assert len(await files_at(world)) == 200
        page = await world.engine.store.page(TARGET, DEMO)
        assert page is not None
        assert page.head.display_name == "Demo"


async def test_a_token_for_pushing_alone_pushes_out_of_a_private_index(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        await world.index(SOURCE, acl_upload=("ann",), acl_read=("ann",))
        await add(world, build_wheel("demo", "1.0"))
        scope = TokenScope(token_id="0" * 16, actions=("push", "upload"))
        await world.engine.pushing.push(SOURCE, TARGET, DEMO, "1.0", principal=Principal(name="ann", scope=scope))
        assert await files_at(world) == ["demo-1.0-py3-none-any.whl"]


async def test_two_pushes_at_once_are_one(open_world: Open) -> None:
    """One writes, the others find everything there."""
    async with open_world() as world:
        await prepare(world)
        await add(world, build_wheel("demo", "1.0"))
        await attach(world, "demo-1.0.doc.zip")
        before = await world.engine.store.head()
        outcomes = await asyncio.gather(*(push(world) for _ in range(5)))
        assert sorted(outcome.changed for outcome in outcomes) == [False] * 4 + [True]
        assert all(len(outcome.items) == 2 for outcome in outcomes)
        assert await world.engine.store.head() == before + 1


@pytest.mark.parametrize("volatile", [True, False])
async def test_nothing_slips_in_between(open_world: Open, monkeypatch: pytest.MonkeyPatch, volatile: bool) -> None:
    """What happens after the look and before the commit is looked at again: here it forbids the push, and nothing is written."""
    async with open_world() as world:
        await prepare(world, volatile=volatile)
        wheel = build_wheel("demo", "1.0")
        file = await add(world, wheel)
        store = world.engine.store
        tree = await store.tree()
        archived = PutProject(TARGET, DEMO, PageHead(display_name="Demo", status="archived"))
        quarantined = PutProject(SOURCE, DEMO, PageHead(display_name="Demo", status="quarantined"))
        other = await world.engine.blobs.put(b"other bytes")
        rival = File(filename=wheel.filename, version="1.0", digests={"sha256": other.sha256}, size=other.size)
        demo = PageHead(display_name="Demo")
        slips: list[tuple[type[Exception], Change, Change]] = [  # what must be raised, what slips in, what undoes it
            (Denied, archived, PutProject(TARGET, DEMO, demo)),
            (Denied, PutIndex(replace(tree.indexes[TARGET], acl_upload=("eve",))), PutIndex(tree.indexes[TARGET])),
            (Missing, quarantined, PutProject(SOURCE, DEMO, demo)),
            (Missing, DropFile(SOURCE, DEMO, wheel.filename), PutFile(SOURCE, DEMO, file, "Demo")),
        ]
        if not volatile:
            taken = PutFile(TARGET, ProjectName("rival"), rival)
            slips.append((Conflict, taken, DropFile(TARGET, ProjectName("rival"), wheel.filename)))
        for error, change, undo in slips:
            once = [[change]]
            apply = store.apply

            async def late(
                wanted: Sequence[Change],
                *,
                who: str,
                require: Sequence[Requirement] = (),
                once: list[Any] = once,
                apply: Any = apply,
            ) -> Any:
                if once:
                    await apply(once.pop(), who="[slip]")
                return await apply(wanted, who=who, require=require)

            with monkeypatch.context() as patched:
                patched.setattr(store, "apply", late)
                with pytest.raises(error):
                    await push(world)
            assert not once, change
            assert await files_at(world) == [], change
            await store.apply([undo], who="[test]")


async def test_what_stands_at_the_target_is_completed(open_world: Open) -> None:
    """Files that are there with the same bytes are left alone; only what is missing is written."""
    async with open_world() as world:
        await prepare(world)
        wheel, sdist = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")
        await add(world, wheel)
        assert (await push(world)).changed
        first = await world.engine.store.file(TARGET, DEMO, wheel.filename)
        await add(world, sdist)
        result = await attach(world, f"{wheel.filename}.toxresult-20261122142248-0", wheel.filename, b"{}")
        pushed = await push(world)
        assert pushed.changed
        assert [each.kind for each in pushed.items] == ["file", "toxresult", "file"]
        assert await world.engine.store.file(TARGET, DEMO, wheel.filename) == first
        assert await files_at(world) == sorted([wheel.filename, sdist.filename])
        (there,) = await world.engine.store.attachments(TARGET, DEMO)
        assert there.sha256 == result.sha256
        assert there.history[-1] == Event(what="push", at=world.clock.now(), who="ann", source=SOURCE, target=TARGET)
        assert not (await push(world)).changed


async def test_results_of_two_indexes_do_not_displace_each_other(open_world: Open) -> None:
    """The same name and other bytes: the next number."""
    async with open_world() as world:
        await prepare(world, volatile=True)
        wheel = build_wheel("demo", "1.0")
        name = f"{wheel.filename}.toxresult-20261122142248-0"
        for index, data in ((SOURCE, b"one"), (TARGET, b"two")):
            await add(world, wheel, index)
            await attach(world, name, wheel.filename, data, index)
        for _ in range(2):
            pushed = await push(world)
            there = await world.engine.store.attachments(TARGET, DEMO)
            assert [each.filename for each in there] == [name, f"{name[:-1]}1"]
            assert pushed.items[1].filename == f"{name[:-1]}1"


async def test_tombstones_and_sdists_are_judged_as_for_an_upload(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        sdist = build_sdist("demo", "1.0")
        await add(world, sdist)
        await push(world)
        await world.engine.store.apply([DropFile(TARGET, DEMO, sdist.filename)], who="[test]")
        with pytest.raises(Conflict, match="previously used"):
            await push(world)
        other = replace(build_sdist("demo", "1.0"), filename="demo-1.0.0.tar.gz")
        await add(world, other, TARGET, version="1.0.0")
        await world.engine.store.apply([YankFile(SOURCE, DEMO, sdist.filename, "bad")], who="[test]")
        await world.index(TARGET, acl_upload=("ann",), volatile=True)
        with pytest.raises(Conflict, match="would be another"):
            await push(world)
        await world.engine.store.apply([DropFile(TARGET, DEMO, other.filename)], who="[test]")
        assert (await push(world)).changed
        file = await world.engine.store.file(TARGET, DEMO, sdist.filename)
        assert file is not None
        assert file.yanked == "bad"


async def test_metadata_of_a_release_stays_where_nothing_is_overwritten(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        await add(world, build_wheel("demo", "1.0"))
        store = world.engine.store
        await store.apply([PutRelease(SOURCE, DEMO, Release(version="1.0", metadata=b'{"a":1}'))], who="[test]")
        await push(world)
        await store.apply([PutRelease(SOURCE, DEMO, Release(version="1.0", metadata=b'{"a":2}'))], who="[test]")
        await add(world, build_sdist("demo", "1.0"))
        await push(world)
        assert [each.metadata for each in await store.releases(TARGET, DEMO)] == [b'{"a":1}']
        await world.index(TARGET, acl_upload=("ann",), volatile=True)
        await push(world)
        assert [each.metadata for each in await store.releases(TARGET, DEMO)] == [b'{"a":2}']


async def test_lost_bytes_are_not_spread(open_world: Open) -> None:
    """No index is made to name a blob that is not there."""
    async with open_world() as world:
        await prepare(world)
        file = await add(world, build_wheel("demo", "1.0"))
        docs = await attach(world, "demo-1.0.doc.zip")
        for sha256 in (docs.sha256, file.metadata_sha256, file.sha256):
            assert sha256 is not None
            data = b"".join([chunk async for chunk in world.engine.blobs.read(sha256)])
            await world.engine.blobs.drop(sha256)
            with pytest.raises(Corrupt):
                await push(world)
            assert await files_at(world) == []
            await world.engine.blobs.put(data)
        assert (await push(world)).changed


class _Strict:
    """A check that wants no file of version 1.0 in the target, and sees what an upload shows."""

    def __init__(self) -> None:
        self.seen: list[InspectedUpload] = []

    def problems(self, upload: InspectedUpload) -> list[str]:
        self.seen.append(upload)
        assert upload.path.read_bytes()
        return [f"{upload.file.filename} is not wanted"] if upload.file.version == "1.0" else []

    @hookimpl
    def pkgindex_upload_checks(self) -> list[Provider[UploadCheck]]:
        return [Provider(name="strict", summary="a check", make=lambda context: self)]  # the hook's signature


async def test_checks_of_plugins_judge_pushes(open_world: Open) -> None:
    """As an upload of the same file to the target; what is there already is not asked about again."""
    strict = _Strict()
    async with open_world(plugins=[strict]) as world:
        await prepare(world)
        wheel = build_wheel("demo", "1.0")
        await add(world, wheel)
        await add(world, build_sdist("demo", "1.0"))
        await add(world, build_wheel("demo", "2.0"))
        with pytest.raises(Refused) as refused:
            await push(world)
        assert len(refused.value.problems) == 2
        assert {each.index for each in strict.seen} == {TARGET}
        assert strict.seen[0].metadata == wheel.metadata
        assert await files_at(world) == []
        strict.seen.clear()
        await push(world, "2.0")
        await push(world, "2.0")
        assert [each.file.version for each in strict.seen] == ["2.0"]


class _Arriving:
    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.size = blob.size

    async def read(self, span: Span | None = None) -> AsyncIterator[bytes]:  # nobody reads here
        yield b""

    async def finished(self) -> Blob:
        return self._blob


async def test_files_of_a_mirror_are_fetched_first(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests, sizes and metadata that the upstream did not say are known afterwards; links to it are not."""
    async with open_world() as world:
        await prepare(world)
        builds = {built.filename: built for built in (build_wheel("demo", "1.0"), build_sdist("demo", "1.0"))}
        world.mirror.pages["demo"] = [
            File(
                filename=name,
                version="1.0",
                url=f"https://files.example.org/{name}",
                upload_time=Timestamp(5),
                requires_python=">=3.9",
                yanked="broken",
                metadata_from_ranges=name.endswith(".whl"),
            )
            for name in builds
        ]
        running = most = 0

        async def open_(index: Any, project: Any, file: File, *, elsewhere: bool) -> Any:  # the role's signature
            assert not elsewhere
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return Arriving(_Arriving(await world.engine.blobs.put(builds[file.filename].data)))

        async def metadata(index: Any, project: Any, file: File) -> Blob:  # the role's signature
            return await world.engine.blobs.put(builds[file.filename].metadata)

        monkeypatch.setattr(world.mirror, "open", open_)
        monkeypatch.setattr(world.mirror, "metadata", metadata)
        pushed = await push(world, source=PYPI)
        assert pushed.changed
        assert most == 2
        page = await world.engine.store.page(TARGET, DEMO)
        assert page is not None
        for file in (decode_file(row.body) for row in page.rows):
            built = builds[file.filename]
            assert (file.sha256, file.size, file.url) == (built.sha256, built.size, "")
            assert (file.upload_time, file.requires_python, file.yanked) == (Timestamp(5), ">=3.9", "broken")
            assert [(each.what, each.source) for each in file.history] == [("push", PYPI)]
            assert (file.metadata_sha256 is not None) == file.filename.endswith(".whl")
            assert not file.metadata_from_ranges
        (release,) = await world.engine.store.releases(TARGET, DEMO)
        assert release.version == "1.0"
        assert json.loads(release.metadata)["summary"] == "demo for tests"


async def test_a_mirror_that_cannot_be_asked_is_unknown(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        with pytest.raises(Missing, match="version"):
            await push(world, source=PYPI)
        world.mirror.down = True
        with pytest.raises(Unavailable):
            await push(world, source=PYPI)
        assert await files_at(world) == []


async def test_one_file_that_cannot_be_fetched_stops_all(open_world: Open) -> None:
    """The fake has pages, and no files."""
    async with open_world() as world:
        await prepare(world)
        world.mirror.pages["demo"] = [
            File(filename=f"demo-1.0-py{number}-none-any.whl", version="1.0", url="https://files.example.org/x")
            for number in range(3)
        ]
        with pytest.raises(Missing, match="file"):
            await push(world, source=PYPI)
        assert await files_at(world) == []


async def test_conflicts_are_seen_before_anything_is_fetched(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        await add(world, build_wheel("demo", "1.0"), TARGET)
        world.mirror.pages["demo"] = [
            File(
                filename="demo-1.0-py3-none-any.whl",
                version="1.0",
                digests={"sha256": "a" * 64},
                url="https://files.example.org/x",
            )
        ]
        with pytest.raises(Conflict, match="already exists in non-volatile index"):
            await push(world, source=PYPI)


async def test_a_mirror_is_no_target(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world)
        await add(world, build_wheel("demo", "1.0"))
        await world.index(PYPI, type="mirror", mirror_url="https://example.org/simple/", acl_upload=("ann",))
        with pytest.raises(Missing, match="cannot submit to mirror index"):
            await world.engine.pushing.push(SOURCE, PYPI, DEMO, "1.0", principal=ANN)


async def test_an_index_that_takes_no_uploads_takes_no_push(open_world: Open) -> None:
    async with open_world() as world:
        await prepare(world, read_only=True)
        await add(world, build_wheel("demo", "1.0"))
        with pytest.raises(ReadOnly):
            await push(world)


@pytest.mark.parametrize("volatile", [True, False])
async def test_a_result_that_is_added_meanwhile_is_not_replaced(
    open_world: Open, monkeypatch: pytest.MonkeyPatch, volatile: bool
) -> None:
    """Two results of one second are called the same; both stay."""
    async with open_world() as world:
        await prepare(world, volatile=volatile)
        wheel = build_wheel("demo", "1.0")
        await add(world, wheel)
        await push(world)
        name = f"{wheel.filename}.toxresult-20260101000000-0"
        await attach(world, name, about=wheel.filename, data=b"of the source")
        apply = world.engine.store.apply

        async def late(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await attach(world, name, about=wheel.filename, data=b"of the target", index=TARGET)
            return await apply(*args, **kwargs)

        monkeypatch.setattr(world.engine.store, "apply", late)
        await push(world)
        assert len(await world.engine.store.attachments(TARGET, DEMO)) == 2
