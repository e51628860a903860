"""A plan means what the plain restatement says, whatever happened before, and is made of no more than what its list names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pkgindex_core.changes import (
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropProject,
    DropUser,
    FileAbsent,
    IndexIs,
    MirrorNames,
    MirrorPage,
    NoteIs,
    PutAttachment,
    PutFile,
    PutIndex,
    PutUser,
    Requirement,
    UserIs,
    YankFile,
)
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.state import IndexState, StoredProject, StoreState, facts, written
from pkgindex_core.errors import Conflict, Missing, PkgIndexError, RequirementFailed
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import IndexConfig, PageHead, Serial, Token, decode_file
from pkgindex_core.names import IndexName
from pkgindex_core.rules.planning import (
    Effects,
    Emptied,
    Facts,
    PageEdit,
    StandingRow,
    StoredFile,
    named_keys,
    plan,
)
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    hosted,
    mirror,
    stage,
    tox_result,
    user,
)
from pkgindex_core.testing.index_machine import (
    ATTACHMENTS,
    FILENAMES,
    INDEXES,
    PROJECTS,
    USERS,
    changes,
    histories,
    hosted_changes,
    mirrored_changes,
    release_changes,
    requirements,
)
from tests.core.rules.plain_store import Index, PlainStore

_guards: st.SearchStrategy[Requirement] = (
    requirements
    | st.builds(UserIs, st.builds(user, st.sampled_from(USERS), email=st.sampled_from(["", "a@example.org"])))
    | st.builds(IndexIs, st.builds(IndexConfig, name=st.sampled_from(INDEXES)))
    | st.builds(NoteIs, st.just("kind"), st.just("key"), st.sampled_from([0, 1]))
)
_lists = st.lists(hosted_changes | release_changes | mirrored_changes, min_size=1, max_size=5) | st.lists(
    changes, min_size=1, max_size=3
)


def _placed(change: Any, index: IndexName) -> Change:
    """A change as one of the same index and project as others, so that it fits more often."""
    place = {"index": index} | ({"project": PROJECTS[0]} if hasattr(change, "project") else {})
    changed: Change = msgspec.structs.replace(change, **place)
    return changed


def _inside(index: IndexName, *, mirrored: bool) -> st.SearchStrategy[Change]:
    return (mirrored_changes if mirrored else hosted_changes | release_changes).map(partial(_placed, index=index))


@st.composite
def _ended(draw: st.DrawFn) -> list[Change]:
    """An index that is dropped in the middle of a list, and perhaps made again, perhaps as another type."""
    index = draw(st.sampled_from(INDEXES))
    before = draw(st.lists(_inside(index, mirrored=index == INDEXES[2]), max_size=2))
    again = index_config(index, type=draw(st.sampled_from(["stage", "mirror"])), mirror_history=draw(histories))
    after = st.lists(_inside(index, mirrored=again.mirrored), max_size=2)
    return [*before, DropIndex(index), *draw(st.just([]) | after.map(lambda several: [PutIndex(again), *several]))]


@st.composite
def _tested(draw: st.DrawFn) -> list[Change]:
    """Changes of one project, drawn so that most of them fit: blind ones mostly miss."""
    filename = draw(st.sampled_from(FILENAMES[:2]))
    result = tox_result(draw(st.sampled_from(ATTACHMENTS[:2])), filename)
    change = st.sampled_from(
        [
            PutFile(INDEXES[0], PROJECTS[0], hosted(filename, "one")),
            PutFile(INDEXES[0], PROJECTS[0], hosted(filename, "two")),
            DropFile(INDEXES[0], PROJECTS[0], filename),
            DropFile(INDEXES[0], PROJECTS[0], filename),
            YankFile(INDEXES[0], PROJECTS[0], filename, "why"),
            PutAttachment(INDEXES[0], PROJECTS[0], result),
            PutAttachment(INDEXES[0], PROJECTS[0], result),
            DropAttachment(INDEXES[0], PROJECTS[0], result.filename),
            DropProject(INDEXES[0], PROJECTS[0]),
        ]
    )
    return draw(st.lists(change, min_size=1, max_size=3))


_pages = st.lists(_inside(INDEXES[2], mirrored=True), min_size=1, max_size=3)
_commits = st.tuples(_lists | _ended() | _tested() | _pages, st.just([]) | st.lists(_guards, max_size=1))
"""Lists that are made of the names of the state machine, which are few, so that they collide."""


def ended(state: StoreState, config: IndexConfig) -> Serial:
    """By when a past has ended that is too old for the next commit, in a store that has one each second."""
    return Serial(max(0, state.serial - max(0, config.options.get("mirror_history", 0) - 1)))


def after(state: StoreState, listed: Sequence[Change], require: Sequence[Requirement]) -> StoreState:
    """What facts, a plan and its effects make of a list. The facts hold what the list names and nothing else."""
    serial = Serial(state.serial + 1)
    effects = plan(listed, require, facts(state, named_keys(listed, require), partial(ended, state), {}), serial)
    if isinstance(effects, RequirementFailed):
        raise effects
    return written(state, effects, serial)


def outcome(make: Any, listed: Sequence[Change], require: Sequence[Requirement]) -> tuple[Any, object]:
    """What became of a list, and what its caller is told."""
    try:
        return make(listed, require), None
    except Missing as error:
        return None, (Missing, error.what, error.name)
    except PkgIndexError as error:
        return None, (type(error), str(error))


def of_state(state: StoreState) -> dict[str, object]:
    indexes = {}
    for name, index in state.indexes.items():
        if index == IndexState():
            continue
        projects = {
            project: (
                it.standing.stamp,
                it.standing.since if it.mirrored else None,
                it.holds,
                it.standing.head,
                it.standing.content,
                {filename: decode_file(row.body) for filename, row in it.rows.items()},
                it.standing.file_count,
                it.kept.kept if it.kept is not None else None,
                it.standing.kept,
                it.releases,
                it.attachments,
            )
            for project, it in index.projects.items()
        }
        graves = {filename: (it.project, it.sha256) for filename, it in index.tombstones.items()}
        listing = (index.names, index.listing.stamp, index.listing.count, index.listing.validators)
        indexes[name] = (index.config, projects, graves, listing)
    return {"tree": state.tree_serial, "users": state.users, "tokens": state.tokens, "indexes": indexes}


def of_plain(store: PlainStore) -> dict[str, object]:
    indexes = {}
    for name, index in store.indexes.items():
        if index == Index():
            continue  # nothing was ever in it
        projects = {
            project: (
                it.stamp,
                it.since if it.mirrored else None,
                it.holds,
                it.head,
                it.content,
                it.files,
                len(it.files),
                it.kept.kept if it.kept is not None else None,
                it.kept is not None,
                it.releases,
                it.attachments,
            )
            for project, it in index.projects.items()
        }
        listing = (index.names, index.listed, len(index.names), index.validators)
        indexes[name] = (index.config, projects, index.tombstones, listing)
    return {"tree": store.tree, "users": store.users, "tokens": store.tokens, "indexes": indexes}


def _was(found: Any) -> tuple[object, ...]:
    """What a past says, in a state or in a plain store."""
    if isinstance(found, StoredProject):
        row, files = found.standing, {name: decode_file(each.body) for name, each in found.rows.items()}
        return row.stamp, row.holds, row.head, row.content, row.file_count, files
    return found.stamp, found.holds, found.head, found.content, len(found.files), found.files


def pasts(indexes: Any) -> dict[tuple[str, str], list[tuple[int, object]]]:
    return {
        (name, project): [(died, _was(was)) for died, was in it.past]
        for name, index in indexes.items()
        for project, it in index.projects.items()
        if it.past
    }


_FIRST_PART = MirrorPage(INDEXES[2], PROJECTS[0], PageHead(), put=(hosted(FILENAMES[0]),), part="first")
_WITHOUT_FILES = MirrorPage(INDEXES[2], PROJECTS[0], PageHead(), drop=(FILENAMES[0],), part="middle")


@example("mirror", 0, [([_FIRST_PART], []), ([_WITHOUT_FILES, DropIndex(INDEXES[2])], [])])
@given(
    st.sampled_from(["mirror", "mirror", "stage"]),
    st.sampled_from([0, 1, 3, 10**6]),
    st.lists(_commits, min_size=4, max_size=16),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_plan_means_what_the_changes_mean_one_by_one(type_: str, history: int, commits: list[Any]) -> None:
    mirror = index_config(INDEXES[2], type=type_, mirror_history=history)
    configs = [IndexConfig(name=INDEXES[0]), IndexConfig(name=INDEXES[1]), mirror]
    files = [PutFile(INDEXES[0], PROJECTS[0], hosted(name)) for name in FILENAMES[:3]]
    begin = ([*(PutUser(user(name)) for name in USERS), *map(PutIndex, configs), *files], [])
    state, store = StoreState(), PlainStore()
    needed: dict[str, int] = {}
    """By index the commit behind which every end of a past was in the retention all the time."""
    for listed, require in [begin, *commits]:
        for index in state.indexes.values():
            if index.config is not None and index.config.mirrored:
                name = index.config.name
                needed[name] = max(ended(state, index.config), needed.get(name, 0))
        planned, told = outcome(lambda *it, state=state: after(state, *it), listed, require)
        plain, plainly_told = outcome(store.after, listed, require)
        assert told == plainly_told
        state, store = planned or state, plain or store
        assert of_state(state) == of_plain(store)
        kept, all_of_it = pasts(state.indexes), pasts(store.indexes)
        for key in kept.keys() | all_of_it.keys():
            whole, left = all_of_it.get(key, []), kept.get(key, [])
            assert left == whole[len(whole) - len(left) :]
            assert len(left) >= sum(died > needed.get(key[0], 0) for died, _ in whole)


def planned(facts: Facts, *changes: Change, require: Sequence[Requirement] = ()) -> Effects | RequirementFailed:
    return plan(changes, require, facts, Serial(9))


def no_page(key: object) -> KeptRows:
    raise AssertionError(f"the page of {key} is not needed")


HELD = StandingRow(since=Serial(3), stamp=Serial(3), mirrored=False, holds=True)
PAGE = StandingRow(since=Serial(3), stamp=Serial(3), mirrored=True, holds=True, file_count=3, kept=True)
STAGE = Facts(configs={DEV: stage(DEV)}, standings={(DEV, DEMO): HELD}, kept_page=no_page)
MIRRORED = Facts(configs={MIRROR: mirror(MIRROR)}, standings={(MIRROR, DEMO): PAGE}, kept_page=no_page)
FILE = hosted("demo-1.0.tar.gz")


def test_a_file_that_comes_and_goes_in_one_list_leaves_its_name_only() -> None:
    effects = planned(STAGE, PutFile(DEV, DEMO, FILE), DropFile(DEV, DEMO, FILE.filename))
    assert isinstance(effects, Effects)
    assert effects.files == {(DEV, FILE.filename): None}
    assert effects.tombstones.keys() == effects.files.keys()
    assert effects.counts == {}


def test_what_a_list_does_not_name_is_emptied_unseen() -> None:
    effects = planned(STAGE, PutFile(DEV, DEMO, FILE), DropProject(DEV, DEMO), DropIndex(DEV))
    assert isinstance(effects, Effects)
    assert effects.emptied == [Emptied(DEV, DEMO), Emptied(DEV)]
    assert effects.files == effects.tombstones == {(DEV, FILE.filename): None}
    assert effects.configs == {DEV: None}
    assert effects.tree_changed


def test_a_precondition_that_fails_is_an_answer_and_the_changes_are_not_looked_at() -> None:
    taken = msgspec.structs.replace(STAGE, files={(DEV, FILE.filename): StoredFile(DEMO, FILE)})
    answer = planned(taken, DropFile(DEV, DEMO, "nowhere.zip"), require=[FileAbsent(DEV, FILE.filename)])
    assert isinstance(answer, RequirementFailed)
    assert answer.requirement == FileAbsent(DEV, FILE.filename)


@pytest.mark.parametrize(
    "change",
    [
        MirrorPage(MIRROR, DEMO, PageHead()),
        MirrorPage(MIRROR, DEMO, PageHead(), kept=keep(DEMO, [FILE]).kept),
    ],
)
def test_a_page_that_is_not_edited_is_not_read(change: MirrorPage) -> None:
    assert isinstance(planned(MIRRORED, change), Effects)


def test_several_edits_of_a_long_page_are_one() -> None:
    long = msgspec.structs.replace(MIRRORED, standings={(MIRROR, DEMO): msgspec.structs.replace(PAGE, kept=False)})
    other = hosted("demo-2.0.tar.gz")
    first = MirrorPage(MIRROR, DEMO, PageHead(), put=(FILE, other), drop=("gone.zip",))
    effects = planned(long, first, MirrorPage(MIRROR, DEMO, PageHead(), drop=(FILE.filename,)))
    assert isinstance(effects, Effects)
    assert effects.pages == {(MIRROR, DEMO): PageEdit(put={other.filename: other}, drop={"gone.zip", FILE.filename})}
    assert effects.standings[MIRROR, DEMO].file_count == 3


def test_a_user_goes_with_its_tokens_when_its_indexes_go_in_the_same_list() -> None:
    tokens = {name: Token(id=name, user=name, secret_sha256=sha256_of(b"secret")) for name in ("ann", "bob")}
    owned = msgspec.structs.replace(STAGE, users={"ann": user("ann")}, tokens=tokens, owned=[DEV])
    effects = planned(owned, DropIndex(DEV), DropUser("ann"))
    assert isinstance(effects, Effects)
    assert effects.users == effects.tokens == {"ann": None}
    with pytest.raises(Conflict, match="still owns"):
        planned(owned, DropIndex(DEV), PutIndex(stage(DEV)), DropUser("ann"))


def test_a_list_of_names_begins_anew_in_an_index_that_was_made_again() -> None:
    listed = msgspec.structs.replace(MIRRORED, users={"root": user("root")}, listings={MIRROR: Serial(4)})
    again = planned(listed, DropIndex(MIRROR), PutIndex(mirror(MIRROR)), MirrorNames(MIRROR))
    same = planned(listed, MirrorNames(MIRROR))
    assert isinstance(again, Effects)
    assert isinstance(same, Effects)
    assert (again.names[MIRROR].stamp, same.names[MIRROR].stamp) == (9, 4)
