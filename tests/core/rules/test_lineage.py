"""Breadth first, each index once, mirrors last, missing bases named."""

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.models import IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.rules.lineage import Lineage, lineage
from pkgindex_core.testing.configs import mirror_config

HOSTED = [IndexName(f"h/{number}") for number in range(6)]
MIRRORS = [IndexName(f"m/{number}") for number in range(3)]
ABSENT = [IndexName(f"gone/{number}") for number in range(2)]


def tree_of(**bases: str) -> Tree:
    """`tree_of(a="b m", m="mirror")`: one-letter indexes of user x; `mirror` makes a mirror."""
    indexes = {}
    for letter, words in bases.items():
        name = IndexName(f"x/{letter}")
        if words == "mirror":
            indexes[name] = mirror_config(name)
        else:
            indexes[name] = IndexConfig(name=name, bases=tuple(IndexName(f"x/{word}") for word in words.split()))
    return Tree(serial=Serial(1), indexes=indexes)


def order(tree: Tree, start: str = "a") -> str:
    return " ".join(name.removeprefix("x/") for name in lineage(tree, IndexName(f"x/{start}")).order)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees with diamonds, cycles, self-references, repeated bases, missing bases and several mirrors."""
    bases = st.lists(st.sampled_from(HOSTED + MIRRORS + ABSENT), max_size=4)
    indexes = {name: IndexConfig(name=name, bases=tuple(draw(bases))) for name in HOSTED}
    indexes |= {name: mirror_config(name, bases=tuple(draw(bases))) for name in MIRRORS}
    return Tree(serial=Serial(1), indexes=indexes)


def plain_loop(tree: Tree, start: IndexName) -> list[IndexName]:
    """The rule once more, level by level, without a queue."""
    level, met = [start], [start]
    while level:
        following = []
        for name in level:
            if tree.indexes[name].type != "mirror":
                following += [base for base in tree.indexes[name].bases if base in tree.indexes]
        level = []
        for name in following:
            if name not in met:
                met.append(name)
                level.append(name)
    return [name for name in met if name not in MIRRORS] + [name for name in met if name in MIRRORS]


@given(tree=trees(), start=st.sampled_from(HOSTED + MIRRORS))
def test_order_has_no_duplicates_and_mirrors_last(tree: Tree, start: IndexName) -> None:
    found = lineage(tree, start).order
    assert len(set(found)) == len(found)
    kinds = [tree.indexes[name].mirrored for name in found]
    assert kinds == sorted(kinds)
    assert found[0] == start


@given(tree=trees(), start=st.sampled_from(HOSTED + MIRRORS))
def test_order_equals_the_plain_loop(tree: Tree, start: IndexName) -> None:
    assert list(lineage(tree, start).order) == plain_loop(tree, start)


@given(tree=trees(), start=st.sampled_from(HOSTED))
def test_every_missing_base_is_named_once_with_who_wants_it(tree: Tree, start: IndexName) -> None:
    found = lineage(tree, start)
    expected = {
        (base, name)
        for name in found.order
        if not tree.indexes[name].mirrored
        for base in tree.indexes[name].bases
        if base not in tree.indexes
    }
    assert set(found.missing) == expected
    assert len(found.missing) == len(expected)


def test_breadth_comes_before_depth() -> None:
    assert order(tree_of(a="b c", b="d", c="e", d="", e="")) == "a b c d e"


def test_a_diamond_counts_where_it_is_first_met() -> None:
    assert order(tree_of(a="b c", b="d", c="d", d="")) == "a b c d"


def test_a_cycle_ends_where_it_began() -> None:
    assert order(tree_of(a="b", b="c", c="a")) == "a b c"
    assert order(tree_of(a="a")) == "a"


def test_mirrors_go_to_the_end_in_the_order_met() -> None:
    tree = tree_of(a="m b", b="n c", c="", m="mirror", n="mirror")
    assert order(tree) == "a b c m n"


def test_a_mirror_alone_is_its_own_order_and_inherits_nothing() -> None:
    tree = tree_of(m="mirror", b="")
    mirror = mirror_config("x/m", bases=(IndexName("x/b"),))
    tree = Tree(serial=Serial(1), indexes={**tree.indexes, mirror.name: mirror})
    assert order(tree, "m") == "m"


def test_a_missing_base_is_left_out_and_named() -> None:
    found = lineage(tree_of(a="z b z", b="z"), IndexName("x/a"))
    assert found.order == ("x/a", "x/b")
    assert found.missing == (("x/z", "x/a"), ("x/z", "x/b"))
    assert found.missing[0].wanted == "x/z"
    assert found.missing[0].by == "x/a"


def test_a_start_that_does_not_exist_is_missed_by_itself() -> None:
    name = IndexName("x/q")
    assert lineage(tree_of(a=""), name) == Lineage((), lineage(tree_of(), name).missing)
    assert lineage(tree_of(a=""), name).missing == ((name, name),)
