"""One page that was learned and is not stored yet: changes, laid over what the store has of the page. Pure.

    what is shown = what is stored + all that was learned since, as one change (or two: a page in one piece, and a difference to that)

The change alone is kept in memory, so a digest that was learned of one file of a long page weighs as much as that file.
Laying a change over a page that has it already makes the same page: it does not matter whether a page is read before or after its commit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from hashlib import sha256
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows, page_content, rows_of
from pkgindex_core.models import File, IndexConfig, Page, PageRow, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules import change_rules

Key = tuple[IndexName, ProjectName]
OVERHEAD: Final = 512
"""Bytes that each page comes to besides its change."""

_by_filename = attrgetter("filename")


class State(Enum):
    """How far a learned page is on its way from memory into the store."""

    WAITING = "waiting"
    STORING = "storing"
    """A commit of it, or of what it was before more was learned, is under way."""
    STORED = "stored"
    LOST = "lost"


class LearnedPage:
    """A page as it is shown while its changes are pending."""

    def __init__(
        self,
        changes: tuple[MirrorPage, ...],
        *,
        base: Standing,
        standing: Standing,
        index: IndexConfig,
        who: str,
        lost: Callable[[], None],
        size: int,
    ) -> None:
        """`base` is how the store stands to the project, `standing` what is shown in its place, and how the store stands once it has the changes."""
        self.changes = tuple(replace(each, stamp=standing.stamp, content=standing.content) for each in changes)
        self.base = base
        self.standing = standing
        self.index = index
        self.who = who
        self.lost = lost
        self.size = size
        self.state = State.WAITING
        self.key = (changes[0].index, changes[0].project)
        self.head = changes[-1].head
        kept = self._kept
        self._strays = frozenset(kept.strays if kept is not None else ())
        self._put = {file.filename: file for file in changes[-1].put}
        self._drop = frozenset(changes[-1].drop)

    @property
    def is_whole(self) -> bool:
        """Whether the changes alone say what the page is."""
        return bool(self.changes[0].kept) or not self.base.holds

    def is_over(self, stored: Standing | Page | None) -> bool:
        """Whether what is stored is what the changes were made up from."""
        if stored is None:
            return not self.base.holds
        holds = stored.holds if isinstance(stored, Standing) else True
        return (stored.stamp, holds) == (self.base.stamp, self.base.holds)

    def knows(self, filename: str) -> bool:
        """Whether the changes alone say what becomes of a file."""
        return self.is_whole or filename in self._put or filename in self._drop

    def file(self, filename: str) -> File | None:
        """A file, as far as the changes say."""
        kept = self._kept
        if filename in self._put or filename in self._drop or kept is None:
            return self._put.get(filename)
        return kept.find(filename)

    def has_stray(self, filename: str) -> bool:
        """Whether a file that no name leads to may be one of this page's, as far as the changes say."""
        return filename in self._put or filename in self._strays

    def page(self, stored: Page | None) -> Page:
        """The page that is shown. `stored` is what the store has of it, with or without these changes; not needed of a whole one."""
        rows: Collection[PageRow] = tuple(map(page_row, self._put.values()))
        kept = self._kept
        below = kept if kept is not None else stored.rows if stored is not None else ()
        hidden = self._drop | self._put.keys()
        if not hidden:
            rows = below
        elif isinstance(below, tuple):
            rows = (*(row for row in below if row.filename not in hidden), *rows)
        else:
            rows = LaidOverRows(below, hidden, sorted(rows, key=_by_filename), self.standing.file_count)
        index, project = self.key
        return Page(
            index=index,
            project=project,
            stamp=self.standing.stamp,
            head=self.head,
            rows=rows,
            content=self.standing.content,
        )

    def digests(self) -> list[Sha256]:
        """The blobs that its files name, as far as the changes say."""
        put = [digest for file in self._put.values() for digest in (file.sha256, file.metadata_sha256) if digest]
        kept = self._kept
        return put if kept is None else [*put, *kept.blobs()]

    @property
    def _kept(self) -> KeptRows | None:
        """The page in one piece, if there is one. It is kept packed while it waits for the disk, since unpacked it is many times as large;
        only the last few that were used stay unpacked (`rows_of`).
        """
        return rows_of(self.changes[0].kept) if self.changes[0].kept else None

    def rebased(self, stored: Standing) -> None:
        """Lie over `stored` from now on: the page as it was before more was learned, which a commit has just stored."""
        self.base = stored
        self.state = State.WAITING


class LaidOverRows(Collection[PageRow]):
    """The rows of a long page with some others in their place, by filename, decoded while they are taken."""

    def __init__(
        self, stored: Collection[PageRow], hidden: Collection[str], put: Collection[PageRow], count: int
    ) -> None:
        self._stored = stored
        self._hidden = hidden
        self._put = put
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PageRow]:
        left = (row for row in self._stored if row.filename not in self._hidden)
        return heapq.merge(left, self._put, key=_by_filename)

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)


def in_a_row(first: tuple[MirrorPage, ...], then: MirrorPage) -> tuple[MirrorPage, ...]:
    """Join changes of a page and a further one into as few as do the same: at most a page in one piece and a difference to it."""
    if then.kept:
        return (then,)
    if first[-1].kept:
        return (*first, then)
    gone = set(then.drop)
    put = {file.filename: file for file in first[-1].put if file.filename not in gone}
    put |= {file.filename: file for file in then.put}
    drop = tuple(dict.fromkeys((*first[-1].drop, *then.drop)))
    return (*first[:-1], replace(then, put=tuple(put.values()), drop=drop))


def count_after(change: MirrorPage, before: int, known: Collection[str]) -> int:
    """How many files a page has after a change; `known` are those it had of the files that the change names."""
    if change.kept:
        return len(rows_of(change.kept))
    return before - len(known) + len({file.filename for file in change.put})


def weighed(change: MirrorPage, seen: Standing) -> tuple[int, str]:
    """How many bytes a change comes to, and a name for what it makes of a page: the same in every process that learns the same of the
    same page. What cannot be stored is `Refused`.
    """
    weight = len(change_rules.encoded_changes((replace(change, kept=b""),))) + len(change.kept) + OVERHEAD
    if change.kept:
        return weight, page_content(change.head, change.kept)
    shown = replace(
        change, head=replace(change.head, validators={}, fetched=None), stamp=seen.stamp, content=seen.content
    )
    return weight, sha256(change_rules.encoded_changes((shown,))).hexdigest()
