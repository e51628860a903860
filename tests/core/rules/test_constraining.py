"""Constraints: how they are read, what they let through, and on which ways they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Refused
from pkgindex_core.models import File, IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build
from pkgindex_core.rules.constraining import ConstraintFilter, constraint_lines, gates, parse_constraints
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.testing.configs import changed_config, index_config, mirror_config

NAMES = [IndexName(f"x/{letter}") for letter in "abcdef"]
GONE = IndexName("x/gone")
DEMO = ProjectName("demo")


def constrained(name: str, **options: Any) -> IndexConfig:
    """An index whose constraints are empty."""
    return index_config(name, type="constrained", read_only=True, constraints=(), **options)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees with diamonds, cycles, missing bases, mirrors, and constrained indexes anywhere."""
    bases = st.lists(st.sampled_from([*NAMES, GONE]), max_size=3, unique=True)
    made = st.sampled_from([index_config, index_config, constrained, mirror_config])
    indexes = {name: draw(made)(name, bases=tuple(draw(bases))) for name in NAMES}
    return Tree(serial=Serial(1), indexes=indexes)


def paths(tree: Tree, here: IndexName, walked: tuple[IndexName, ...] = ()) -> Iterator[tuple[IndexName, ...]]:
    """Every way through the tree that visits nothing twice, and every beginning of one."""
    if here in walked or here not in tree.indexes:
        return
    yield (*walked, here)
    config = tree.indexes[here]
    for base in () if config.mirrored else config.bases:
        yield from paths(tree, base, (*walked, here))


@given(trees())
def test_a_gate_is_what_stands_on_every_way(tree: Tree) -> None:
    ways = list(paths(tree, NAMES[0]))
    found = gates(tree, NAMES[0])
    assert set(found) == {way[-1] for way in ways} == set(lineage(tree, NAMES[0]).order)
    for name, on_the_way in found.items():
        leading = [set(way) for way in ways if way[-1] == name]
        expected = {gate for gate in set.intersection(*leading) if "constraints" in tree.indexes[gate].options}
        assert set(on_the_way) == expected
        assert len(on_the_way) == len(expected)


@given(trees())
def test_without_constrained_indexes_there_are_no_gates(tree: Tree) -> None:
    plain = Tree(
        serial=tree.serial,
        indexes={
            name: config if config.mirrored else IndexConfig(name=name, bases=config.bases)
            for name, config in tree.indexes.items()
        },
    )
    assert not any(gates(plain, NAMES[0]).values())
    assert not ConstraintFilter().applies(plain, NAMES[0])


@given(trees())
def test_a_constrained_start_guards_everything(tree: Tree) -> None:
    for name in NAMES:
        if tree.indexes[name].type == "constrained":
            assert all(name in on_the_way for on_the_way in gates(tree, name).values())


@given(trees())
def test_an_index_without_constraints_lets_everything_through(tree: Tree) -> None:
    """`constraints` is empty in all of these trees."""
    judge = ConstraintFilter()
    for origin in lineage(tree, NAMES[0]).order:
        assert judge.withheld(tree, NAMES[0], origin, DEMO) is None
        assert hides(judge, tree, NAMES[0], origin, "1.0") is None


def test_a_start_that_does_not_exist_has_no_gates() -> None:
    assert gates(Tree(serial=Serial(1), indexes={}), GONE) == {}


def hides(judge: ConstraintFilter, tree: Tree, start: IndexName, origin: IndexName, version: str) -> str | None:
    build = Build(tree=tree, start=start, project=DEMO, moment=Timestamp(0))
    ruling = judge.judge(origin, File(filename="x", version=version), build)
    return ruling.reason if ruling else None


def diamond(*, around: bool) -> Tree:
    """a inherits from the constrained b, which inherits from the mirror m; with a way around b or without one."""
    a, b, m = NAMES[:3]
    options = {"constraints": ["demo<2", "*"]}
    return Tree(
        serial=Serial(1),
        indexes={
            a: IndexConfig(name=a, bases=(b, m) if around else (b,)),
            b: IndexConfig(name=b, type="constrained", read_only=True, bases=(m,), options=options),
            m: mirror_config(m),
        },
    )


