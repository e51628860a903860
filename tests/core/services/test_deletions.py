"""Deleting files, versions and projects: what goes along, what stays, and who may."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from pkgindex_core.changes import DropFile, DropRelease, PutAttachment, PutProject
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Denied, Missing, RequirementFailed
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, UploadForm
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.core.services.conftest import DEV, PYPI, Open, World
from tests.core.services.test_releases import publish

ROOT = Principal(name="root")
DEMO = ProjectName("demo")
WHEEL, SDIST = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")
DOCS, RESULT = "demo-1.0.doc.zip", f"{WHEEL.filename}.toxresult-20260101000000-0"


async def release(world: World, *, docs: bool = True) -> None:
    """Two files, a test result, documentation, and another version."""
    for built in (WHEEL, SDIST, build_wheel("demo", "2.0")):
        await publish(world, built)
    await attach(world, RESULT, about=WHEEL.filename)
    if docs:
        await attach(world, DOCS)


async def attach(world: World, filename: str, about: str = "") -> None:
    attachment = Attachment(
        kind="toxresult" if about else "doczip",
        filename=filename,
        version="1.0",
        about=about,
        sha256=sha256_of(b"x"),
        size=1,
        added=world.clock.now(),
    )
    await world.engine.store.apply([PutAttachment(DEV, DEMO, attachment)], who="[test]")


async def told(world: World, index: IndexName) -> bytes:
    found = await world.engine.versions.project(index, DEMO, principal=ROOT, root="")
    return b"".join([piece async for piece in found.pieces])


async def left(world: World) -> tuple[list[str], list[str], list[str]]:
    """Files, attachments, versions with metadata."""
    store = world.engine.store
    page = await store.page(DEV, DEMO)
    return (
        sorted(row.filename for row in page.rows) if page else [],
        [each.filename for each in await store.attachments(DEV, DEMO)],
        sorted(each.version for each in await store.releases(DEV, DEMO)),
    )


async def test_a_version_goes_whole_in_one_commit(open_world: Open) -> None:
    async with open_world() as world:
        await release(world)
        head = await world.engine.store.head()
        gone = await world.engine.releases.delete_release(DEV, DEMO, "v1.0.0", principal=ROOT, force=True)
        assert sorted(gone) == sorted([WHEEL.filename, SDIST.filename])
        assert await world.engine.store.head() == head + 1
        assert await left(world) == ([build_wheel("demo", "2.0").filename], [], ["2.0"])


async def test_the_last_file_takes_its_version_along(open_world: Open) -> None:
    async with open_world() as world:
        await release(world, docs=False)
        delete = world.engine.releases.delete_file
        await delete(DEV, DEMO, WHEEL.filename, principal=ROOT, force=True)
        assert (await left(world))[1:] == ([], ["1.0", "2.0"])
        await delete(DEV, DEMO, SDIST.filename, principal=ROOT, force=True)
        (commit,) = await world.engine.store.commits(Serial(await world.engine.store.head() - 1))
        assert [type(change) for change in commit.changes] == [DropFile, DropRelease]
        assert (await left(world))[2] == ["2.0"]


async def test_documentation_keeps_its_version_until_it_goes_too(open_world: Open) -> None:
    async with open_world() as world:
        await release(world)
        for filename, versions in ((WHEEL.filename, 2), (SDIST.filename, 2), (DOCS, 1)):
            await world.engine.releases.delete_file(DEV, DEMO, filename, principal=ROOT, force=True)
            assert len((await left(world))[2]) == versions


async def test_a_result_goes_alone(open_world: Open) -> None:
    async with open_world() as world:
        await release(world)
        await world.engine.releases.delete_file(DEV, DEMO, RESULT, principal=ROOT, force=True)
        files, attachments, versions = await left(world)
        assert (len(files), attachments, versions) == (3, [DOCS], ["1.0", "2.0"])


async def test_a_registered_version_goes_from_the_page_too(open_world: Open) -> None:
    async with open_world() as world:
        form = UploadForm(fields={"name": ("demo",), "version": ("1.0",)})
        await world.engine.registering.register(DEV, form, ROOT)
        await world.engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT, force=True)
        page = await world.engine.store.page(DEV, DEMO)
        assert page is not None
        assert page.head == PageHead(display_name="demo")
        (commit,) = await world.engine.store.commits(Serial(await world.engine.store.head() - 1))
        assert [type(change) for change in commit.changes] == [DropRelease, PutProject]


async def test_a_name_is_not_open_to_a_namesake_before_its_project_is_deleted(open_world: Open) -> None:
    """devpi gives the name up with the last version, and installers then take the public package of that name."""
    async with open_world() as world:
        public = File(filename="demo-9.0.tar.gz", version="9.0", digests={"sha256": "c" * 64}, url="https://e.org/x")
        world.mirror.pages["demo"] = [public]
        await publish(world, WHEEL)
        await world.engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT, force=True)
        document = await told(world, DEV)
        assert (document, world.mirror.asked) == (b"{}", [])
        await world.engine.releases.delete_project(DEV, DEMO, principal=ROOT, force=True)
        document = await told(world, DEV)
        assert document.startswith(b'{"9.0":')


async def test_what_is_not_there(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, WHEEL)
        releases = world.engine.releases
        other = ProjectName("other")
        for deletion, text in (
            (
                releases.delete_release(DEV, DEMO, "9", principal=ROOT, force=True),
                "version '9' of project 'demo' not found on stage 'root/dev'",
            ),
            (
                releases.delete_release(DEV, other, "9", principal=ROOT, force=True),
                "project 'other' not found on stage 'root/dev'",
            ),
            (releases.delete_project(DEV, other, principal=ROOT, force=True), "project not found"),
            (releases.delete_file(DEV, DEMO, "demo-9.tar.gz", principal=ROOT, force=True), "no file 'demo-9.tar.gz'"),
        ):
            with pytest.raises(Missing) as missing:
                await deletion
            assert missing.value.message == text


async def test_who_may_and_what_needs_a_word(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, WHEEL)
        releases = world.engine.releases
        for principal in (Principal(), Principal(name="ben")):
            with pytest.raises(Denied):
                await releases.delete_release(DEV, DEMO, "1.0", principal=principal, force=True)
            with pytest.raises(Denied):
                await releases.delete_project(DEV, DEMO, principal=principal, force=True)
        with pytest.raises(Denied, match="cannot delete version on non-volatile index"):
            await releases.delete_release(DEV, DEMO, "1.0", principal=ROOT)
        with pytest.raises(Denied, match="project 'demo' is on non-volatile index root/dev"):
            await releases.delete_project(DEV, DEMO, principal=ROOT)
        assert (await left(world))[0] == [WHEEL.filename]


async def test_a_mirror_forgets_and_asks_again(open_world: Open) -> None:
    async with open_world() as world:
        file = File(filename="demo-9.0.tar.gz", version="9.0", digests={"sha256": "c" * 64}, url="https://e.org/x")
        world.mirror.pages["demo"] = [file]
        releases = world.engine.releases
        for deletion in ("project", "version", "file"):
            await told(world, PYPI)
            with pytest.raises(Denied, match="non-volatile"):
                await releases.delete_project(PYPI, DEMO, principal=ROOT)
            match deletion:
                case "project":
                    await releases.delete_project(PYPI, DEMO, principal=ROOT, force=True)
                case "version":
                    with pytest.raises(Missing):
                        await releases.delete_release(PYPI, DEMO, "1.0", principal=ROOT, force=True)
                    await releases.delete_release(PYPI, DEMO, "9", principal=ROOT, force=True)
                case "file":
                    await releases.delete_file(PYPI, DEMO, file.filename, principal=ROOT, force=True)
            assert await world.engine.store.page(PYPI, DEMO) is None
        document = await told(world, PYPI)
        assert document.startswith(b'{"9.0":')
        with pytest.raises(Denied):
            await releases.delete_project(PYPI, DEMO, principal=Principal(name="ben"), force=True)


async def test_an_index_that_became_permanent_meanwhile_keeps_its_files(open_world: Open) -> None:
    """What was allowed is what is committed under: a configuration that changed is looked at again."""
    async with open_world() as world:
        loose = IndexConfig(name=IndexName("root/loose"), acl_upload=("root",))
        await world.index("root/loose", acl_upload=("root",))
        await publish(world, WHEEL, index=loose.name)
        config = await world.engine.releases.may_delete(loose.name, principal=ROOT, force=False)
        assert config == loose
        await world.index("root/loose", acl_upload=("root",), volatile=False)
        page = await world.engine.store.page(loose.name, DEMO)
        assert page is not None
        drop = [DropFile(loose.name, DEMO, WHEEL.filename)]
        with pytest.raises(RequirementFailed):
            await world.engine.releases._commit(drop, config, page, ROOT)
        assert await world.engine.store.file(loose.name, DEMO, WHEEL.filename) is not None


async def upload_documentation(world: World) -> None:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("index.html", b"<p>demo</p>")
        data = buffer.getvalue()
    async with world.engine.uploads.receive(DEV, ROOT) as upload:
        for key, value in {":action": "doc_upload", "name": "demo", "version": "1.0"}.items():
            upload.field(key, value)
        await upload.begin_content("demo.zip")
        await upload.write(data)
        await upload.finish()


async def test_documentation_that_comes_while_its_version_goes_does_not_outlive_it(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the documentation of a version that nobody has."""
    async with open_world() as world:
        await publish(world, WHEEL)
        apply = world.engine.store.apply

        async def late(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await upload_documentation(world)
            return await apply(*args, **kwargs)

        monkeypatch.setattr(world.engine.store, "apply", late)
        await world.engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT, force=True)
        assert await left(world) == ([], [], [])


async def test_the_last_file_and_the_documentation_deleted_at_once_take_the_version_along(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sees the other and would leave the version to it."""
    async with open_world() as world:
        await publish(world, WHEEL)
        await upload_documentation(world)
        apply, delete = world.engine.store.apply, world.engine.releases.delete_file

        async def late(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await delete(DEV, DEMO, DOCS, principal=ROOT, force=True)
            return await apply(*args, **kwargs)

        monkeypatch.setattr(world.engine.store, "apply", late)
        await delete(DEV, DEMO, WHEEL.filename, principal=ROOT, force=True)
        assert await left(world) == ([], [], [])
