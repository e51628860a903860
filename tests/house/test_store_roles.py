"""An index store is a sum of small roles, and what uses a store names the roles that it uses."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

from pkgindex_core.protocols import IndexStore

MOST_METHODS = 7

WHOLE = {
    "pkgindex_core.protocols.index_store": "declares the sum",
    "pkgindex_core.protocols.learning": "declares the sum with one role more",
    "pkgindex_core.hookspecs": "providers make whole stores",
    "pkgindex_core.plugins": "finds the provider of a whole store",
    "pkgindex_core.builtin": "offers the built-in stores",
    "pkgindex_core.composition.*": "opens the store, and hands it to each service",
    "pkgindex_core.engines.memory.index": "is a whole store",
    "pkgindex_core.engines.sqlite.index": "is a whole store",
    "pkgindex_core.engines.postgresql.index": "is a whole store",
    "pkgindex_core.engines.behind.*": "stands around a whole store",
    "pkgindex_core.testing.*": "proves whole stores",
}
"""Who may name the whole store, and why."""

ROLES = {role.__name__: role for role in IndexStore.__bases__ if role.__name__ != "Protocol"}


def methods(role: type) -> list[str]:
    return [
        name
        for name, value in vars(role).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    ]


def whole_stores(tree: ast.Module) -> Iterator[int]:
    """Lines whose annotations, or whose classes' bases, name the whole store, alone or as the sum of all roles."""

    def named(expression: ast.expr) -> set[str]:
        nodes = list(ast.walk(expression))
        quoted = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        return {
            *(node.id for node in nodes if isinstance(node, ast.Name)),
            *(node.attr for node in nodes if isinstance(node, ast.Attribute)),
            *quoted,
        }

    for node in ast.walk(tree):
        declared: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            declared = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            declared = [node.returns]
        elif isinstance(node, ast.ClassDef):
            declared = [*node.bases]
        names = set[str]().union(*(named(each) for each in declared if each is not None))
        if names & {"IndexStore", "LearningIndex"} or names >= set(ROLES):
            yield node.lineno


def test_a_role_has_few_methods():
    assert len(ROLES) > 1
    assert {name: len(methods(role)) for name, role in ROLES.items() if len(methods(role)) > MOST_METHODS} == {}


def test_a_method_belongs_to_one_role_and_the_sum_adds_none():
    counted = Counter(name for role in ROLES.values() for name in methods(role))
    assert [name for name, times in counted.items() if times > 1] == []
    assert methods(IndexStore) == []


def test_only_those_who_open_or_make_a_store_name_the_whole_of_it(modules):
    found = [
        f"{module.place}:{line}: names the whole index store; name the roles that are used"
        for module in modules
        if not any(fnmatch(module.name, name) for name in WHOLE)
        for line in whole_stores(module.tree)
    ]
    assert not found, "\n".join(found)


def test_every_exception_is_needed(modules):
    naming = [module.name for module in modules if [*whole_stores(module.tree)]]
    assert [name for name in WHOLE if not any(fnmatch(each, name) for each in naming)] == []


@pytest.mark.parametrize(
    "source",
    [
        "def __init__(self, *, store: IndexStore): ...",
        "def __init__(self, *, store: protocols.IndexStore | None): ...",
        "async def open() -> 'IndexStore': ...",
        "class Run(Struct):\n    store: IndexStore",
        "class _Store(IndexStore, Protocol): ...",
        f"class _Store({', '.join(ROLES)}, Protocol): ...",
    ],
)
def test_a_whole_store_is_noticed(source: str):
    assert [*whole_stores(ast.parse(source))] != []


@pytest.mark.parametrize(
    "source", ["def __init__(self, *, store: Trees): ...", "class _Store(Trees, Projects, Protocol): ..."]
)
def test_roles_are_let_pass(source: str):
    assert [*whole_stores(ast.parse(source))] == []


def test_the_architecture_page_lists_the_roles(root):
    page = (root / "pkgindex_core/ARCHITECTURE.md").read_text(encoding="utf-8")
    for name, role in ROLES.items():
        assert f"| `{name}` | {', '.join(f'`{each}`' for each in methods(role))} |" in page
