"""What an upload keeps beside its file: the history of the file, the metadata of its version, in one commit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pkgindex_core.changes import PutFile, PutProject, PutRelease
from pkgindex_core.errors import Denied, Missing, Refused
from pkgindex_core.models import Event, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexStore, Principal, UploadForm
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.core.services.conftest import DEV, PYPI, Open, World
from tests.core.services.test_releases import publish

ROOT = Principal(name="root")
DEMO = ProjectName("demo")


async def said(world: World, version: str = "1.0", index: IndexName = DEV) -> dict[str, Any]:
    release = await world.engine.store.release(index, DEMO, version)
    assert release is not None
    found: dict[str, Any] = json.loads(release.metadata)
    return found


async def changes_of(world: World, serial: Serial) -> list[type]:
    (commit,) = await world.engine.store.commits(Serial(serial - 1), limit=1)
    return [type(change) for change in commit.changes]


async def put(world: World, built: BuiltFile, index: IndexName = DEV) -> list[type]:
    """Publish, and tell what the commit was."""
    await publish(world, built, index=index)
    return await changes_of(world, await world.engine.store.head())


class Recording:
    """A store that writes down what it is asked for."""

    def __init__(self, store: IndexStore) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._store, name)


def form(**fields: str) -> UploadForm:
    return UploadForm(fields={":action": ("submit",), **{name: (value,) for name, value in fields.items()}})


async def test_a_file_comes_with_its_history_and_its_version_in_one_commit(open_world: Open) -> None:
    async with open_world() as world:
        built = build_wheel("demo", "1.0", requires_python=">=3.9", description="long")
        assert await put(world, built) == [PutFile, PutRelease]
        file = await world.engine.store.file(DEV, DEMO, built.filename)
        assert file is not None
        assert file.history == (Event(what="upload", at=world.clock.now(), who="root", target=DEV),)
        known = await said(world)
        assert (known["name"], known["requires_python"], known["description"]) == ("demo", ">=3.9", "long")


async def test_what_is_said_already_is_not_said_again(open_world: Open) -> None:
    async with open_world() as world:
        for build in ("", "1", "2"):
            expected = [PutFile] if build else [PutFile, PutRelease]
            assert await put(world, build_wheel("demo", "1.0", build=build)) == expected
        head = await world.engine.store.head()
        await publish(world, build_wheel("demo", "1.0"))
        assert await world.engine.store.head() == head


async def test_each_file_keeps_its_own_requires_python(open_world: Open) -> None:
    """devpi shows the last upload's on every file of the version."""
    async with open_world() as world:
        wheel, sdist = (
            build_wheel("demo", "1.0", requires_python=">=3.9"),
            build_sdist("demo", "1.0", requires_python=">=3.8"),
        )
        await publish(world, wheel)
        await publish(world, sdist)
        for built, expected in ((wheel, ">=3.9"), (sdist, ">=3.8")):
            file = await world.engine.store.file(DEV, DEMO, built.filename)
            assert file is not None
            assert file.requires_python == expected
        assert (await said(world))["requires_python"] == ">=3.8"


async def test_an_sdist_does_not_take_away_what_a_wheel_has_said(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, build_wheel("demo", "1.0", requires_dist=["other"]))
        await publish(world, build_sdist("demo", "1.0", metadata_extra="Dynamic: Requires-Dist"))
        assert (await said(world))["requires_dist"] == ["other"]


async def test_an_overwritten_file_says_how_often(open_world: Open) -> None:
    async with open_world() as world:
        loose = await world.index("root/loose", acl_upload=("root",))
        for count in range(4):
            built = build_wheel("demo", "1.0", description=str(count))
            await publish(world, built, index=loose)
            file = await world.engine.store.file(loose, DEMO, built.filename)
            assert file is not None
            arrived = Event(what="upload", at=world.clock.now(), who="root", target=loose)
            overwritten = Event(what="overwrite", at=world.clock.now(), count=count)
            assert file.history == ((overwritten, arrived) if count else (arrived,))
            assert (await said(world, index=loose))["description"] == str(count)


