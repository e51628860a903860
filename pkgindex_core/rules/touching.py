"""The things that a change touches, so that results made of them are no longer current.

Pure: depends on the change alone and asks no store, so that all engines agree. It names too much rather than too little: a
mirrored page that was only revalidated counts as touched, although it shows the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from pkgindex_core.changes import (
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    MirrorNames,
    MirrorPage,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    YankFile,
)
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import Touched

MOST_COMMITS: Final = 1000
"""For more commits than this the stores of this package answer `EVERYTHING`."""


def touched_by(changes: Iterable[Change], serial: Serial) -> Touched:
    """The things that one commit touched."""
    tree = identities = False
    projects: set[tuple[IndexName, ProjectName]] = set()
    indexes: set[IndexName] = set()
    names: set[IndexName] = set()
    for change in changes:
        match change:
            case (  # the most frequent first
                PutFile(index, project)
                | PutRelease(index, project)
                | MirrorPage(index, project)
                | PutProject(index, project)
                | DropProject(index, project)
                | DropFile(index, project)
                | YankFile(index, project)
                | DropRelease(index, project)
                | PutAttachment(index, project)
                | DropAttachment(index, project)
                | DropMirrorPage(index, project)
            ):
                projects.add((index, project))
            case MirrorNames(index):
                names.add(index)
            case PutUser() | DropUser() | PutToken() | DropToken():
                identities = True
            case PutIndex():
                tree = True
            case DropIndex(name):
                tree = True
                indexes.add(name)
            case _:
                assert_never(change)
    return Touched(
        upto=serial,
        tree=tree,
        identities=identities,
        projects=frozenset(projects),
        indexes=frozenset(indexes),
        names=frozenset(names),
    )


def together(several: Iterable[Touched], upto: Serial) -> Touched:
    """The things that several commits touched; `upto` is the last commit."""
    every = tuple(several)
    return Touched(
        upto=upto,
        tree=any(each.tree for each in every),
        identities=any(each.identities for each in every),
        projects=frozenset().union(*(each.projects for each in every)),
        indexes=frozenset().union(*(each.indexes for each in every)),
        names=frozenset().union(*(each.names for each in every)),
    )
