"""One page that was learned and is not stored yet: a change, over what the store has of the page. Pure.

    what is shown = what is stored + all that was learned since, as one change

The change alone is kept in memory, so a digest that was learned of one file of a long page weighs as much as that file.
Laying a change over a page that has it already makes the same page: it does not matter whether a page is read before or after its commit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from hashlib import sha256
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, IndexConfig, Page, PageRow, Serial, Standing
from pkgindex_core.names import IndexName, ProjectName

Key = tuple[IndexName, ProjectName]

_by_filename = attrgetter("filename")
_encoder = msgspec.msgpack.Encoder()


class State(Enum):
    """What has become of something that was learned."""

    WAITING = "waiting"
    STORING = "storing"
    """A commit of it, or of what it was before more was learned, is under way."""
    STORED = "stored"
    LOST = "lost"


class LearnedPage:
    """A page as it is shown while its change is pending."""

    def __init__(
        self,
        change: MirrorPage,
        *,
        base: Standing,
        standing: Standing,
        unseen: bool,
        index: IndexConfig,
        who: str,
        lost: Callable[[], None],
        size: int,
    ) -> None:
        """`base` is how the store stands to the project, `standing` what is shown in its place; `unseen`: a commit keeps the stamp."""
        self.change = change
        self.base = base
        self.standing = standing
        self.unseen = unseen
        self.index = index
        self.who = who
        self.lost = lost
        self.size = size
        self.state = State.WAITING
        self._put = {file.filename: file for file in change.put}
        self._drop = frozenset(change.drop)

    @property
    def key(self) -> Key:
        return self.change.index, self.change.project

    def is_over(self, stored: Standing | Page | None) -> bool:
        """Whether what is stored is what the change was made up from."""
        if stored is None:
            return not self.base.holds
        holds = stored.holds if isinstance(stored, Standing) else True
        return (stored.stamp, holds) == (self.base.stamp, self.base.holds)

    def knows(self, filename: str) -> bool:
        """Whether the change alone says what becomes of a file."""
        return not self.base.holds or filename in self._put or filename in self._drop

    def file(self, filename: str) -> File | None:
        return self._put.get(filename)

    def page(self, stored: Page | None) -> Page:
        """The page that is shown. `stored` is what the store has of it, with or without this change."""
        put = {name: page_row(file) for name, file in self._put.items()}
        rows: Collection[PageRow] = tuple(put.values())
        if stored is not None:
            hidden = self._drop | put.keys()
            if isinstance(stored.rows, tuple):
                rows = (*(row for row in stored.rows if row.filename not in hidden), *rows)
            else:
                rows = LaidOverRows(stored.rows, hidden, sorted(rows, key=_by_filename), self.standing.file_count)
        return Page(
            index=self.change.index,
            project=self.change.project,
            stamp=self.standing.stamp,
            head=self.change.head,
            rows=rows,
            content=self.standing.content,
        )

    def digests(self) -> list[Sha256]:
        """The blobs that its files name."""
        return [digest for file in self._put.values() for digest in (file.sha256, file.metadata_sha256) if digest]

    def rebased(self, serial: Serial) -> None:
        """What it was before more was learned is stored by this commit."""
        self.base = replace(self.standing, stamp=serial)
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


def in_one(first: MirrorPage, then: MirrorPage) -> MirrorPage:
    """The one change that does what two do in a row."""
    gone = set(then.drop)
    put = {file.filename: file for file in first.put if file.filename not in gone}
    put |= {file.filename: file for file in then.put}
    return replace(then, put=tuple(put.values()), drop=tuple(dict.fromkeys((*first.drop, *then.drop))))


def count_after(change: MirrorPage, before: int, known: Collection[str]) -> int:
    """How many files a page has after a change; `known` are those it had of the files that the change names."""
    return before - len(known) + len({file.filename for file in change.put})


def weighed(change: MirrorPage, seen: Standing) -> tuple[int, str]:
    """How many bytes a change comes to, and a name for what it makes of a page."""
    encoded = _encoder.encode(change)
    before = f"{seen.stamp} {seen.content} ".encode()
    return len(encoded), sha256(before + encoded).hexdigest()
