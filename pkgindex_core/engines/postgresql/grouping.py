"""Tells which lists of changes can be planned by the same facts: those that name different rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    DropAttachment,
    DropFile,
    DropMirrorPage,
    DropRelease,
    FileAbsent,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutProject,
    PutRelease,
    Requirement,
    WithinQuotas,
    YankFile,
)

Footprint: TypeAlias = tuple[str, ...]
"""A project, a filename, or a list of names, by its index."""


def footprint(changes: Iterable[Change], require: Iterable[Requirement]) -> set[Footprint] | None:
    """The things that a list of changes writes, or that it looks at and another list of its group may write. None: the list is planned alone.

    Configurations and users are not among them, because lists that write those are planned alone.
    """
    named: set[Footprint] = set()
    for requirement in require:
        match requirement:
            case FileAbsent(index, filename):
                named.add(("file", index, filename))
            case AttachmentAbsent(index, project) | ProjectAt(index, project):
                named.add(("project", index, project))
            case WithinQuotas(index):
                named.add(("sizes", index))
            case _:
                pass
    for change in changes:
        match change:
            case PutFile(index, project, file):
                named |= {("project", index, project), ("file", index, file.filename)}
            case DropFile(index, project, filename) | YankFile(index, project, filename):
                named |= {("project", index, project), ("file", index, filename)}
            case (
                PutProject(index, project)
                | PutRelease(index, project)
                | DropRelease(index, project)
                | PutAttachment(index, project)
                | DropAttachment(index, project)
                | MirrorPage(index, project)
                | DropMirrorPage(index, project)
            ):
                named.add(("project", index, project))
            case MirrorNames(index):
                named.add(("names", index))
            case _:
                return None
    return named
