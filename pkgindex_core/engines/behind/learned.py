"""One page that was learned and is not stored yet: changes over the stored page. Pure.

    shown page = stored page + everything learned since, as one change (or two: a page in one piece, and a difference to it)

Only the changes are in memory, so the learned digest of one file of a long page takes little. Laying a change over a page that has it
already makes the same page, so the stored page may be read before or after the commit.
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
"""Bytes that are counted for a page besides its change."""

_by_filename = attrgetter("filename")


class State(Enum):
    """The state of a learned page on its way into the store."""

    WAITING = "waiting"
    STORING = "storing"
    """A commit of it is under way, or of an earlier version of it."""
    STORED = "stored"
    LOST = "lost"


class LearnedPage:
    """A page as it is shown while its changes are pending."""

    def __init__(
        self,
        changes: tuple[MirrorPage, ...],
        *,
        rows: KeptRows | None,
        base: Standing,
        standing: Standing,
        index: IndexConfig,
        who: str,
        lost: Callable[[], None],
        size: int,
    ) -> None:
        """`rows`: the page in one piece whose digest the first change has. `base`: the stored standing. `standing`: what is shown instead,
        and the stored standing after the commit.
        """
        self.changes = tuple(replace(each, stamp=standing.stamp, content=standing.content) for each in changes)
        self.joined = rows
        """The page in one piece that is not packed yet."""
        self.base = base
        self.standing = standing
        self.index = index
        self.who = who
        self.lost = lost
        self.size = size
        self.state = State.WAITING
        self.key = (changes[0].index, changes[0].project)
        self.head = changes[-1].head
        rows = self.rows
        self._strays = frozenset(rows.strays if rows is not None else ())
        self._put = {file.filename: file for file in changes[-1].put}
        self._drop = frozenset(changes[-1].drop)

    @property
    def is_whole(self) -> bool:
        """Whether the changes make the page without the stored one."""
        return bool(self.changes[0].kept) or not self.base.holds

    def is_over(self, stored: Standing | Page | None) -> bool:
        """Whether the changes were made for this stored state of the page."""
        if stored is None:
            return not self.base.holds
        holds = stored.holds if isinstance(stored, Standing) else True
        return (stored.stamp, holds) == (self.base.stamp, self.base.holds)

    def knows(self, filename: str) -> bool:
        """Whether the changes decide about a file."""
        return self.is_whole or filename in self._put or filename in self._drop

    def file(self, filename: str) -> File | None:
        """A file of the changes; None if they have no such file."""
        rows = self.rows
        if filename in self._put or filename in self._drop or rows is None:
            return self._put.get(filename)
        return rows.find(filename)

    def has_stray(self, filename: str) -> bool:
        """Whether the changes may have a file whose name does not lead to this project."""
        return filename in self._put or filename in self._strays

    def page(self, stored: Page | None) -> Page:
        """The page that is shown. `stored`: the stored page, with or without these changes; not needed if `is_whole`."""
        rows: Collection[PageRow] = tuple(map(page_row, self._put.values()))
        kept = self.rows
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
        """The blobs that the files of the changes name."""
        put = [digest for file in self._put.values() for digest in (file.sha256, file.metadata_sha256) if digest]
        kept = self.rows
        return put if kept is None else [*put, *kept.blobs()]

    @property
    def rows(self) -> KeptRows | None:
        """The page of the changes in one piece, if they have one. Once it is packed it stays so, since it is many times larger unpacked;
        the last few that were used stay unpacked (`rows_of`).
        """
        if self.joined is not None:
            return self.joined
        return rows_of(self.changes[0].kept) if self.changes[0].kept else None

    def packed(self) -> tuple[MirrorPage, ...]:
        """The changes as they are stored, with the page in place of its digest. Takes a while for a long page."""
        assert self.joined is not None
        return (replace(self.changes[0], kept=self.joined.kept), *self.changes[1:])

    def stay_packed(self, changes: tuple[MirrorPage, ...]) -> None:
        """Take what `packed` returned."""
        self.changes, self.joined = changes, None

    def rebased(self, stored: Standing) -> None:
        """Lie over `stored` from now on, after a commit of an earlier version of this page."""
        self.base = stored
        self.state = State.WAITING


class LaidOverRows(Collection[PageRow]):
    """The rows of a long page with some of them replaced, by filename, decoded during iteration."""

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
    """Join changes of a page with a further one: at most a page in one piece and a difference to it."""
    if then.kept:
        return (then,)
    if first[-1].kept:
        return (*first, then)
    gone = set(then.drop)
    put = {file.filename: file for file in first[-1].put if file.filename not in gone}
    put |= {file.filename: file for file in then.put}
    drop = tuple(dict.fromkeys((*first[-1].drop, *then.drop)))
    return (*first[:-1], replace(then, put=tuple(put.values()), drop=drop))


def count_after(change: MirrorPage, rows: KeptRows | None, before: int, known: Collection[str]) -> int:
    """The number of files of a page after a change. `rows`: those of `change.kept`; `known`: the files of the change that the page had before."""
    if rows is not None:
        return len(rows)
    return before - len(known) + len({file.filename for file in change.put})


def weighed(change: MirrorPage, rows: KeptRows | None, seen: Standing) -> tuple[int, str]:
    """The bytes that a change takes, and the content name of the page that it makes: equal in all processes that learn the same of the same
    page. `rows`: those of `change.kept`. Raises `Refused` for a change that cannot be stored.
    """
    weight = len(change_rules.encoded_changes((replace(change, kept=b""),))) + OVERHEAD
    if rows is not None:
        weight += rows.size
        return weight, page_content(change.head, rows)
    shown = replace(
        change, head=replace(change.head, validators={}, fetched=None), stamp=seen.stamp, content=seen.content
    )
    return weight, sha256(change_rules.encoded_changes((shown,))).hexdigest()
