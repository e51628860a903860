"""A Hypothesis state machine that runs random histories on an index store and on the reference, and compares them.

    class MyMachine(IndexMachine):
        async def open_store(self, context):
            return await open_mine("mine://" + context.data.name, context)

    TestMyMachine = MyMachine.TestCase

Every list of changes goes to the store and to a `MemoryIndex`, also lists that do not fit and requirements that fail. The outcomes must
be equal, and so must every read, of the present and of every past serial, also after reopening the store, and after several lists at
once. There are few names, so that they collide.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pkgindex_core.testing.needed  # noqa: F401 - says which package is missing before the import below fails

# isort: split
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    Commit,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    YankFile,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Missing, PkgIndexError, RequirementFailed
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig, PageHead, Release, Serial, Token
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import EVERYTHING, IndexStore
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.index_cases.values import ManualClock, docs, hosted, tox_result, unfetched, user

_Result = TypeVar("_Result")

USERS: Final = ("ann", "root")
TOKENS: Final = ("t1", "t2")
INDEXES: Final = tuple(IndexName(name) for name in ("ann/dev", "ann/prod", "root/mirror"))
PROJECTS: Final = tuple(ProjectName(name) for name in ("demo", "demo-more", "other"))
FILENAMES: Final = (
    "demo-1.0.tar.gz",
    "demo-2.0-py3-none-any.whl",
    "demo_more-1.0-py3-none-any.whl",
    "demo-more-1.0.zip",
    "other-1.0.tar.gz",
    "without anything in common.exe",
)

_users = st.sampled_from(USERS)
_indexes = st.sampled_from(INDEXES)
# Mostly indexes that a change fits, sometimes others (which it fits after the index was made again as another type).
_stages = st.sampled_from((*INDEXES[:2], INDEXES[0], *INDEXES))
_mirrors = st.sampled_from((*INDEXES[2:] * 4, INDEXES[0]))
_projects = st.sampled_from(PROJECTS)
_filenames = st.sampled_from(FILENAMES)
_contents = st.sampled_from(["one", "two"])
_yanks: st.SearchStrategy[bool | str] = st.sampled_from([False, True, "why"])
_files = st.builds(
    hosted,
    _filenames,
    _contents,
    yanked=_yanks,
    metadata_sha256=st.sampled_from([None, sha256_of(b"m")]),
)
_mirrored_files = _files | st.builds(unfetched, _filenames)
_kept = st.builds(lambda files: keep(PROJECTS[0], files).kept, st.lists(_mirrored_files, max_size=4))
_heads = st.builds(
    PageHead,
    display_name=st.sampled_from(["", "Demo"]),
    status=st.sampled_from(["", "archived"]),
    fetched=st.sampled_from([None, Timestamp(1), Timestamp(2)]),
)
histories: Final = st.sampled_from([0, 20, 10**6])
"""Seconds for which a mirror keeps the past of its pages. `time_passes` moves the clock about as far as the shorter one."""
_configs = st.builds(
    index_config,
    _indexes,
    type=st.just("stage"),
    bases=st.lists(_indexes, max_size=2).map(tuple),
) | st.builds(index_config, _mirrors, type=st.just("mirror"), mirror_history=histories)
_tokens = st.builds(
    Token,
    id=st.sampled_from(TOKENS),
    user=_users,
    secret_sha256=st.just(sha256_of(b"secret")),
    created=st.sampled_from([Timestamp(1), Timestamp(2)]),
)

rare_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(PutUser, st.builds(user, _users, email=st.sampled_from(["", "a@example.org"]))),
    st.builds(DropUser, _users),
    st.builds(PutToken, _tokens),
    st.builds(DropToken, st.sampled_from(TOKENS)),
    st.builds(PutIndex, _configs),
    st.builds(DropIndex, _indexes),
)
_results = ("r1", "r2")
_attachments = st.builds(docs, st.sampled_from(["1.0", "2.0"]), _contents) | st.builds(
    tox_result, st.sampled_from(_results), st.sampled_from(FILENAMES[:2]), _contents
)
ATTACHMENTS: Final = (*_results, docs("1.0").filename, docs("2.0").filename)
release_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        PutRelease,
        _stages,
        _projects,
        st.builds(Release, version=st.sampled_from(["1.0", "1", "2.0"]), metadata=st.sampled_from([b"{}", b"x" * 999])),
    ),
    st.builds(DropRelease, _stages, _projects, st.sampled_from(["1.0", "1.0.0", "2.0"])),
    st.builds(PutAttachment, _stages, _projects, _attachments),
    st.builds(DropAttachment, _stages, _projects, st.sampled_from(ATTACHMENTS)),
)
hosted_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(PutFile, _stages, _projects, _files, st.sampled_from(["", "DEMO"])),
    st.builds(PutFile, _stages, _projects, _files),
    st.builds(DropFile, _stages, _projects, _filenames),
    st.builds(YankFile, _stages, _projects, _filenames, _yanks),
    st.builds(PutProject, _stages, _projects, _heads),
    st.builds(DropProject, _stages, _projects),
)
_stamps = st.integers(0, 8).map(Serial)
_names = st.sampled_from(["", "one", "two"])
_listed = st.tuples(_projects, st.sampled_from(["", "Demo", "demo"]))
mirrored_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        MirrorPage,
        _mirrors,
        _projects,
        _heads,
        st.lists(_mirrored_files, max_size=4).map(tuple),
        st.lists(_filenames, max_size=3).map(tuple),
        st.sampled_from(["whole", "whole", "first", "middle", "last"]),
    ),
    st.builds(MirrorPage, _mirrors, st.just(PROJECTS[0]), _heads, kept=_kept),
    st.builds(MirrorPage, _mirrors, st.just(PROJECTS[0]), _heads, kept=_kept, stamp=_stamps, content=_names),
    st.builds(MirrorPage, _mirrors, _projects, _heads),
    st.builds(
        MirrorPage,
        _mirrors,
        _projects,
        _heads,
        st.lists(_mirrored_files, max_size=2).map(tuple),
        stamp=_stamps,
        content=_names,
    ),
    st.builds(DropMirrorPage, _mirrors, _projects),
    st.builds(
        MirrorNames,
        _mirrors,
        st.lists(_listed, max_size=3).map(tuple),
        st.lists(_projects, max_size=2).map(tuple),
        st.dictionaries(st.just("etag"), st.sampled_from(["1", "2"])),
    ),
)
changes: st.SearchStrategy[Change] = hosted_changes | release_changes | mirrored_changes | rare_changes
requirements: st.SearchStrategy[Requirement] = st.one_of(
    st.builds(FileAbsent, _indexes, _filenames),
    st.builds(AttachmentAbsent, _indexes, _projects, st.sampled_from(ATTACHMENTS)),
    st.builds(ProjectAt, _indexes, _projects, _stamps, st.none() | _names),
    st.builds(UserAbsent, _users),
    st.builds(IndexAbsent, _indexes),
    st.builds(IndexPresent, _indexes),
)


class IndexMachine(RuleBasedStateMachine):
    """Subclass, and implement `open_store`. Its `TestCase` is the test."""

    survives_reopening: ClassVar[bool] = True
    """As in the suite. The store is then closed and opened again in between."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._directory = tempfile.TemporaryDirectory()
        self._workers = ThreadPoolExecutor(1)
        self._clock = ManualClock()
        data = Path(self._directory.name)
        self._context = Context(data=data, clock=self._clock, workers=self._workers)
        self._model = MemoryIndex(self._clock)
        self._store = self._run(self.open_store(self._context))

    async def open_store(self, context: Context) -> IndexStore:
        """Open or reopen a store on the medium of this run, which has `context.data` for itself."""
        raise NotImplementedError

    @initialize(type_=st.sampled_from(["mirror", "mirror", "stage"]), history=histories)
    def begin(self, type_: str, history: int) -> None:
        config = index_config(INDEXES[2], type=type_, mirror_history=history)
        self._apply_both(
            [
                *(PutUser(user(name)) for name in USERS),
                *(PutIndex(IndexConfig(name=name)) for name in INDEXES[:2]),
                PutIndex(config),
                *(PutFile(INDEXES[0], PROJECTS[0], hosted(name)) for name in FILENAMES[:2]),
                PutFile(INDEXES[0], PROJECTS[2], hosted(FILENAMES[4])),
            ],
            [],
        )
        if config.mirrored:
            files = tuple(hosted(name) for name in FILENAMES[::2])
            self._apply_both([MirrorPage(INDEXES[2], PROJECTS[0], PageHead(), put=files)], [])

    @rule(changes=st.lists(changes, min_size=1, max_size=4), require=st.lists(requirements, max_size=1))
    def apply(self, changes: list[Change], require: list[Requirement]) -> None:
        self._apply_both(changes, require)

    @rule(several=st.lists(hosted_changes | release_changes | mirrored_changes, min_size=3, max_size=12))
    def apply_one_by_one(self, several: list[Change]) -> None:
        for change in several:
            self._apply_both([change], [])

    @rule(data=st.data(), kind=st.sampled_from([DropFile, YankFile, PutFile, DropProject]), before=st.none() | changes)
    def change_what_is_there(self, data: st.DataObject, kind: type[Change], before: Change | None) -> None:
        """Changes with random names would mostly miss the stored files."""
        there = sorted(
            (name, holder, filename)
            for name, index in self._model.now.indexes.items()
            for filename, holder in index.holders.items()
        )
        if not there:
            return
        index, project, filename = data.draw(st.sampled_from(there))
        change: Change
        if kind is DropFile:
            change = DropFile(index, project, filename)
        elif kind is YankFile:
            change = YankFile(index, project, filename, data.draw(_yanks))
        elif kind is PutFile:
            change = PutFile(index, project, hosted(filename, data.draw(_contents)))
        else:
            change = DropProject(index, project)
        self._apply_both([change] if before is None else [before, change], [])

    @rule(lists=st.lists(st.lists(changes, min_size=1, max_size=2), min_size=2, max_size=5))
    def apply_at_once(self, lists: list[list[Change]]) -> None:
        """The store may commit in any order, so the model replays its log."""
        before = self._run(self._model.head())
        outcomes = self._run(self._at_once(lists))
        for commit in self._run(self._store.commits(before)):
            assert commit in outcomes
            assert self._run(self._model.apply(commit.changes, who=commit.who)) == commit
        assert self._run(self._model.head()) == before + sum(isinstance(outcome, Commit) for outcome in outcomes)

    @rule(several=st.lists(changes, min_size=1, max_size=3))
    def replay(self, several: list[Change]) -> None:
        """The store replays what the model has committed, and refuses what the model has refused."""
        outcome = self._run(_outcome(self._model, several, ()))
        if isinstance(outcome, Commit):
            self._run(self._store.replay([outcome]))
        else:
            assert self._run(_outcome(self._store, several, ())) == outcome

    @rule(seconds=st.integers(-10, 100))
    def time_passes(self, seconds: int) -> None:
        self._clock.advance(seconds)

    @precondition(lambda self: self.survives_reopening)
    @rule()
    def reopen(self) -> None:
        self._run(self._store.close())
        self._store = self._run(self.open_store(self._context))

    @rule(back=st.integers(0, 12))
    def compare_the_past(self, back: int) -> None:
        at = Serial(self._run(self._model.head()) - back)
        assert self._run(_past(self._store, at)) == self._run(_past(self._model, at))
        assert self._run(_since(self._store, at)) == self._run(_since(self._model, at))

    @rule()
    def compare_the_present(self) -> None:
        assert self._run(_past(self._store, None)) == self._run(_past(self._model, None))
        assert self._run(_present(self._store)) == self._run(_present(self._model))

    @rule(back=st.integers(0, 12))
    def compare_what_was_touched(self, back: int) -> None:
        """A store may answer `EVERYTHING`."""
        after = Serial(self._run(self._model.head()) - back)
        touched = self._run(self._store.touched(after))
        assert touched == EVERYTHING or touched == self._run(self._model.touched(after))

    @invariant()
    def heads_agree(self) -> None:
        assert self._run(self._store.head()) == self._run(self._model.head()) == self._store.seen()

    def teardown(self) -> None:
        try:
            self.compare_the_present()
            for at in range(self._run(self._model.head()) + 2):
                assert self._run(_past(self._store, Serial(at))) == self._run(_past(self._model, Serial(at))), at
                assert self._run(_since(self._store, Serial(at))) == self._run(_since(self._model, Serial(at))), at
            assert list(self._run(self._store.check())) == []
        finally:
            self._run(self._store.close())
            self._runner.close()
            self._workers.shutdown()
            self._directory.cleanup()

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._runner.run(work)

    def _apply_both(self, changes: Sequence[Change], require: Sequence[Requirement]) -> None:
        outcomes = [self._run(_outcome(store, changes, require)) for store in (self._model, self._store)]
        assert outcomes[0] == outcomes[1]

    async def _at_once(self, lists: list[list[Change]]) -> list[Any]:
        tasks = [self._store.apply(each, who=f"writer {number}") for number, each in enumerate(lists)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, PkgIndexError):
                raise outcome
        return outcomes


