"""The order in which devpi 7.0 merges the files of an index and its bases: the first file of a name counts.

It differs from the order here (`rules.lineage`), which is devpi 6's: bases of bases come before the next base (depth first), mirrors
come last with the one that is met last in front, and then indexes are taken path by path, the paths to mirrors last. If two bases
have different files of one name, an imported index may show the other one; the import reports it.

Pure. As devpi-server 7.0.0b4 does it (`model/inheritance.py`: `traversal_infos`, `filter_result`).
"""

from __future__ import annotations

from pkgindex_core.models import Tree
from pkgindex_core.names import IndexName

_Path = tuple[IndexName, ...]


def merge_order(tree: Tree, start: IndexName) -> tuple[IndexName, ...]:
    """The indexes in the order in which devpi 7.0 takes files for a page of this index, each once."""
    met, paths = _traversed(tree, start)
    # A path that begins another path is dropped. In the others, the first position of an index counts.
    beginnings = {path[:length] for path in paths for length in range(len(path))}
    kept = dict.fromkeys(path for path in paths if path not in beginnings)
    return tuple(dict.fromkeys(index for path in kept for index in met if index in path))


def _traversed(tree: Tree, start: IndexName) -> tuple[list[IndexName], list[_Path]]:
    """The indexes in the order in which they are met, and the paths to their ends."""
    met: dict[IndexName, None] = {}
    paths: list[_Path] = []
    postponed: list[_Path] = []
    missing: set[IndexName] = set()
    todo: list[tuple[_Path, list[IndexName]]] = [((start,), _bases(tree, start))]
    while todo:
        path, bases = todo[-1]
        met.setdefault(path[-1])
        if not bases:
            paths.append(path)
            todo.pop()
            if not todo:
                todo.extend((mirror, []) for mirror in postponed)
                postponed.clear()
            continue
        base = bases.pop()
        if base in met or base in missing:
            continue
        if base not in tree.indexes:
            missing.add(base)
        elif tree.indexes[base].mirrored:
            postponed.append((*path, base))
        else:
            todo.append(((*path, base), _bases(tree, base)))
    return list(met), paths


def _bases(tree: Tree, index: IndexName) -> list[IndexName]:
    """The bases of an index, the next one last."""
    config = tree.indexes[index]
    return [] if config.mirrored else list(reversed(config.bases))
