"""devpi's mirror_whitelist: the closed form against the loop that it restates; and what the first mirror takes from it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Freshness, Principal
from pkgindex_core.protocols.policies import Verdict
from pkgindex_core.rules.admission import AvailableMirrors, FirstMirror, MirrorWhitelist
from pkgindex_core.rules.explanation import explain
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.resolution import chain, resolve
from pkgindex_core.testing.configs import index_config, mirror_config

DEMO = ProjectName("demo")
HOSTED = [IndexName(f"h/{number}") for number in range(6)]
MIRRORS = [IndexName(f"m/{number}") for number in range(3)]
ABSENT = IndexName("gone/0")


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees with diamonds, cycles, missing bases and several mirrors, and every kind of whitelist."""
    bases = st.lists(st.sampled_from([*HOSTED, *MIRRORS, ABSENT]), max_size=4)
    whitelist = st.lists(st.sampled_from(["*", "demo", "other"]), max_size=2, unique=True)
    inheritance = st.sampled_from(["intersection", "union"])
    indexes = {
        name: index_config(
            name,
            bases=tuple(draw(bases)),
            mirror_whitelist=tuple(draw(whitelist)),
            mirror_whitelist_inheritance=draw(inheritance),
        )
        for name in HOSTED
    }
    indexes |= {name: mirror_config(name, mirror_whitelist=tuple(draw(whitelist))) for name in MIRRORS}
    return Tree(serial=Serial(1), indexes=indexes)


holdings = st.sets(st.sampled_from(HOSTED + MIRRORS))


def standings_of(order: Sequence[IndexName], holding: set[IndexName]) -> tuple[Standing, ...]:
    return tuple(Standing(index=name, stamp=Serial(1), holds=name in holding) for name in order)


def devpi_loop(tree: Tree, order: Sequence[IndexName], holding: set[IndexName], project: str) -> dict[IndexName, bool]:
    """The reference's pseudo-code, line by line: whether each stage is asked, rather than skipped."""
    whitelisted = None
    private_hit = False
    whitelist: set[str] | None = None
    mode = tree.indexes[order[0]].options.get("mirror_whitelist_inheritance", "intersection")
    asked = {}
    for stage in order:
        config = tree.indexes[stage]
        if config.type == "mirror":
            if private_hit and not whitelisted:
                asked[stage] = False
                continue
        else:
            own = set(config.options.get("mirror_whitelist", ()))
            if whitelist is None:
                whitelist = own
            elif mode == "intersection":
                whitelist = whitelist & own
            else:
                whitelist = whitelist | own
            if "*" in whitelist or project in whitelist:
                whitelisted = stage
            elif stage in holding:
                private_hit = True
        asked[stage] = True
    return asked


@settings(max_examples=500)
@given(tree=trees(), start=st.sampled_from(HOSTED + MIRRORS), holding=holdings)
def test_the_closed_form_equals_the_loop(tree: Tree, start: IndexName, holding: set[IndexName]) -> None:
    order = lineage(tree, start).order
    verdicts = MirrorWhitelist().admit(tree, order, standings_of(order, holding), DEMO)
    assert {verdict.index: verdict.joins for verdict in verdicts} == devpi_loop(tree, order, holding, DEMO)
    assert tuple(verdict.index for verdict in verdicts) == order
    for verdict in verdicts:
        assert verdict.reason.startswith("joins: " if verdict.joins else "left out: ")


@given(tree=trees(), start=st.sampled_from(HOSTED), holding=holdings, other=st.sets(st.sampled_from(MIRRORS)))
def test_what_mirrors_hold_decides_nothing(
    tree: Tree, start: IndexName, holding: set[IndexName], other: set[IndexName]
) -> None:
    order = lineage(tree, start).order
    policy = MirrorWhitelist()
    hosted = holding.intersection(HOSTED)
    assert policy.admit(tree, order, standings_of(order, hosted), DEMO) == policy.admit(
        tree, order, standings_of(order, hosted | other), DEMO
    )


