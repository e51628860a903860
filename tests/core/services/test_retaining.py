"""Retention: what goes in one commit, what is found in other indexes, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import DropFile, IndexIs, PutAttachment, PutIndex, PutProject, PutUser, YankFile
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, QuotaExceeded, Refused
from pkgindex_core.models import Attachment, IndexConfig, PageHead, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.services.writing.retaining import WHO
from pkgindex_core.testing.configs import index_config, mirror_config
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.core.services.conftest import DEV, PYPI, MovedClock

PROD = IndexName("root/prod")
DEMO = ProjectName("demo")
ROOT = Principal(name="root")
DAY = 86_400.0


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def engine(tmp_path: Path, clock: MovedClock) -> AsyncIterator[Engine]:
    async with Engine.open(Settings(data=tmp_path), mirrors=False, clock=clock) as opened:
        indexes = [PutIndex(rule(releases=2)), PutIndex(index_config(PROD)), PutIndex(mirror_config(PYPI))]
        await opened.store.apply([PutUser(User(name="root")), *indexes], who="[test]")
    async with Engine.open(Settings(data=tmp_path), mirrors=False, clock=clock) as opened:  # now its blobs are marked
        yield opened


def rule(**options: Any) -> IndexConfig:
    return index_config(DEV, options={f"retain_{name}": value for name, value in options.items()})


def wheel(version: str) -> BuiltFile:
    return build_wheel("demo", version)


async def published(engine: Engine, built: BuiltFile, index: IndexName = DEV) -> None:
    _, version, *_ = built.filename.split("-")
    async with engine.uploads.receive(index, ROOT) as upload:
        fields = {":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": "demo"}
        for key, value in {**fields, "version": version, "filetype": "bdist_wheel", "pyversion": "py3"}.items():
            upload.field(key, value)
        await upload.begin_content(built.filename)
        await upload.write(built.data)
        await upload.finish()


async def fill(engine: Engine, versions: Iterable[str] = ("1.0", "2.0", "3.0", "4.0")) -> None:
    for version in versions:
        await published(engine, wheel(version))


async def files(engine: Engine, index: IndexName = DEV) -> set[str]:
    page = await engine.store.page(index, DEMO)
    return {row.version for row in page.rows} if page else set()


async def gone(engine: Engine, *, dry_run: bool = False) -> dict[str, str]:
    judged = await engine.retaining.retain(DEV, dry_run=dry_run)
    return {verdict.version: verdict.reason for each in judged for verdict in each.verdicts if verdict.goes}


async def undo(engine: Engine, *, within: float = 7 * DAY, dry_run: bool = False) -> tuple[list[str], list[str]]:
    back = await engine.retaining.bring_back(DEV, within=within, who="root", dry_run=dry_run)
    return sorted(name for each in back for name in each.files), sorted(name for each in back for name in each.gone)


async def test_a_dry_run_tells_what_goes_and_changes_nothing(engine: Engine) -> None:
    await fill(engine)
    head = await engine.store.head()
    told = await gone(engine, dry_run=True)
    assert told == dict.fromkeys(("2.0", "1.0"), "it is not one of the 2 newest releases")
    assert await engine.store.head() == head
    assert await gone(engine) == told
    assert await files(engine) == {"3.0", "4.0"}
    assert await gone(engine) == {}


async def test_a_project_changes_in_one_commit_and_its_releases_go_whole(engine: Engine) -> None:
    await fill(engine)
    old = wheel("1.0").filename
    for name, about in (("demo-1.0.doc.zip", ""), (f"{old}.toxresult-20260101000000-0", old)):
        await attach(engine, name, about)
    head = await engine.store.head()
    await gone(engine)
    (commit,) = await engine.store.commits(head)
    assert commit.who == WHO
    assert await engine.store.attachments(DEV, DEMO) == []
    assert sorted(await engine.store.released(DEV, DEMO)) == ["3", "4"]
    taken = await engine.store.taken(DEV, old)
    assert taken is not None
    assert not taken.live


async def attach(engine: Engine, name: str, about: str = "") -> None:
    blob = await engine.blobs.put(name.encode())
    attachment = Attachment(
        kind="toxresult" if about else "doczip",
        filename=name,
        version="1.0",
        about=about,
        sha256=blob.sha256,
        size=blob.size,
        added=engine.clock.now(),
    )
    await engine.store.apply([PutAttachment(DEV, DEMO, attachment)], who="[test]")


async def test_a_release_that_was_pushed_stays(engine: Engine) -> None:
    await fill(engine)
    await engine.pushing.push(DEV, PROD, DEMO, "1.0", principal=ROOT)
    judged = await engine.retaining.retain(DEV, dry_run=False)
    reasons = {verdict.version: (verdict.goes, verdict.reason) for each in judged for verdict in each.verdicts}
    assert reasons["1.0"] == (False, "root/prod has it too")
    assert await files(engine) == {"1.0", "3.0", "4.0"}


async def test_other_bytes_of_a_name_protect_nothing(engine: Engine) -> None:
    await fill(engine)
    await published(engine, build_wheel("demo", "1.0", files={"demo/other.py": b"x"}), index=PROD)
    await gone(engine)
    assert await files(engine) == {"3.0", "4.0"}


async def test_what_goes_comes_back_and_stays(engine: Engine) -> None:
    await fill(engine)
    old = wheel("1.0").filename
    for name, about in (("demo-1.0.doc.zip", ""), (f"{old}.toxresult-20260101000000-0", old)):
        await attach(engine, name, about)
    await engine.store.apply(
        [
            PutProject(DEV, DEMO, PageHead(display_name="Demo", versions=("0.5", "1.0"))),
            YankFile(DEV, DEMO, old, "bad"),
        ],
        who="[test]",
    )
    before = await snapshot(engine)
    await gone(engine)
    names = [wheel(version).filename for version in ("1.0", "2.0")]
    assert await undo(engine, dry_run=True) == (names, [])
    assert await files(engine) == {"3.0", "4.0"}
    assert await undo(engine) == (names, [])
    assert await snapshot(engine) == before
    found = await engine.store.file(DEV, DEMO, old)
    assert found is not None
    assert [(event.what, event.who) for event in found.history] == [("upload", "root"), ("restore", "root")]
    assert await gone(engine) == {}
    assert await undo(engine) == ([], [])


async def snapshot(engine: Engine) -> Any:
    """Everything of the project but histories and stamps."""
    page = await engine.store.page(DEV, DEMO)
    assert page is not None
    attachments = await engine.store.attachments(DEV, DEMO)
    releases = {each.version: each for each in await engine.store.releases(DEV, DEMO)}
    return (
        sorted(row.fragment for row in page.rows),
        page.head.display_name,
        set(page.head.versions),
        attachments,
        releases,
    )


async def test_removals_of_before_stay_removed(engine: Engine, clock: MovedClock) -> None:
    await fill(engine)
    await gone(engine)
    clock.move(DAY)
    assert await undo(engine, within=DAY / 2) == ([], [])


async def test_what_was_deleted_by_hand_does_not_come_back(engine: Engine) -> None:
    await fill(engine)
    await engine.store.apply([DropFile(DEV, DEMO, wheel("4.0").filename)], who="root")
    await gone(engine)
    assert (await undo(engine))[0] == [wheel("1.0").filename]
    await gone(engine)
    await engine.releases.delete_project(DEV, DEMO, principal=ROOT)
    assert await undo(engine) == ([], [])
    assert await engine.store.page(DEV, DEMO) is None


async def test_a_name_that_was_uploaded_again_is_left_alone(engine: Engine) -> None:
    await fill(engine)
    await gone(engine)
    await published(engine, wheel("1.0"))
    assert (await undo(engine))[0] == [wheel("2.0").filename]


async def test_a_file_that_was_removed_twice_comes_back_as_it_was_last(engine: Engine) -> None:
    await fill(engine)
    await gone(engine)
    await published(engine, wheel("1.0"))
    await engine.store.apply([YankFile(DEV, DEMO, wheel("1.0").filename, "leaks passwords")], who="root")
    assert set(await gone(engine)) == {"1.0"}
    names = sorted(wheel(version).filename for version in ("1.0", "2.0"))
    assert await undo(engine, dry_run=True) == (names, [])
    assert await undo(engine) == (names, [])
    found = await engine.store.file(DEV, DEMO, wheel("1.0").filename)
    assert found is not None
    assert found.yanked == "leaks passwords"


async def test_what_was_deleted_by_hand_after_a_removal_stays_deleted(engine: Engine) -> None:
    await fill(engine)
    await gone(engine)
    await published(engine, wheel("1.0"))
    await engine.store.apply([DropFile(DEV, DEMO, wheel("1.0").filename)], who="root")
    assert await undo(engine) == ([wheel("2.0").filename], [])
    await gone(engine)
    await engine.releases.delete_project(DEV, DEMO, principal=ROOT)
    await published(engine, wheel("5.0"))
    assert await undo(engine) == ([], [])


async def test_after_the_grace_of_gc_the_bytes_are_gone(engine: Engine, clock: MovedClock) -> None:
    await fill(engine)
    await gone(engine)
    await clear(engine)
    clock.move(DAY / 2)
    await clear(engine)
    assert (await undo(engine, dry_run=True))[0] != []
    clock.move(DAY)
    await clear(engine)
    assert await undo(engine) == ([], [wheel("1.0").filename, wheel("2.0").filename])
    assert await files(engine) == {"3.0", "4.0"}


async def test_what_came_back_is_kept_by_gc(engine: Engine, clock: MovedClock) -> None:
    await fill(engine)
    await gone(engine)
    await clear(engine)
    assert len((await undo(engine))[0]) == 2
    clock.move(2 * DAY)
    await clear(engine)
    for version in ("1.0", "2.0"):
        assert await engine.blobs.stat(wheel(version).sha256) is not None


async def clear(engine: Engine) -> None:
    await engine.clearing.clear(grace=DAY, dry_run=False, progress=lambda *_: None)


async def test_coming_back_keeps_the_quota(engine: Engine) -> None:
    await fill(engine)
    await gone(engine)
    options = {"retain_releases": 2, "max_index_bytes": await engine.store.stored_bytes(DEV)}
    await engine.store.apply([PutIndex(index_config(DEV, options=options))], who="[test]")
    with pytest.raises(QuotaExceeded):
        await undo(engine)
    assert await files(engine) == {"3.0", "4.0"}


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (PROD, Refused, "has no retention rule"),
        (PYPI, Refused, "an index of type mirror has no retention"),
        (IndexName("root/none"), Missing, "no index"),
    ],
    ids=["no rule", "mirror", "no index"],
)
async def test_an_index_that_has_no_rule_is_refused(
    engine: Engine, index: IndexName, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await engine.retaining.retain(index, dry_run=True)


async def test_a_rule_that_changes_meanwhile_is_read_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(engine)
    apply: Callable[..., Any] = engine.store.apply

    async def overtaken(changes: Any, *, who: str, require: Any = ()) -> Any:
        if who == WHO and any(isinstance(each, IndexIs) for each in require):
            monkeypatch.undo()
            await apply([PutIndex(rule(releases=3))], who="[test]")
        return await apply(changes, who=who, require=require)

    monkeypatch.setattr(engine.store, "apply", overtaken)
    assert list(await gone(engine)) == ["1.0"]
    assert await files(engine) == {"2.0", "3.0", "4.0"}
