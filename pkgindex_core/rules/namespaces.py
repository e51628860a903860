"""Namespaces (PEP 752): prefixes of names that a hosted index has to itself. Pure.

    acme    acme and acme-anything, in the index that has the option `namespaces` and in every index that inherits it

A project is in the longest namespace that covers its name. It is *owned* if the index of the namespace has it. An index without namespaces among its
layers says nothing of them, and its pages stay those of version 1.4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.errors import NamespaceTaken, Refused
from pkgindex_core.models import IndexConfig, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols.index_types import IndexOption
from pkgindex_core.protocols.policies import Namespace
from pkgindex_core.rules.lineage import lineage

OPTION: Final = "namespaces"
_SHOWN: Final = 80


class NamespaceTree(Struct, frozen=True):
    """A namespace among others: the next wider one, and the next narrower ones."""

    name: str
    parent: str | None
    children: tuple[str, ...]
    owner: IndexName


def parse_namespaces(value: Any) -> tuple[str, ...]:
    """Read the option: names, as a list or with commas. They are normalised."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise Refused("namespaces are names, as a list or with commas, such as: acme, acme-labs")
    found: list[str] = []
    for each in (name.strip() for name in names):
        name = normalized_or_none(each)
        if each and name is None:
            raise Refused(f"{each[:_SHOWN]!r} is no namespace", hint="a namespace is spelled as a project is")
        if name is not None and name not in found:
            found.append(name)
    return tuple(found)


def covers(namespace: str, project: str) -> bool:
    """Whether a name is in a namespace.

    >>> covers("acme", "acme"), covers("acme", "acme-cli"), covers("acme", "acmex")
    (True, True, False)
    """
    return project == namespace or project.startswith(f"{namespace}-")


def granted(tree: Tree, start: IndexName) -> Mapping[str, IndexName]:
    """The namespaces of the layers of an index, each with its owner. Of two layers with the same one the first counts."""
    order = lineage(tree, start).order
    if not any(_own(tree.indexes[layer]) for layer in order):
        return {}
    found: dict[str, IndexName] = {}
    for layer in order:
        for name in _own(tree.indexes[layer]):
            found.setdefault(name, layer)
    return found


def namespaces_of(
    grants: Mapping[str, IndexName], project: ProjectName, holders: Collection[IndexName]
) -> tuple[Namespace, ...]:
    """The namespaces that cover a project, the widest first. `holders`: the layers that give it files."""
    return tuple(Namespace(name, grants[name] in holders) for name in sorted(grants, key=len) if covers(name, project))


def namespace_tree(grants: Mapping[str, IndexName], name: str) -> NamespaceTree | None:
    """One namespace; None if it is not granted."""
    if name not in grants:
        return None
    wider = [each for each in grants if each != name and covers(each, name)]
    inside = [each for each in grants if each != name and covers(name, each)]
    children = [each for each in inside if not any(other != each and covers(other, each) for other in inside)]
    return NamespaceTree(name, max(wider, key=len, default=None), tuple(sorted(children)), grants[name])


def require_namespace(tree: Tree, standing: Standing, project: ProjectName) -> None:
    """Refuse a new project in a namespace of another index. The longest one that covers the name decides. A project that the index has goes on.

    `standing` is that of the project in the index that would get it.
    """
    if standing.holds:
        return
    grants = granted(tree, standing.index)
    name = max((each for each in grants if covers(each, project)), key=len, default=None)
    if name is not None and grants[name] != standing.index:
        owner = grants[name]
        raise NamespaceTaken(
            f"{project} is in the namespace {name} of {owner}", hint=f"publish it in {owner}, or use another name"
        )


def _own(config: IndexConfig) -> tuple[str, ...]:
    return _kept(tuple(config.options[OPTION])) if config.options and OPTION in config.options else ()


@lru_cache(maxsize=256)
def _kept(names: tuple[str, ...]) -> tuple[str, ...]:
    return parse_namespaces(names)


NAMESPACES_OPTION: Final = IndexOption(parse=parse_namespaces, types=("stage",), is_list=True)