DEV, BASE, PYPI = IndexName("team/dev"), IndexName("team/base"), IndexName("root/pypi")


def mirror_verdict(
    *holding: IndexName, dev: tuple[str, ...] = (), base: tuple[str, ...] = (), mode: str = "intersection"
) -> Verdict:
    """What becomes of root/pypi for `demo` in team/dev, which inherits from team/base."""
    tree = Tree(
        serial=Serial(1),
        indexes={
            DEV: index_config(DEV, bases=(BASE, PYPI), mirror_whitelist=dev, mirror_whitelist_inheritance=mode),
            BASE: index_config(BASE, mirror_whitelist=base, mirror_whitelist_inheritance="union"),
            PYPI: mirror_config(PYPI),
        },
    )
    order = (DEV, BASE, PYPI)
    verdicts = MirrorWhitelist().admit(tree, order, standings_of(order, set(holding)), DEMO)
    assert [verdict.joins for verdict in verdicts[:2]] == [True, True]
    return verdicts[2]


@pytest.mark.parametrize(
    ("verdict", "joins", "reason"),
    [
        (mirror_verdict(), True, "joins: no hosted index in the order has demo"),
        (mirror_verdict(PYPI), True, "joins: no hosted index in the order has demo"),
        (
            mirror_verdict(BASE),
            False,
            "left out: team/base has demo, and the mirror_whitelist of team/dev does not name it",
        ),
        (
            mirror_verdict(BASE, mode="union"),
            False,
            "left out: team/base has demo, and neither team/dev nor team/base whitelists it",
        ),
        (
            mirror_verdict(DEV, dev=("demo",)),
            True,
            "joins: the mirror_whitelist of team/dev has demo, although team/dev has demo",
        ),
        (
            mirror_verdict(BASE, dev=("*",)),
            True,
            "joins: the mirror_whitelist of team/dev has *, although team/base has demo",
        ),
        # (b) of the reference: under intersection a deeper list opens nothing; under union any list does
        (
            mirror_verdict(DEV, base=("demo",)),
            False,
            "left out: team/dev has demo, and the mirror_whitelist of team/dev does not name it",
        ),
        # (c): also when an earlier index has the project
        (
            mirror_verdict(DEV, base=("demo",), mode="union"),
            True,
            "joins: the mirror_whitelist of team/base has demo, although team/dev has demo",
        ),
        # a list that names something else opens nothing
        (
            mirror_verdict(DEV, dev=("other",)),
            False,
            "left out: team/dev has demo, and the mirror_whitelist of team/dev does not name it",
        ),
    ],
)
def test_verdicts_say_why(verdict: Verdict, joins: bool, reason: str) -> None:
    assert (verdict.joins, verdict.reason) == (joins, reason)


def test_hosted_layers_always_join_and_say_what_they_have() -> None:
    tree = Tree(serial=Serial(1), indexes={DEV: IndexConfig(name=DEV), BASE: IndexConfig(name=BASE)})
    order = (DEV, BASE)
    verdicts = MirrorWhitelist().admit(tree, order, standings_of(order, {DEV}), DEMO)
    assert [(verdict.joins, verdict.reason) for verdict in verdicts] == [
        (True, "joins: team/dev is hosted here and has demo"),
        (True, "joins: team/base is hosted here, though it does not have demo"),
    ]


def test_an_unknown_inheritance_mode_is_read_as_the_stricter() -> None:
    assert not mirror_verdict(DEV, base=("*",), mode="whatever").joins


def test_an_empty_order_has_no_verdicts() -> None:
    assert MirrorWhitelist().admit(Tree(serial=Serial(0), indexes={}), (), (), DEMO) == ()
    assert MirrorWhitelist().fingerprint


# The first mirror


