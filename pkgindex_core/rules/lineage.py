"""The order in which an index looks through its bases.

Breadth first from the index itself, with bases in the order in which they are listed and each index once: an index in a
diamond counts where it is first met, and a cycle ends where it began. Then all mirrors move to the end, in the order in
which they were met, so that the team's own files come first however the bases are written. This is devpi's order, on
which its users rely; C3 linearisation would refuse trees that work there.

Missing bases are left out, and named for `explain`: an index may be configured before its bases, and an index that lost a
base still serves the others. A mirror inherits nothing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from msgspec import Struct

from pkgindex_core.models import Tree
from pkgindex_core.names import IndexName


class MissingBase(NamedTuple):
    """A configured base that does not exist."""

    wanted: IndexName
    by: IndexName


class Lineage(Struct, frozen=True):
    """The resolution order of one index."""

    order: tuple[IndexName, ...]
    """Hosted indexes with the start first, then mirrors; each once. Empty when the start does not exist."""
    missing: tuple[MissingBase, ...] = ()
    """In the order in which they were met, each (wanted, by) once. A missing start is named with itself as `by`."""


def lineage(tree: Tree, start: IndexName) -> Lineage:
    """Put an index and its bases in order.

    Depends on the tree alone, so a caller may cache it by (tree serial, start).
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
