"""How an upstream's page differs from the stored one, as `MirrorPage`s. Pure.

Digests that the mirror computed itself (a sha256 of a fetched file, the digest of a sidecar) stay when the upstream does not give them.
Digests are trusted on first use: when an upstream changes the digest of a filename, the first digests stay, and `alarms` has a sentence
for the log.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage
from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.formats.versions import version_key
from pkgindex_core.models import File, Page, PageHead, PageRow, ProjectRow, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_mirror.documents.pages import PageListing

PART: Final = 10_000
"""Files of one commit."""
_ALARMS: Final = 100


class PageDifference:
    """Compares a page with the stored one; validators and times alone are no difference.

    Both are read in order of filenames, side by side, so that neither is in memory as a whole. `alarms` has one sentence for each file
    whose digest the upstream changed; it is complete after the last of `changes`.

    `rows`: the listing's files in one piece. They replace the listing's own files, and the page is stored in one piece. A whole page of
    these rows has them in `MirrorPage.kept` or, with `by_digest`, the name of their content.
    """

    def __init__(
        self,
        *,
        stored: Page | None,
        listing: PageListing,
        part: int,
        rows: KeptRows | None = None,
        by_digest: bool = False,
    ) -> None:
        self._stored = stored
        self._listing = listing
        self._part = part if rows is None else sys.maxsize
        self._rows = rows
        self._by_digest = by_digest
        self.alarms: list[str] = []

    def changes(
        self, index: IndexName, project: ProjectName, *, validators: Mapping[str, str], fetched: Timestamp
    ) -> Iterator[MirrorPage]:
        """The changes that make the stored page equal to the upstream's: none, one, or several parts in order."""
        stored = self._stored
        head = _head_of(self._listing, validators, fetched)
        if stored is None and self._rows is not None:
            yield MirrorPage(index, project, head, kept=self._rows.digest if self._by_digest else self._rows.kept)
            return
        waiting: MirrorPage | None = None
        for put, drop in self._parts():
            if waiting is not None:
                yield waiting
            waiting = MirrorPage(index, project, head, put, drop, part="first" if waiting is None else "middle")
        if waiting is not None:
            whole = replace(waiting, part="whole" if waiting.part == "first" else "last")
            yield whole if self._rows is None else _in_one_piece(whole, stored)
        elif stored is None or not _same_head(stored.head, head):
            yield MirrorPage(index, project, head)

    def _parts(self) -> Iterator[tuple[tuple[File, ...], tuple[str, ...]]]:
        put: list[File] = []
        drop: list[str] = []
        for row, filename, body in self._pairs():
            if body is None:
                drop.append(filename)
            elif row is None:
                put.append(decode_file(body))
            elif row.body != body:  # rows are mostly equal, and then not decoded
                put.extend(self._changed(decode_file(row.body), decode_file(body)))
            if len(put) + len(drop) >= self._part:
                yield tuple(put), tuple(drop)
                put, drop = [], []
        if put or drop:
            yield tuple(put), tuple(drop)

    def _pairs(self) -> Iterator[tuple[PageRow | None, str, bytes | None]]:
        """Each filename of either page, with its stored row and its listed file, encoded; None where one is missing."""
        stored = self._stored.rows if self._stored else ()
        if isinstance(stored, KeptRows) and self._rows is not None and stored.kept == self._rows.kept:
            return
        rows = iter(_by_filename(stored))
        row = next(rows, None)
        for filename, body in self._bodies():
            while row is not None and row.filename < filename:
                yield row, row.filename, None
                row = next(rows, None)
            if row is not None and row.filename == filename:
                yield row, filename, body
                row = next(rows, None)
            else:
                yield None, filename, body
        while row is not None:
            yield row, row.filename, None
            row = next(rows, None)

    def _bodies(self) -> Iterable[tuple[str, bytes]]:
        if self._rows is None:
            return self._listing.files.bodies()
        return ((row.filename, row.body) for row in self._rows)

    def _changed(self, known: File, listed: File) -> Iterator[File]:
        alarm = digest_alarm(known, listed)
        if alarm and len(self.alarms) < _ALARMS:
            self.alarms.append(alarm)
        merged = _merge_marks(known, listed) if alarm else _merge(known, listed)
        if merged != known:
            yield merged


def _in_one_piece(change: MirrorPage, stored: Page | None) -> MirrorPage:
    """The difference; the whole new page when the stored one is not in one piece yet."""
    if stored is None or isinstance(stored.rows, KeptRows):
        return change
    files = {row.filename: decode_file(row.body) for row in stored.rows} | {file.filename: file for file in change.put}
    for filename in change.drop:
        del files[filename]
    rows = keep(change.project, files.values())
    return replace(change, put=(), drop=(), kept=rows.kept) if rows.is_ordinary else change


