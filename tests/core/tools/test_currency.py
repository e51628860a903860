"""Laws of currency: what was touched never holds, what was not does, and little is void when something else changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from pkgindex_core.changes import (
    Change,
    Commit,
    DropIndex,
    MirrorNames,
    MirrorPage,
    PutAttachment,
    PutFile,
    PutIndex,
    PutToken,
    PutUser,
)
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import Serial, Token
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import EVERYTHING, Everything, Touched
from pkgindex_core.rules.touching import together
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    OTHER,
    PROD,
    ManualClock,
    docs,
    head,
    hosted,
    mirror,
    mirrored,
    stage,
    user,
)
from pkgindex_core.tools.currency import Currency, Moment

INDEXES = (DEV, PROD, MIRROR)
KEYS = tuple((index, project) for index in INDEXES for project in (DEMO, OTHER))


class FakeLog:
    """Commits of which nothing is known but what they touched; None is one of which not even that is known."""

    lag = 0.0

    def __init__(self) -> None:
        self.commits_made: list[Touched | None] = []
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def seen(self) -> Serial:
        return Serial(len(self.commits_made))

    async def touched(self, after: Serial) -> Touched | Everything:
        self.asked += 1
        upto, news = self.seen(), self.commits_made[after:]
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        known = [each for each in news if each is not None]
        return together(known, upto) if len(known) == len(news) else EVERYTHING

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        raise NotImplementedError

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        raise NotImplementedError


def touching(
    *keys: tuple[IndexName, ProjectName], tree: bool = False, identities: bool = False, **sets: frozenset[IndexName]
) -> Touched:
    return Touched(upto=Serial(0), tree=tree, identities=identities, projects=frozenset(keys), **sets)


class Question(Struct, frozen=True):
    tree: bool = False
    identities: bool = False
    keys: tuple[tuple[IndexName, ProjectName], ...] = ()
    indexes: tuple[IndexName, ...] = ()

    def is_about(self, touched: Touched | None) -> bool:
        """Whether something of this was touched: the plain model."""
        if touched is None:
            return self != Question()
        return bool(
            (self.tree and touched.tree)
            or (self.identities and touched.identities)
            or touched.projects & set(self.keys)
            or touched.indexes & {index for index, _ in self.keys}
            or (touched.indexes | touched.names) & set(self.indexes)
            or {index for index, _ in touched.projects} & set(self.indexes)
        )


SINGLE = (
    Question(tree=True),
    Question(identities=True),
    *(Question(keys=(key,)) for key in KEYS),
    *(Question(indexes=(index,)) for index in INDEXES),
)
_some_indexes = st.frozensets(st.sampled_from(INDEXES), max_size=2)
_questions = st.builds(
    Question,
    tree=st.booleans(),
    identities=st.booleans(),
    keys=st.lists(st.sampled_from(KEYS), max_size=3).map(tuple),
    indexes=_some_indexes.map(tuple),
)
_touches = st.one_of(
    st.builds(touching, st.sampled_from(KEYS)),
    st.builds(lambda index: touching(names=frozenset({index})), st.sampled_from(INDEXES)),
    st.builds(lambda index: touching(indexes=frozenset({index})), st.sampled_from(INDEXES)),
    st.builds(lambda tree: touching(tree=tree, identities=not tree), st.booleans()),
    st.builds(
        Touched,
        upto=st.just(Serial(0)),
        tree=st.booleans(),
        identities=st.booleans(),
        projects=st.frozensets(st.sampled_from(KEYS), max_size=3),
        indexes=_some_indexes,
        names=_some_indexes,
    ),
)
_steps = st.lists(
    st.one_of(st.sampled_from(["catch up", "take"]), st.none(), _touches, st.sampled_from(KEYS)), max_size=30
)


@settings(max_examples=400)
@given(steps=_steps, several=_questions, remembered=st.integers(1, 8))
def test_what_was_touched_never_holds(steps: list[object], several: Question, remembered: int) -> None:
    for moment, since, _, currency in asyncio.run(_live(steps, remembered)):
        for question in (*SINGLE, several):
            if any(question.is_about(each) for each in since):
                assert not _holds(currency, moment, question), question


@settings(max_examples=400)
@given(steps=_steps, several=_questions)
def test_what_was_not_touched_holds(steps: list[object], several: Question) -> None:
    for moment, since, was_current, currency in asyncio.run(_live(steps, 1000)):
        for question in (*SINGLE, several):
            if was_current and not any(question.is_about(each) for each in since):
                assert _holds(currency, moment, question), question


async def _live(steps: list[object], remembered: int) -> list[tuple[Moment, list[Touched | None], bool, Currency]]:
    """Every moment that was taken, with all that was touched since, and whether everything before it had been heard."""
    log = FakeLog()
    currency = Currency(log, remembered=remembered)
    history: list[Touched | None] = []
    taken: list[tuple[Moment, int, bool]] = []
    heard = True
    for step in steps:
        if step == "take":
            taken.append((currency.moment(), len(history), heard))
        elif step == "catch up":
            await currency.catch_up()
            heard = True
        elif isinstance(step, tuple):
            currency.touch(*step)
            history.append(touching(step))
        else:
            assert step is None or isinstance(step, Touched)
            log.commits_made.append(step)
            history.append(step)
            heard = False
    await currency.catch_up()
    return [(moment, history[before:], was_current, currency) for moment, before, was_current in taken]


def _holds(currency: Currency, moment: Moment, question: Question) -> bool:
    return currency.holds(
        moment,
        tree=question.tree,
        identities=question.identities,
        keys=question.keys,
        indexes=question.indexes,
    )


async def test_what_was_forgotten_counts_as_touched() -> None:
    log = FakeLog()
    currency = Currency(log, remembered=3)
    moment = currency.moment()
    for number in range(3):
        currency.touch(DEV, ProjectName(f"p{number}"))
    assert currency.holds(moment, keys=[(DEV, DEMO)])
    currency.touch(DEV, ProjectName("p3"))
    assert not currency.holds(moment, keys=[(DEV, DEMO)])
    assert currency.holds(currency.moment(), keys=[(DEV, ProjectName("p0"))])
    assert currency.holds(moment), "the tree was not touched"


async def test_what_was_touched_longest_ago_is_forgotten_first() -> None:
    currency = Currency(FakeLog(), remembered=2)
    currency.touch(DEV, DEMO)
    currency.touch(DEV, OTHER)
    moment = currency.moment()
    currency.touch(DEV, DEMO)
    currency.touch(PROD, DEMO)  # forgets the other project, which was touched before that moment
    assert currency.holds(moment, keys=[(DEV, OTHER), (PROD, OTHER)])
    assert not currency.holds(moment, keys=[(DEV, DEMO)])


async def test_without_news_the_store_is_not_asked() -> None:
    log = FakeLog()
    currency = Currency(log)
    for _ in range(3):
        await currency.catch_up()
    log.commits_made.append(touching(KEYS[0]))
    for _ in range(3):
        await currency.catch_up()
    assert log.asked == 1


async def test_all_who_catch_up_at_once_share_one_question() -> None:
    log = FakeLog()
    currency = Currency(log)
    moment = currency.moment()
    log.commits_made.append(touching((DEV, DEMO)))
    log.gate.clear()
    waiting = [asyncio.create_task(currency.catch_up()) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    log.gate.set()
    await asyncio.gather(*waiting[1:])
    assert log.asked == 1
    assert not currency.holds(moment, keys=[(DEV, DEMO)])


async def test_a_commit_during_a_question_is_heard_by_whoever_asks_after_it() -> None:
    log = FakeLog()
    currency = Currency(log)
    log.commits_made.append(touching((DEV, DEMO)))
    log.gate.clear()
    first = asyncio.create_task(currency.catch_up())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log.asked == 1
    moment = currency.moment()
    log.commits_made.append(touching((DEV, OTHER)))
    second = asyncio.create_task(currency.catch_up())
    await asyncio.sleep(0)
    log.gate.set()
    await first
    await second
    assert log.asked == 2
    assert not currency.holds(moment, keys=[(DEV, OTHER)])
    assert currency.holds(moment, keys=[(PROD, OTHER)])


async def test_a_store_that_cannot_be_asked_is_unknown_and_nothing_is_lost() -> None:
    log = FakeLog()
    currency = Currency(log)
    moment = currency.moment()
    log.commits_made.append(touching((DEV, DEMO)))
    log.error = Unavailable("the store is away")
    with pytest.raises(Unavailable):
        await currency.catch_up()
    log.error = None
    await currency.catch_up()
    assert not currency.holds(moment, keys=[(DEV, DEMO)])


class Warm:
    """Fifty decisions about fifty projects, each reached from the tree and from three layers."""

    def __init__(self, store: MemoryIndex) -> None:
        self.store = store
        self.currency = Currency(store)
        self.moment = self.currency.moment()
        self.names = [DEMO, *(ProjectName(f"p{number}") for number in range(49))]

    async def void_after(self, *changes: Change) -> set[ProjectName]:
        """The projects whose decisions do not hold after a commit."""
        await self.store.apply(changes, who="[test]")
        await self.currency.catch_up()
        return {
            name
            for name in self.names
            if not self.currency.holds(self.moment, keys=[(index, name) for index in INDEXES])
        }


@pytest.fixture
async def warm() -> AsyncIterator[Warm]:
    store = MemoryIndex(ManualClock())
    begin: list[Change] = [
        PutUser(user("ann")),
        PutUser(user("root")),
        PutIndex(stage(DEV)),
        PutIndex(stage(PROD)),
        PutIndex(mirror(MIRROR)),
        PutFile(DEV, DEMO, hosted("demo-1.zip")),
    ]
    await store.apply(begin, who="[test]")
    yield Warm(store)
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        PutUser(user("bob")),
        PutToken(Token(id="t", user="ann", secret_sha256=sha256_of(b"t"))),
        MirrorNames(MIRROR, put=((DEMO, "Demo"),)),
        PutFile(DEV, ProjectName("unrelated"), hosted("unrelated-1.zip")),
        MirrorPage(MIRROR, ProjectName("unrelated"), head(), put=(mirrored("unrelated-1.zip"),)),
    ],
    ids=lambda change: type(change).__name__,
)
async def test_a_commit_about_something_else_voids_none_of_fifty(warm: Warm, change: Change) -> None:
    assert await warm.void_after(change) == set()


@pytest.mark.parametrize(
    "change",
    [
        MirrorPage(MIRROR, DEMO, head(), put=(mirrored("demo-1.zip"),)),  # what learning a digest is, too
        PutFile(PROD, DEMO, hosted("demo-2.zip")),
        PutAttachment(DEV, DEMO, docs("1.0")),
    ],
    ids=lambda change: type(change).__name__,
)
async def test_a_commit_about_a_project_voids_its_own_of_fifty(warm: Warm, change: Change) -> None:
    assert await warm.void_after(change) == {DEMO}


@pytest.mark.parametrize("change", [PutIndex(stage(DEV, title="new")), DropIndex(PROD)], ids=["PutIndex", "DropIndex"])
async def test_a_commit_about_the_indexes_voids_all_fifty(warm: Warm, change: Change) -> None:
    assert await warm.void_after(change) == set(warm.names)


async def test_a_commit_that_was_shown_before_ends_nothing() -> None:
    log = FakeLog()
    currency = Currency(log)
    moment = currency.moment()
    log.commits_made.append(Touched(upto=Serial(1), projects=frozenset({(MIRROR, DEMO)})))
    currency.shown_before(Serial(1))
    await currency.catch_up()
    assert currency.known() == 1
    assert currency.holds(moment, keys=[(MIRROR, DEMO)], indexes=[MIRROR])
    log.commits_made.append(Touched(upto=Serial(2), projects=frozenset({(MIRROR, DEMO)})))
    await currency.catch_up()
    assert not currency.holds(moment, keys=[(MIRROR, DEMO)])


@pytest.mark.parametrize("unknown", [False, True], ids=["known", "unknown"])
async def test_another_commit_beside_one_that_was_shown_before_ends_what_it_touches(*, unknown: bool) -> None:
    log = FakeLog()
    currency = Currency(log)
    moment = currency.moment()
    log.commits_made.append(Touched(upto=Serial(1), projects=frozenset({(MIRROR, DEMO)})))
    log.commits_made.append(None if unknown else Touched(upto=Serial(2), projects=frozenset({(MIRROR, DEMO)})))
    currency.shown_before(Serial(1))
    await currency.catch_up()
    assert not currency.holds(moment, keys=[(MIRROR, DEMO)])


async def test_a_commit_that_was_heard_of_is_not_shown_before_any_more() -> None:
    log = FakeLog()
    currency = Currency(log)
    moment = currency.moment()
    log.commits_made.append(Touched(upto=Serial(1), projects=frozenset({(MIRROR, DEMO)})))
    await currency.catch_up()
    currency.shown_before(Serial(1))
    await currency.catch_up()
    assert not currency.holds(moment, keys=[(MIRROR, DEMO)])