async def _outcome(store: IndexStore, changes: Sequence[Change], require: Sequence[Requirement]) -> object:
    """The commit, or the kind of the refusal."""
    try:
        return await store.apply(changes, who="machine", require=require)
    except RequirementFailed as error:
        return RequirementFailed, error.requirement
    except Missing as error:
        return Missing, error.what, error.name
    except PkgIndexError as error:
        return type(error), str(error)


async def _past(store: IndexStore, at: Serial | None) -> dict[object, object]:
    """Everything that can be read as of a serial."""
    found: dict[object, object] = {
        "tree": await store.tree(at=at),
        "users": list(await store.users(at=at)),
    }
    for name in USERS:
        found[name] = await store.user(name, at=at)
    for index in INDEXES:
        found[index] = list(await store.projects(index, at=at))
        for filename in FILENAMES:
            found[index, filename] = await store.find_file(index, filename, candidate_projects(filename), at=at)
        for attachment in ATTACHMENTS:
            found[index, attachment] = await store.find_attachment(index, attachment, at=at)
    for project in PROJECTS:
        found[project] = await store.standings(project, INDEXES, at=at)
        for index in INDEXES:
            page = await store.page(index, project, at=at)
            found[index, project] = page and (page.index, page.project, page.stamp, page.head, frozenset(page.rows))
            found[index, project, "releases"] = frozenset(await store.releases(index, project, at=at))
            found[index, project, "released"] = set(await store.released(index, project, at=at))
            found[index, project, "release"] = await store.release(index, project, "1", at=at)
            found[index, project, "attachments"] = list(await store.attachments(index, project, at=at))
            for filename in FILENAMES:
                found[index, project, filename] = await store.file(index, project, filename, at=at)
    return found