async def test_a_name_that_is_free_again_has_no_past(open_world: Open) -> None:
    async with open_world() as world:
        loose = await world.index("root/loose", acl_upload=("root",))
        built = build_wheel("demo", "1.0")
        await publish(world, built, index=loose)
        await world.engine.releases.delete_file(loose, DEMO, built.filename, principal=ROOT)
        await publish(world, built, index=loose)
        file = await world.engine.store.file(loose, DEMO, built.filename)
        assert file is not None
        assert [event.what for event in file.history] == ["upload"]


async def test_a_version_is_registered_without_files(open_world: Open) -> None:
    async with open_world() as world:
        registering = world.engine.registering
        done = await registering.register(DEV, form(name="Demo", version="1.0", summary="soon"), ROOT)
        assert (done.project, done.created) == (DEMO, True)
        assert await changes_of(world, await world.engine.store.head()) == [PutProject, PutRelease]
        page = await world.engine.store.page(DEV, DEMO)
        assert page is not None
        assert (page.head.display_name, page.head.versions, page.rows) == ("Demo", ("1.0",), ())
        again = await registering.register(DEV, form(name="Demo", version="1.0", summary="soon"), ROOT)
        assert not again.created
        await registering.register(DEV, form(name="demo", version="2.0"), ROOT)
        page = await world.engine.store.page(DEV, DEMO)
        assert page is not None
        assert page.head.versions == ("1.0", "2.0")
        assert (await said(world))["summary"] == "soon"


async def test_a_form_does_not_replace_what_files_say(open_world: Open) -> None:
    async with open_world() as world:
        await publish(world, build_wheel("demo", "1.0"))
        head = await world.engine.store.head()
        done = await world.engine.registering.register(DEV, form(name="demo", version="1.0.0", summary="other"), ROOT)
        assert (done.created, len(done.warnings)) == (False, 1)
        assert await world.engine.store.head() == head
        await world.engine.registering.register(DEV, form(name="demo", version="2.0", summary="later"), ROOT)
        await publish(world, build_wheel("demo", "2.0"))
        assert (await said(world, "2.0"))["summary"] == "demo for tests"


async def test_who_may_register_and_what(open_world: Open) -> None:
    async with open_world() as world:
        register = world.engine.registering.register
        good = form(name="demo", version="1.0")
        for principal in (Principal(), Principal(name="ben")):
            with pytest.raises(Denied):
                await register(DEV, good, principal)
        with pytest.raises(Missing, match="cannot submit to mirror index"):
            await register(PYPI, good, ROOT)
        with pytest.raises(Refused) as refused:
            await register(DEV, form(name="-", version="x"), ROOT)
        assert len(refused.value.problems) == 2
        await register(DEV, good, ROOT)
        await world.engine.project_statuses.mark(DEV, DEMO, "archived", "", principal=ROOT)
        with pytest.raises(Denied, match="archived"):
            await register(DEV, form(name="demo", version="2.0"), ROOT)


async def test_the_two_hundredth_upload_reads_what_the_first_did(open_world: Open) -> None:
    """Publishing many versions of one project stays linear: an upload asks for its own version, never for all of them."""
    async with open_world() as world:
        recording = Recording(world.engine.store)
        world.engine.uploads._files._store = recording  # type: ignore[assignment]  # it hands everything on
        for number in range(5):
            await publish(world, build_wheel("demo", f"{number}.0"))
        assert not {"releases", "page", "attachments", "projects"} & set(recording.asked)
        assert recording.asked.count("release") == 5


async def test_a_version_that_goes_while_its_next_wheel_comes_is_described_again(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel relied upon what the version said; a file without metadata of its version would be left."""
    async with open_world() as world:
        await publish(world, build_wheel("demo", "1.0"))
        store = world.engine.store
        apply = store.apply

        async def late(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await world.engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT, force=True)
            return await apply(*args, **kwargs)

        monkeypatch.setattr(store, "apply", late)
        await publish(world, build_wheel("demo", "1.0", tag="cp311-none-any"))
        assert (await said(world))["version"] == "1.0"