def settled(
    tree: Tree, order: Sequence[IndexName], holding: set[IndexName], unknown: set[IndexName]
) -> tuple[tuple[Verdict, ...], tuple[Verdict, ...]]:
    """What the whitelist says before anybody is asked, and what the first mirror makes of it afterwards."""
    standings = standings_of(order, holding)
    before = FirstMirror().admit(tree, order, standings, DEMO)
    assert [replace(each, in_turn=False) for each in before] == [*MirrorWhitelist().admit(tree, order, standings, DEMO)]
    assert all(each.in_turn is (each.joins and tree.indexes[each.index].mirrored) for each in before)
    return before, FirstMirror().settle(tree, order, standings, before, DEMO, frozenset(unknown))


@settings(max_examples=500)
@given(
    tree=trees(),
    start=st.sampled_from(HOSTED + MIRRORS),
    holding=holdings,
    doubted=st.sets(st.sampled_from(MIRRORS)),
)
def test_the_first_mirror_that_has_it_is_the_last_that_joins(
    tree: Tree, start: IndexName, holding: set[IndexName], doubted: set[IndexName]
) -> None:
    order, unknown = lineage(tree, start).order, doubted - holding
    before, after = settled(tree, order, holding, unknown)
    assert [verdict.index for verdict in after] == list(order)
    # Hosted layers are left as they were, and no mirror joins that the whitelist keeps out.
    assert [verdict for verdict in after if verdict.index in HOSTED] == [
        verdict for verdict in before if verdict.index in HOSTED
    ]
    assert all(early.joins or late == early for early, late in zip(before, after, strict=True))
    # Of the mirrors that join, those up to the first that has the project, or may have it, and none behind.
    joining = [verdict.index for verdict in before if verdict.joins and verdict.index in MIRRORS]
    ends = next((at for at, name in enumerate(joining, 1) if name in holding | unknown), len(joining))
    assert [verdict.index for verdict in after if verdict.joins and verdict.index in MIRRORS] == joining[:ends]
    # Exactly one gives it when several have it and all could be asked.
    if not unknown and holding.intersection(joining):
        assert len([each for each in after if each.joins and each.index in holding.intersection(MIRRORS)]) == 1
    assert all(verdict.reason.startswith("joins: " if verdict.joins else "left out: ") for verdict in after)
    # The whitelist alone has nothing to settle.
    standings = standings_of(order, holding)
    assert MirrorWhitelist().settle(tree, order, standings, before, DEMO, frozenset(unknown)) == before


FIRST, SECOND = IndexName("root/first"), IndexName("root/second")
TWO_MIRRORS = Tree(
    serial=Serial(1),
    indexes={
        DEV: IndexConfig(name=DEV, bases=(FIRST, SECOND)),
        FIRST: mirror_config(FIRST),
        SECOND: mirror_config(SECOND),
    },
)
ALL = (DEV, FIRST, SECOND)


@pytest.mark.parametrize(
    ("holding", "unknown", "joins", "reason"),
    [
        ({SECOND}, set(), [True, True, True], "joins: no hosted index in the order has demo"),
        (
            {FIRST, SECOND},
            set(),
            [True, True, False],
            "left out: root/first is the first mirror that has demo",
        ),
        ({FIRST}, {SECOND}, [True, True, False], "left out: root/first is the first mirror that has demo"),
        (
            {SECOND},
            {FIRST},
            [True, True, False],
            "left out: root/first comes first, and whether it has demo is not known now",
        ),
        (
            {DEV, FIRST, SECOND},
            set(),
            [True, False, False],
            "left out: team/dev has demo, and the mirror_whitelist of team/dev does not name it",
        ),
    ],
)
def test_the_first_mirror_says_why(
    holding: set[IndexName], unknown: set[IndexName], joins: list[bool], reason: str
) -> None:
    _, after = settled(TWO_MIRRORS, ALL, holding, unknown)
    assert [verdict.joins for verdict in after] == joins
    assert after[-1].reason == reason


