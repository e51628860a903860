"""No two modules need each other: each can be read, and moved, with what is below it alone.

Imports count wherever they stand: in a function, and for the type checker alone. That a module runs the `__init__` of the packages
above it does not count: it only hands names on.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.house.test_floors import imports


def circle(trees: Mapping[str, ast.Module]) -> list[str]:
    """Modules of which each is imported by the next, the first again at the end; empty when there is no circle."""
    known = frozenset(trees)
    graph = {name: {target for target, _ in imports(name, tree, known)} & known for name, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others(modules):
    found = circle({module.name: module.tree for module in modules})
    assert not found, " is imported by ".join(found)


@pytest.mark.parametrize(
    "back",
    [
        "from pkgindex_core import a",
        "from pkgindex_core.a import A",
        "def f():\n  import pkgindex_core.a",
        "if TYPE_CHECKING:\n  from pkgindex_core.a import A",
    ],
)
def test_a_circle_is_noticed(back: str):
    forth = {"a": "import pkgindex_core.b", "b": "from pkgindex_core.c import C", "c": ""}
    trees = {f"pkgindex_core.{name}": ast.parse(source) for name, source in forth.items()}
    assert circle(trees) == []
    found = circle(trees | {"pkgindex_core.c": ast.parse(back)})
    assert found[0] == found[-1]
    assert set(found) == set(trees)
