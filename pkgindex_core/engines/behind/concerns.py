"""The pending pages that a write concerns, and the requirements of a commit of pending pages. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropMirrorPage,
    IndexIs,
    MirrorPage,
    ProjectAt,
    PutIndex,
    Requirement,
)
from pkgindex_core.engines.behind.learned import Key, LearnedPage
from pkgindex_core.names import IndexName


def concerned(changes: Sequence[Change], require: Sequence[Requirement]) -> tuple[set[Key], set[IndexName]]:
    """The mirrored pages, and the indexes with all of their pages, that a write changes or requires something of."""
    pages: set[Key] = set()
    indexes: set[IndexName] = set()
    for each in (*changes, *require):
        match each:
            case MirrorPage() | DropMirrorPage() | ProjectAt():
                pages.add((each.index, each.project))
            case PutIndex():
                indexes.add(each.config.name)
            case DropIndex():
                indexes.add(each.name)
            case _:
                pass
    return pages, indexes


def unchanged(pages: Sequence[LearnedPage]) -> Sequence[Requirement]:
    """The requirements of a commit of pending pages: neither their indexes nor the stored pages have changed."""
    configs = {page.index.name: page.index for page in pages}
    return (
        *(IndexIs(config) for config in configs.values()),
        *(ProjectAt(*page.key, page.base.stamp, page.base.content) for page in pages),
    )