def _head_of(listing: PageListing, validators: Mapping[str, str], fetched: Timestamp) -> PageHead:
    """The head of a page, from a listing."""
    spelled = {file.version for file in listing.files} if listing.versions else set()
    return PageHead(
        display_name=listing.display_name,
        versions=versions_without_files(listing.versions, spelled),
        status=listing.status,
        status_reason=listing.status_reason,
        validators=dict(validators),
        fetched=fetched,
    )


def _by_filename(rows: Collection[PageRow]) -> Iterable[PageRow]:
    return sorted(rows, key=attrgetter("filename")) if isinstance(rows, tuple) else rows


def digest_alarm(known: File, listed: File) -> str:
    """A sentence for the log if a listed digest contradicts the known one; otherwise empty."""
    for algorithm, digest in listed.digests.items():
        first = known.digests.get(algorithm)
        if first is not None and first != digest:
            return f"{known.filename!r}: the upstream's {algorithm} changed from {first} to {digest}; the first is kept"
    return ""


def _merge(known: File, listed: File) -> File:
    """The listed file, completed with what only the stored file has."""
    refuted = known.metadata_refuted
    if refuted is not None and listed.metadata_sha256 in {None, refuted}:
        offered = listed.metadata_offered and refuted != ""
        listed = replace(
            listed,
            metadata_sha256=known.metadata_sha256,
            metadata_offered=offered,
            metadata_refuted=refuted,
            metadata_from_ranges=known.metadata_from_ranges,
        )
    size = listed.size if listed.size is not None else known.size
    return replace(
        listed,
        # The digests do not contradict each other here: `digest_alarm` was asked. sha256 comes first, as everywhere.
        digests=_sha256_first({**known.digests, **listed.digests}),
        size=size,
        stated_size=known.stated_size if size is None else None,
        upload_time=listed.upload_time if listed.upload_time is not None else known.upload_time,
        # The earlier of the two times. A listed file has none when the mirror's option does not ask for it.
        first_seen=listed.first_seen and (known.first_seen or listed.first_seen),
        metadata_sha256=listed.metadata_sha256 or known.metadata_sha256,
        metadata_offered=listed.metadata_offered and not (listed.metadata_sha256 or known.metadata_sha256),
        metadata_from_ranges=listed.metadata_from_ranges
        or (known.metadata_from_ranges and listed.metadata_sha256 is None),
        publisher=known.publisher,
        former_publisher=known.former_publisher,
    )


def _merge_marks(known: File, listed: File) -> File:
    """The known file, with only the listed yank mark: the listed bytes are other bytes."""
    return replace(known, yanked=listed.yanked)


def _sha256_first(digests: Mapping[str, str]) -> dict[str, str]:
    return {name: digests[name] for name in sorted(digests, key=lambda name: (name != "sha256", name))}


def versions_without_files(versions: Sequence[str], spelled: Collection[str]) -> tuple[str, ...]:
    """The versions of a PEP 700 list that no file has. `spelled`: the versions of the files."""
    rest = [version for version in versions if version not in spelled]
    if not rest:
        return ()
    keys = {version_key(version) for version in spelled}  # equal for equal versions, and known since they were sorted
    return tuple(version for version in rest if version_key(version) not in keys)


def _same_head(stored: PageHead, new: PageHead) -> bool:
    return replace(new, validators=stored.validators, fetched=stored.fetched) == stored


class NamesPart(Struct, frozen=True, kw_only=True):
    """A part of the changes of a list of names."""

    put: tuple[tuple[ProjectName, str], ...]
    drop: tuple[ProjectName, ...]


class NamesMerge:
    """Compares two project lists, both ordered by normalised name, in one pass. The changes come in parts of at most `part` names."""

    def __init__(self, listed: Iterable[tuple[ProjectName, str]], *, part: int) -> None:
        self._rest = iter(listed)
        self._next = next(self._rest, None)
        self._part = part
        self._put: list[tuple[ProjectName, str]] = []
        self._drop: list[ProjectName] = []

    def feed(self, stored: Sequence[ProjectRow]) -> Iterator[NamesPart]:
        """Compare the next batch of stored rows. Take all parts that it yields before the next batch."""
        for row in stored:
            while self._next is not None and self._next[0] < row.name:
                self._put.append(self._next)
                self._next = next(self._rest, None)
                yield from self._full()
            if self._next is None or self._next[0] != row.name:
                self._drop.append(row.name)
            else:
                if self._next[1] != row.display_name:
                    self._put.append(self._next)
                self._next = next(self._rest, None)
            yield from self._full()

    def finish(self) -> Iterator[NamesPart]:
        """The parts that remain after the last stored row, perhaps none."""
        while self._next is not None:
            self._put.append(self._next)
            self._next = next(self._rest, None)
            yield from self._full()
        if self._put or self._drop:
            yield self._taken()

    def _full(self) -> Iterator[NamesPart]:
        if len(self._put) + len(self._drop) >= self._part:
            yield self._taken()

    def _taken(self) -> NamesPart:
        part = NamesPart(put=tuple(self._put), drop=tuple(self._drop))
        self._put, self._drop = [], []
        return part