async def _since(store: IndexStore, since: Serial) -> dict[object, object]:
    """The changes of all pages since a serial."""
    found: dict[object, object] = {}
    for index in INDEXES:
        for project in PROJECTS:
            each = await store.page_since(index, project, since)
            found[index, project] = each and (each.page.stamp, each.page.head, {*each.page.rows}, {*each.gone})
    return found


async def _present(store: IndexStore) -> dict[object, object]:
    """Everything that has no past, and the log."""
    commits = list(await store.commits(Serial(0)))
    moments = {Timestamp(commit.at + offset) for commit in commits for offset in (-1, 0, 1)}
    found: dict[object, object] = {
        "commits": commits,
        "serials": {moment: await store.serial_at(moment) for moment in moments},
        "blobs": {digest async for batch in store.blobs_in_use() for digest in batch},
        "tokens": [await store.token(token_id) for token_id in TOKENS],
    }
    for name in USERS:
        found[name] = list(await store.tokens(name))
    for index in INDEXES:
        found[index] = await store.listing(index), await store.project_count(index), await store.stored_bytes(index)
        found[index, "names"] = [row async for rows in store.listed_names(index) for row in rows]
        for filename in FILENAMES:
            found[index, filename] = await store.taken(index, filename)
            found[index, filename, "former"] = set(await store.former(index, filename))
    return found
