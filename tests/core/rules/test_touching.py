"""Laws: whatever reads differently after commits is touched by them, and each change touches its own things alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.changes import (
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    MirrorNames,
    MirrorPage,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    YankFile,
)
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.models import IndexConfig, Release, Serial, Token
from pkgindex_core.protocols import Touched
from pkgindex_core.rules.touching import together, touched_by
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    ManualClock,
    docs,
    head,
    hosted,
    mirror,
    stage,
    user,
)
from pkgindex_core.testing.index_machine import FILENAMES, INDEXES, PROJECTS, TOKENS, USERS, changes

ONE = Serial(1)
OF_DEMO = Touched(upto=ONE, projects=frozenset({(DEV, DEMO)}))
OF_MIRRORED_DEMO = Touched(upto=ONE, projects=frozenset({(MIRROR, DEMO)}))
IDENTITIES = Touched(upto=ONE, identities=True)

EXPECTED: tuple[tuple[Change, Touched], ...] = (
    (PutUser(user("bob")), IDENTITIES),
    (DropUser("bob"), IDENTITIES),
    (PutToken(Token(id="t", user="bob", secret_sha256=sha256_of(b"t"))), IDENTITIES),
    (DropToken("t"), IDENTITIES),
    (PutIndex(stage(DEV)), Touched(upto=ONE, tree=True)),
    (DropIndex(DEV), Touched(upto=ONE, tree=True, indexes=frozenset({DEV}))),
    (PutProject(DEV, DEMO, head("Demo")), OF_DEMO),
    (DropProject(DEV, DEMO), OF_DEMO),
    (PutFile(DEV, DEMO, hosted("demo-1.zip")), OF_DEMO),
    (DropFile(DEV, DEMO, "demo-1.zip"), OF_DEMO),
    (YankFile(DEV, DEMO, "demo-1.zip", yanked=True), OF_DEMO),
    (PutRelease(DEV, DEMO, Release(version="1.0", metadata=b"{}")), OF_DEMO),
    (DropRelease(DEV, DEMO, "1.0"), OF_DEMO),
    (PutAttachment(DEV, DEMO, docs("1.0")), OF_DEMO),
    (DropAttachment(DEV, DEMO, "demo-1.0.doc.zip"), OF_DEMO),
    (MirrorPage(MIRROR, DEMO, head()), OF_MIRRORED_DEMO),
    (DropMirrorPage(MIRROR, DEMO), OF_MIRRORED_DEMO),
    (MirrorNames(MIRROR), Touched(upto=ONE, names=frozenset({MIRROR}))),
)


@pytest.mark.parametrize(("change", "expected"), EXPECTED, ids=lambda each: type(each).__name__)
def test_each_change_touches_its_own_alone(change: Change, expected: Touched) -> None:
    assert touched_by([change], ONE) == expected


def test_every_kind_of_change_is_in_the_table() -> None:
    assert {type(change) for change, _ in EXPECTED} == set(Change.__args__)


def test_a_commit_touches_what_all_its_changes_touch() -> None:
    listed = [change for change, _ in EXPECTED]
    assert touched_by(listed, ONE) == together([expected for _, expected in EXPECTED], ONE)


@given(lists=st.lists(st.lists(changes, min_size=1, max_size=3), max_size=12))
def test_whatever_reads_differently_was_touched(lists: list[list[Change]]) -> None:
    asyncio.run(_compare(lists))


async def _compare(lists: list[list[Change]]) -> None:
    store = MemoryIndex(ManualClock())
    begin: list[Change] = [
        *(PutUser(user(name)) for name in USERS),
        *(PutIndex(IndexConfig(name=name)) for name in INDEXES[:2]),
        PutIndex(mirror(INDEXES[2])),
        *(PutFile(INDEXES[0], project, hosted(f"{project}-1.zip")) for project in PROJECTS),
        PutFile(INDEXES[0], PROJECTS[0], hosted(FILENAMES[0])),
        MirrorPage(INDEXES[2], PROJECTS[0], head(), put=(hosted(FILENAMES[0]),)),
    ]
    await store.apply(begin, who="[test]")
    for listed in lists:
        before, seen = await _reads(store), store.seen()
        with suppress(PkgIndexError):
            await store.apply(listed, who="[test]")
        now, touched = await _reads(store), await store.touched(seen)
        assert isinstance(touched, Touched)
        assert touched.upto == store.seen()
        for what, answer in before.items():
            assert answer == now[what] or _names(touched, what), what


def _names(touched: Touched, what: tuple[str, ...]) -> bool:
    """Whether something that was read is among what was touched."""
    match what:
        case ("tree",):
            return touched.tree
        case ("identities", _):
            return touched.identities
        case ("names", index):
            return index in touched.names | touched.indexes
        case ("projects", index):
            return index in {name for name, _ in touched.projects} | touched.indexes
        case (index, project, *_):
            return (index, project) in touched.projects or index in touched.indexes
    raise AssertionError(what)


async def _reads(store: MemoryIndex) -> Mapping[tuple[str, ...], object]:
    """Every read of the present, by what it is a read of."""
    found: dict[tuple[str, ...], object] = {("tree",): dict((await store.tree()).indexes)}
    for name in USERS:
        found["identities", name] = await store.user(name), list(await store.tokens(name))
    for token_id in TOKENS:
        found["identities", token_id] = await store.token(token_id)
    for index in INDEXES:
        listed = [row async for rows in store.listed_names(index) for row in rows]
        found["names", index] = await store.listing(index), listed
        found["projects", index] = list(await store.projects(index)), await store.project_count(index)
        for project in PROJECTS:
            found[index, project] = await store.page(index, project), await store.standings(project, [index])
            found[index, project, "releases"] = list(await store.releases(index, project))
            found[index, project, "attachments"] = list(await store.attachments(index, project))
            for filename in FILENAMES:
                found[index, project, filename] = await store.file(index, project, filename)
    return found
