"""In which order an index asks its bases.

Breadth first from the index itself, bases in the order they are listed, each index once (a diamond counts where it is
first met, a cycle ends where it began), and then every mirror moved to the very end in the order it was met: what the
team publishes outranks what comes from outside, however the bases are spelled. This is devpi's order, which its users'
index trees rely on; C3 linearisation would refuse trees that work there.

A base that does not exist (yet, or any more) is left out and named, so that `explain` can tell: an index may be
configured before its bases, and one that lost a base still serves what it has. A mirror inherits nothing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from msgspec import Struct

from pkgindex_core.models import Tree
from pkgindex_core.names import IndexName


class MissingBase(NamedTuple):
    """A base that is configured and does not exist."""

    wanted: IndexName
    by: IndexName


class Lineage(Struct, frozen=True):
    """The resolution order of one index."""

    order: tuple[IndexName, ...]
    """Hosted indexes, the start first, then mirrors; each once. Empty when the start itself does not exist."""
    missing: tuple[MissingBase, ...] = ()
    """In the order met, each (wanted, by) once. A start that does not exist is missed by itself."""


def lineage(tree: Tree, start: IndexName) -> Lineage:
    """Resolve an index's bases to the order in which they are asked.

    Depends on nothing but the tree, so a caller may keep the answer per (tree serial, start).
    """
    if start not in tree.indexes:
        return Lineage((), (MissingBase(start, start),))
    hosted: list[IndexName] = []
    mirrors: list[IndexName] = []
    missing: dict[MissingBase, None] = {}
    seen = {start}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        config = tree.indexes[name]
        if config.mirrored:
            mirrors.append(name)
            continue
        hosted.append(name)
        for base in config.bases:
            if base not in tree.indexes:
                missing[MissingBase(base, name)] = None
            elif base not in seen:
                seen.add(base)
                queue.append(base)
    return Lineage((*hosted, *mirrors), tuple(missing))