def test_what_comes_through_a_constrained_index_only_is_filtered() -> None:
    a, b, m = NAMES[:3]
    judge = ConstraintFilter()
    tree = diamond(around=False)
    assert judge.applies(tree, a)
    assert not judge.applies(tree, m)
    assert hides(judge, tree, a, m, "1.0") is None
    assert hides(judge, tree, a, m, "2.0") == "the constraints of x/b do not allow version 2.0"
    assert hides(judge, tree, b, m, "2.0") is not None
    assert hides(judge, tree, a, a, "2.0") is None
    assert hides(judge, tree, m, m, "2.0") is None
    assert judge.withheld(tree, a, m, DEMO) is None
    other = ProjectName("other")
    ruling = judge.withheld(tree, a, m, other)
    assert ruling is not None
    assert ruling.reason == "x/b lets only the projects of its constraints through"
    assert judge.withheld(tree, a, a, other) is None


def test_an_index_of_another_type_with_the_option_is_constrained_too() -> None:
    a, b, m = NAMES[:3]
    tree = diamond(around=False)
    theirs = Tree(serial=Serial(2), indexes={**tree.indexes, b: changed_config(tree.indexes[b], type="theirs")})
    assert hides(ConstraintFilter(), theirs, a, m, "2.0") == "the constraints of x/b do not allow version 2.0"


def test_a_way_around_is_a_way() -> None:
    a, _, m = NAMES[:3]
    judge = ConstraintFilter()
    tree = diamond(around=True)
    assert hides(judge, tree, a, m, "2.0") is None
    assert judge.withheld(tree, a, m, ProjectName("other")) is None
    # The same filter, asked about another tree of the same serial.
    assert hides(judge, diamond(around=False), a, m, "2.0") is not None


@pytest.mark.parametrize(
    ("lines", "project", "version", "passes"),
    [
        ([], "demo", "1.0", True),
        (["demo"], "demo", "1.0", True),
        (["demo"], "demo", "odd version", True),
        (["demo"], "demo", "", True),
        (["demo>=1,<2"], "demo", "1.5", True),
        (["demo>=1,<2"], "demo", "2.0", False),
        (["demo>=1,<2"], "demo", "odd version", False),
        (["demo>=1,<2"], "demo", "", False),
        (["demo>=1"], "demo", "2.0rc1", True),
        (["Demo_Package>=2"], "demo-package", "1.0", False),
        (["demo>=1"], "other", "1.0", True),
        (["demo>=1", "*"], "other", "1.0", False),
        (["*"], "demo", "1.0", False),
        (["demo==1.0"], "demo", "1.0+local", True),
        (["demo[extra]<2; python_version < '3'"], "demo", "2.0", False),
    ],
)
def test_what_passes(lines: list[str], project: str, version: str, passes: bool) -> None:
    assert parse_constraints(constraint_lines(lines)).allows(ProjectName(project), version) is passes


@pytest.mark.parametrize(
    "written", ["demo<2\n\n# why\n  *  \nother==1  # pinned\n", ["demo<2", "", "# why", " *", "other==1 # pinned"]]
)
def test_blank_lines_and_comments_do_not_count(written: str | list[str]) -> None:
    assert constraint_lines(written) == ("demo<2", "*", "other==1")
    assert constraint_lines(constraint_lines(written)) == ("demo<2", "*", "other==1")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        constraint_lines("demo<2\nDemo==1\n<3\n??\nurl @ https://host/x.whl\nbad>>1")
    assert len(refused.value.problems) == 5
    told = "\n".join(refused.value.problems)
    for expected in ("Constraint for 'demo' already exists", "'<3'", "'??'", "a URL constrains no version", "'bad>>1'"):
        assert expected in told


@pytest.mark.parametrize("value", [5, {"demo": "<2"}, None])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        constraint_lines(value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        lines = constraint_lines(text)
    except Refused:
        return
    assert constraint_lines("\n".join(lines)) == lines
