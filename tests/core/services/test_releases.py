from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Denied, Gone, Missing, Refused, TooLarge
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, TokenScope
from pkgindex_core.services.writing.outcomes import Published
from pkgindex_core.testing.uploads import upload_fields
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.core.services.conftest import DEV, PYPI, Open, World

ROOT = Principal(name="root")
DEMO = ProjectName("demo")


async def publish(
    world: World, built: BuiltFile, *, index: IndexName = DEV, principal: Principal = ROOT, name: str = "demo"
) -> Published:
    async with world.engine.uploads.receive(index, principal) as upload:
        version = built.filename.split("-")[1].removesuffix(".tar.gz")
        wheel = built.filename.endswith(".whl")
        fields = {
            ":action": "file_upload",
            "protocol_version": "1",
            "name": name,
            "version": version,
            "metadata_version": "2.1",
            "filetype": "bdist_wheel" if wheel else "sdist",
            "pyversion": "py3" if wheel else "source",
            "sha256_digest": built.sha256,
        }
        for key, value in fields.items():
            upload.field(key, value)
        await upload.begin_content(built.filename)
        await upload.write(built.data)
        return await upload.finish()


async def only_file(world: World, filename: str, index: IndexName = DEV) -> File | None:
    return await world.engine.store.file(index, DEMO, filename)


async def blob_count(world: World) -> int:
    return len([blob async for blob in world.engine.blobs.walk()])