@pytest.mark.parametrize(
    ("away", "holding", "shown"), [(FIRST, {SECOND}, ()), (SECOND, {FIRST}, (FIRST,)), (SECOND, set(), ())]
)
def test_a_page_is_unknown_while_the_first_mirror_may_have_it(
    away: IndexName, holding: set[IndexName], shown: tuple[IndexName, ...]
) -> None:
    """Else a name would come from the second mirror whenever the first is down."""
    _, after = settled(TWO_MIRRORS, ALL, holding, {away})
    news = {name: Freshness(state="fresh" if name in holding else "absent") for name in (FIRST, SECOND)}
    seen = chain(TWO_MIRRORS, DEV, lineage(TWO_MIRRORS, DEV), Principal(), DEMO)
    resolution = resolve(seen, DEMO, standings_of(ALL, holding), after, news | {away: Unavailable("it is down")})
    assert tuple(layer.index for layer in resolution.shown) == shown
    if shown:
        resolution.require_whole()
    else:
        assert [name for name, _ in resolution.unknown] == [away]
        with pytest.raises(Unavailable, match="it is down"):
            resolution.require_whole()


@pytest.mark.parametrize(
    ("away", "holding", "shown"), [(FIRST, {SECOND}, (SECOND,)), (SECOND, {FIRST}, (FIRST,)), (SECOND, set(), ())]
)
def test_a_page_goes_on_without_a_mirror_that_is_not_needed(
    away: IndexName, holding: set[IndexName], shown: tuple[IndexName, ...]
) -> None:
    """It is shorter, and the resolution names the mirror. When no other has the project, it may exist: unknown, and not absent."""
    standings, policy = standings_of(ALL, holding), AvailableMirrors()
    before = policy.admit(TWO_MIRRORS, ALL, standings, DEMO)
    after = policy.settle(TWO_MIRRORS, ALL, standings, before, DEMO, frozenset({away}))
    assert [verdict.joins for verdict in after] == [True, True, True]
    assert [verdict.index for verdict in after if not verdict.needed] == [away]
    news = {name: Freshness(state="fresh" if name in holding else "absent") for name in (FIRST, SECOND)}
    seen = chain(TWO_MIRRORS, DEV, lineage(TWO_MIRRORS, DEV), Principal(), DEMO)
    resolution = resolve(seen, DEMO, standings, after, news | {away: Unavailable("it is down")})
    assert tuple(layer.index for layer in resolution.shown) == shown
    assert resolution.unknown == ((away, "it is down"),)
    with pytest.raises(Unavailable):
        resolution.require_whole()
    if shown:
        resolution.require_needed()
    else:
        with pytest.raises(Unavailable, match="it is down"):
            resolution.require_needed()


def test_another_policy_is_another_page() -> None:
    assert len({each.fingerprint for each in (FirstMirror(), MirrorWhitelist(), AvailableMirrors())}) == 3


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (Freshness(state="fresh"), "holds"),
        (Freshness(state="stale", reason="it is slow"), "stale"),
        (Unavailable("it is down"), "unavailable"),
    ],
)
def test_a_mirror_that_was_asked_and_left_out_is_not_told_to_be_unasked(
    said: Freshness | Unavailable, state: str
) -> None:
    """Its upstream has heard the name. What it could not say makes no page stale or unknown."""
    holding = {FIRST} if isinstance(said, Unavailable) else {FIRST, SECOND}
    _, after = settled(TWO_MIRRORS, ALL, holding, {SECOND} if isinstance(said, Unavailable) else set())
    seen = chain(TWO_MIRRORS, DEV, lineage(TWO_MIRRORS, DEV), Principal(), DEMO)
    news = {FIRST: Freshness(state="fresh"), SECOND: said}
    resolution = resolve(seen, DEMO, standings_of(ALL, holding), after, news)
    story = explain(resolution, (), merge(DEMO, []), ())
    assert [(layer.joins, layer.state) for layer in story.layers if layer.index == SECOND] == [(False, state)]
    assert (resolution.stale, resolution.unknown) == ((), ())
    resolution.require_whole()
