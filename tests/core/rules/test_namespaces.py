"""Namespaces (PEP 752): which names they cover, and who owns them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import NamespaceTaken, Refused
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Namespace
from pkgindex_core.rules.namespaces import (
    covers,
    granted,
    namespace_tree,
    namespaces_of,
    parse_namespaces,
    require_namespace,
)

TEAM, DEV, TOP, APART = (IndexName(f"acme/{name}") for name in ("team", "dev", "top", "apart"))


def config(name: IndexName, *namespaces: str, bases: tuple[IndexName, ...] = ()) -> IndexConfig:
    options = {"namespaces": list(namespaces)} if namespaces else {}
    return IndexConfig(name=name, bases=bases, options=options)


def tree() -> Tree:
    """`top` inherits `dev`, which inherits `team`. `apart` is alone."""
    configs = (
        config(TEAM, "acme", "acme-labs"),
        config(DEV, "acme-labs-dev", bases=(TEAM,)),
        config(TOP, bases=(DEV,)),
        config(APART, "other"),
    )
    return Tree(serial=Serial(1), indexes={each.name: each for each in configs})


@pytest.mark.parametrize(
    ("value", "names"),
    [("acme, Acme_Labs", ("acme", "acme-labs")), (["acme", "ACME"], ("acme",)), ("", ()), ([], ())],
)
def test_names_are_normalised_once(value: object, names: tuple[str, ...]) -> None:
    assert parse_namespaces(value) == names
    assert parse_namespaces(list(names)) == names


@pytest.mark.parametrize("wrong", ["a b", "-x", ["ok", "no/t"], 3, [1]])
def test_what_is_no_name_is_refused(wrong: object) -> None:
    with pytest.raises(Refused):
        parse_namespaces(wrong)


@given(st.from_regex(r"[a-z]{1,3}(-[a-z]{1,3}){0,2}", fullmatch=True), st.from_regex(r"[a-z-]{0,4}", fullmatch=True))
def test_a_namespace_covers_whole_words(name: str, more: str) -> None:
    assert covers(name, name + more) is (more == "" or more.startswith("-"))


def test_an_index_has_the_namespaces_of_its_layers() -> None:
    assert granted(tree(), TOP) == {"acme-labs-dev": DEV, "acme": TEAM, "acme-labs": TEAM}
    assert granted(tree(), TEAM) == {"acme": TEAM, "acme-labs": TEAM}
    plain = Tree(serial=Serial(1), indexes={APART: config(APART)})
    assert granted(plain, APART) == {}


def test_a_project_is_in_all_that_cover_it_and_owned_by_those_that_have_it() -> None:
    grants = granted(tree(), TOP)
    name = ProjectName("acme-labs-dev-tool")
    assert namespaces_of(grants, name, {DEV}) == (
        Namespace("acme", owned=False), Namespace("acme-labs", owned=False), Namespace("acme-labs-dev", owned=True),
    )  # fmt: skip
    assert namespaces_of(grants, ProjectName("acmetool"), {TEAM}) == ()


def test_namespaces_form_a_tree() -> None:
    grants = granted(tree(), TOP)
    middle = namespace_tree(grants, "acme-labs")
    assert middle is not None
    assert (middle.parent, middle.children, middle.owner) == ("acme", ("acme-labs-dev",), TEAM)
    widest = namespace_tree(grants, "acme")
    assert widest is not None
    assert (widest.parent, widest.children) == (None, ("acme-labs",))
    assert namespace_tree(grants, "other") is None


@pytest.mark.parametrize(
    ("index", "project", "owner"),
    [(TEAM, "acme-x", None), (DEV, "acme-x", TEAM), (DEV, "acme-labs-dev-x", None), (TOP, "acme-labs-dev", DEV), (TOP, "free", None), (APART, "acme-x", None)],
)  # fmt: skip
def test_a_new_project_is_refused_outside_of_the_owner(index: IndexName, project: str, owner: IndexName | None) -> None:
    name = ProjectName(project)
    require_namespace(tree(), Standing(index=index, stamp=Serial(1), holds=True), name)
    new = Standing(index=index, stamp=Serial(0), holds=False)
    if owner is None:
        require_namespace(tree(), new, name)
        return
    with pytest.raises(NamespaceTaken, match=owner):
        require_namespace(tree(), new, name)