async def test_what_is_published_is_stored_with_its_metadata(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0", requires_python=">=3.9")
        published = await publish(world, built)
        assert published.created
        file = await only_file(world, built.filename)
        assert file == published.file
        assert file is not None
        assert (file.sha256, file.size, file.requires_python) == (built.sha256, built.size, ">=3.9")
        assert file.metadata_sha256 is not None
        stored = b"".join([chunk async for chunk in world.engine.blobs.read(file.metadata_sha256)])
        assert stored == built.metadata


async def test_the_same_again_changes_nothing(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0")
        await publish(world, built)
        head = await world.engine.store.head()
        again = await publish(world, built)
        assert not again.created
        assert await world.engine.store.head() == head


async def test_other_bytes_under_a_name_are_refused_unless_the_index_is_volatile(open_world: Open) -> None:
    async with open_world() as world:
        first, second = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", description="changed")
        await publish(world, first)
        before = await blob_count(world)
        with pytest.raises(Conflict, match=r"\AFile already exists"):
            await publish(world, second)
        assert await blob_count(world) == before
        volatile = await world.index("root/scratch", acl_upload=("root",))
        await publish(world, first, index=volatile)
        assert (await publish(world, second, index=volatile)).created
        file = await only_file(world, first.filename, volatile)
        assert file is not None
        assert file.sha256 == second.sha256


async def test_a_hundred_uploads_of_one_name_have_one_winner(open_world: Open) -> None:
    async with open_world() as world:
        built = [build_wheel("demo", "1.0", description=str(number)) for number in range(50)]
        results = await asyncio.gather(*(publish(world, each) for each in built), return_exceptions=True)
        winners = [result for result in results if isinstance(result, Published)]
        assert len(winners) == 1
        assert all(isinstance(result, Conflict) for result in results if not isinstance(result, Published))
        same = await asyncio.gather(*(publish(world, built[results.index(winners[0])]) for _ in range(50)))
        assert not any(result.created for result in same)


async def test_a_deleted_name_stays_taken(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0")
        await publish(world, built)
        with pytest.raises(Denied, match="non-volatile"):
            await world.engine.releases.delete_file(DEV, DEMO, built.filename, principal=ROOT)
        await world.engine.releases.delete_file(DEV, DEMO, built.filename, principal=ROOT, force=True)
        assert await only_file(world, built.filename) is None
        with pytest.raises(Conflict, match="previously used"):
            await publish(world, built)


async def test_a_release_is_deleted_whole_by_any_spelling_of_its_version(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, build_wheel("demo", "1.0"))
        await publish(world, build_sdist("demo", "1.0"))
        await publish(world, build_wheel("demo", "2.0"))
        head = await world.engine.store.head()
        gone = await world.engine.releases.delete_release(DEV, DEMO, "v1.0.0", principal=ROOT, force=True)
        assert len(gone) == 2
        assert await world.engine.store.head() == head + 1
        with pytest.raises(Missing):
            await world.engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT, force=True)


@pytest.mark.parametrize("what", ["yank", "delete"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_what_is_asked_of_some_bytes_is_not_done_to_those_that_replace_them(
    open_world: Open, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    """The volatile index gets other bytes before the request, or after it has read what is there."""
    async with open_world() as world:
        first, second = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", description="changed")
        volatile = await world.index("root/scratch", acl_upload=("root",))
        await publish(world, first, index=volatile)
        read = "file" if what == "yank" else "page"
        real = getattr(world.engine.store, read)

        async def replaced(*arguments: object) -> object:
            monkeypatch.undo()
            found = await real(*arguments)
            await publish(world, second, index=volatile)
            return found

        if when == "before":
            await publish(world, second, index=volatile)
        else:
            monkeypatch.setattr(world.engine.store, read, replaced)
        releases, only = world.engine.releases, {"principal": ROOT, "sha256": first.sha256}
        with pytest.raises(Gone):
            await (
                releases.yank(volatile, DEMO, first.filename, True, **only)
                if what == "yank"
                else releases.delete_file(volatile, DEMO, first.filename, **only)
            )
        file = await only_file(world, first.filename, volatile)
        assert file is not None
        assert (file.sha256, file.yanked) == (second.sha256, False)


@pytest.mark.parametrize("volatile", [True, False])
async def test_the_same_again_while_it_is_deleted_is_as_after_the_deletion(
    open_world: Open, monkeypatch: pytest.MonkeyPatch, volatile: bool
) -> None:
    """The file is there when the upload looks for its name, and deleted before the upload is answered."""
    async with open_world() as world:
        built = build_wheel("demo", "1.0")
        index = await world.index("root/scratch", acl_upload=("root",)) if volatile else DEV
        await publish(world, built, index=index)
        real = world.engine.store.file

        async def deleted(*arguments: Any) -> File | None:
            monkeypatch.undo()
            await world.engine.releases.delete_file(index, DEMO, built.filename, principal=ROOT, force=True)
            return await real(*arguments)

        monkeypatch.setattr(world.engine.store, "file", deleted)
        if volatile:
            assert (await publish(world, built, index=index)).created
            assert await only_file(world, built.filename, index) is not None
        else:
            with pytest.raises(Conflict, match="previously used"):
                await publish(world, built, index=index)
            assert await only_file(world, built.filename, index) is None


async def test_yank_and_unyank(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0")
        await publish(world, built)
        for mark, stored in ((True, True), ("breaks", "breaks"), ("", False), (False, False)):
            await world.engine.releases.yank(DEV, DEMO, built.filename, mark, principal=ROOT)
            file = await only_file(world, built.filename)
            assert file is not None
            assert file.yanked == stored
        with pytest.raises(Denied):
            await world.engine.releases.yank(DEV, DEMO, built.filename, True, principal=Principal(name="ben"))


async def test_va_18_one_sdist_per_release(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, build_sdist("demo", "1.0"))
        with pytest.raises(Conflict, match=r"\AFile already exists"):
            await publish(world, build_sdist("demo", "1.0.0"))


@pytest.mark.parametrize("status", ["archived", "quarantined"])
async def test_fi_11_closed_projects_take_no_uploads(open_world: Open, status: str) -> None:
    async with open_world() as world:
        await publish(world, build_wheel("demo", "1.0"))
        await world.engine.project_statuses.mark(DEV, DEMO, status, "why", principal=ROOT)
        with pytest.raises(Denied, match=status):
            await publish(world, build_wheel("demo", "2.0"))
        await world.engine.project_statuses.mark(DEV, DEMO, "active", principal=ROOT)
        await publish(world, build_wheel("demo", "2.0"))


async def test_who_may_upload(open_world: Open) -> None:
    async with open_world() as world:
        for principal in (Principal(), Principal(name="ben")):
            with pytest.raises(Denied):
                await publish(world, build_wheel("demo", "1.0"), principal=principal)
        with pytest.raises(Missing, match="cannot submit to mirror index"):
            await publish(world, build_wheel("demo", "1.0"), index=PYPI, principal=ROOT)


async def test_bounds(open_world: Open) -> None:
    async with open_world(max_upload_bytes=100, max_upload_fields=32) as world:
        with pytest.raises(TooLarge):
            await publish(world, build_wheel("demo", "1.0"))
        async with world.engine.uploads.receive(DEV, ROOT) as upload:
            for number in range(32):
                upload.field(f"f{number}", "x")
            with pytest.raises(Refused, match="fields"):
                upload.field("one more", "x")
        assert await blob_count(world) == 0


async def test_a_broken_archive_and_a_wrong_form_are_told_together(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0")
        broken = BuiltFile(
            filename=built.filename, data=built.data + b"more", metadata=b"", sha256=sha256_of(built.data + b"more")
        )
        with pytest.raises(Refused) as refused:
            await publish(world, broken, name="other")
        assert any("other" in problem for problem in refused.value.problems)
        assert len(refused.value.problems) >= 2


async def test_the_archive_and_the_form_must_agree_and_nothing_is_kept(open_world: Open) -> None:
    async with open_world() as world:
        with pytest.raises(Refused):
            await publish(world, build_wheel("demo", "1.0"), name="other")
        wrong = build_wheel("demo", "1.0")
        with pytest.raises(Refused, match="sha256"):
            await publish(
                world, BuiltFile(filename=wrong.filename, data=wrong.data, metadata=b"", sha256=wrong.sha256[::-1])
            )  # type: ignore[arg-type]  # a wrong digest is the point
        assert await blob_count(world) == 0
        assert await only_file(world, wrong.filename) is None


async def test_an_index_that_became_permanent_meanwhile_is_not_overwritten(open_world: Open) -> None:
    async with open_world() as world:
        scratch = await world.index("root/scratch", acl_upload=("root",))
        first, second = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", description="changed")
        await publish(world, first, index=scratch)
        async with world.engine.uploads.receive(scratch, ROOT) as upload:
            for key, value in upload_fields(second).items():
                upload.field(key, value)
            await upload.begin_content(second.filename)
            await upload.write(second.data)
            await world.index("root/scratch", acl_upload=("root",), volatile=False)
            with pytest.raises(Conflict, match="already exists"):
                await upload.finish()
        file = await only_file(world, first.filename, scratch)
        assert file is not None
        assert file.sha256 == first.sha256


async def test_a_right_that_was_taken_away_meanwhile_is_gone(open_world: Open) -> None:
    async with open_world() as world:
        shared = await world.index("root/shared", acl_upload=("ben",))
        built = build_wheel("demo", "1.0")
        async with world.engine.uploads.receive(shared, Principal(name="ben")) as upload:
            for key, value in upload_fields(built).items():
                upload.field(key, value)
            await upload.begin_content(built.filename)
            await upload.write(built.data)
            await world.index("root/shared", acl_upload=("root",))
            with pytest.raises(Denied):
                await upload.finish()


async def test_va_18_two_spellings_at_once_are_one_sdist(open_world: Open) -> None:
    async with open_world() as world:
        spellings = [build_sdist("demo", version) for version in ("1.0", "1.0.0", "1", "1.0.0.0")]
        outcomes = await asyncio.gather(*(publish(world, each) for each in spellings), return_exceptions=True)
        assert len([each for each in outcomes if isinstance(each, Published)]) == 1
        assert len([each for each in outcomes if isinstance(each, Conflict)]) == 3


async def test_a_token_for_one_project_publishes_that_one(open_world: Open) -> None:
    async with open_world() as world:
        token = Principal(name="root", scope=TokenScope(token_id="t", projects=("demo",)))
        await publish(world, build_wheel("demo", "1.0"), principal=token)
        with pytest.raises(Denied, match="other projects"):
            await publish(world, build_wheel("other", "1.0"), principal=token, name="other")
