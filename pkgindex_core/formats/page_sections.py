"""Sections of a long page: some hundred files each, compressed by themselves, so that a change writes few of them anew.

    rows of files, sorted  ->  sections  ->  one member of gzip
    a section + rows that came and went  ->  that section anew

A section begins at files whose names say so (`_begins`), so the same files make the same bytes, whatever the page was before. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, zip_longest
from operator import attrgetter, ne
from typing import Final, Protocol, runtime_checkable
from zlib import crc32

import msgspec
from msgspec import Struct

from pkgindex_core.compression import GzipPart, gzip_of, gzip_part, inflated
from pkgindex_core.formats.versions import SortKey, as_they_come, listed_versions, version_key, version_ranks
from pkgindex_core.protocols.policies import MergedPage, PageEntry

_MODULUS: Final = 128
"""The files of a section on average. Smaller sections compress worse, larger ones take longer to write."""


class Around(Struct, frozen=True):
    """The bytes before each piece, behind each, and between two files."""

    opening: bytes
    end: bytes
    joint: bytes

    @property
    def glue(self) -> bytes:
        return self.end + self.joint + self.opening


@runtime_checkable
class WritesPieces(Protocol):
    """A renderer whose pages are a frame around what it writes for each version and for each file."""

    def around(self, prefix: str) -> Around:
        """The bytes around pieces whose links have a prefix."""
        ...

    def frame(self, page: MergedPage) -> tuple[bytes, bytes, bytes]:
        """The bytes before the versions of a page, those between the versions and the files, and those behind the files."""
        ...

    def versions(self, versions: Sequence[str], *, first: bool) -> bytes:
        """Some versions, one at least; `first`: no others come before."""
        ...

    def pieces(self, entries: Sequence[PageEntry]) -> list[bytes] | None:
        """The text of each file without the bytes around it; None if it depends on other files."""
        ...


class PageWriting(Struct, frozen=True):
    """A renderer, and the bytes around its pieces."""

    renderer: WritesPieces
    around: Around


class PageLine(Struct, frozen=True, gc=False):
    """A file. Ten thousand of them do not start the garbage collector, as tuples would."""

    key: SortKey
    """That of its version."""
    filename: str
    version: str
    """As it is spelled."""
    piece: bytes


class PageSection(Struct, frozen=True):
    first: tuple[SortKey, str]
    """The key and the filename of its first file."""
    last: str
    """The version of its last file."""
    before: str | None
    """The version of the file before it; None: it is the first section."""
    listing: bytes
    """msgpack [versions, filenames, lengths of the pieces] of its files"""
    versions: GzipPart
    files: GzipPart


class NotInSectionsError(Exception):
    """The text of a file depends on files of other sections, so the page has to be written as a whole."""


_encode = msgspec.msgpack.Encoder().encode
_listing_decoder = msgspec.msgpack.Decoder(tuple[list[str], list[str], list[int]])
_first_of = attrgetter("first")
_key_of = attrgetter("key")
_filename_of = attrgetter("filename")


def rows_of(entries: Sequence[PageEntry], renderer: WritesPieces) -> list[PageLine]:
    """Files in the order of a page. Raises `NotInSectionsError`."""
    pieces = renderer.pieces(entries) if entries else []
    if pieces is None:
        raise NotInSectionsError
    versions = [entry.row.version for entry in entries]
    filenames = [entry.row.filename for entry in entries]
    return _sorted(map(PageLine, map(version_key, versions), filenames, versions, pieces))


def _sorted(rows: Iterable[PageLine]) -> list[PageLine]:
    """By version, then filename."""
    found = sorted(rows, key=_filename_of)
    found.sort(key=_key_of)
    return found


def edited(
    writing: PageWriting, sections: Sequence[PageSection], gone: Sequence[tuple[str, str]], came: Sequence[PageLine]
) -> Iterator[PageSection]:
    """The sections after a change. Those that it does not concern are the same values. `gone`: versions and filenames. Raises `NotInSectionsError`."""

    def place(key: SortKey, filename: str) -> int:
        return max(bisect_right(sections, (key, filename), key=_first_of) - 1, 0)

    put: dict[int, list[PageLine]] = {}
    drop: dict[int, set[str]] = {}
    for row in came:
        put.setdefault(place(row.key, row.filename), []).append(row)
    for version, filename in gone:
        at = place(version_key(version), filename)
        drop.setdefault(at, set()).add(filename)
        if at and sections[at].first[1] == filename:
            drop.setdefault(at - 1, set())  # nothing may divide the two sections now
    before: str | None = None
    pending: list[PageLine] = []
    for at, section in enumerate(sections):
        if at in put or at in drop:
            left = [row for row in _unpacked(writing.around, section) if row.filename not in drop.get(at, ())]
            pending += _sorted([*left, *put.get(at, ())])
            continue
        for each in written(writing, pending, before):
            yield each
            before = each.last
        pending = []
        if section.before != before:
            (section,) = written(writing, _unpacked(writing.around, section), before)  # noqa: PLW2901 - the same section
        yield section
        before = section.last
    yield from written(writing, pending, before)


def written(writing: PageWriting, rows: Sequence[PageLine], before: str | None = None) -> Iterator[PageSection]:
    """The sections of some rows behind a file of the version `before`; None: they are the first. Raises `NotInSectionsError`."""
    starts = [at for at, row in enumerate(rows) if not at or _begins(row.filename)]
    for start, stop in zip_longest(starts, starts[1:]):
        some = rows[start:stop]
        yield _section(writing, some, before)
        before = some[-1].version


def _begins(filename: str) -> bool:
    # The checksum is linear: names that differ in a digit need the multiplication to fall apart (Knuth's, by the golden ratio).
    return (crc32(filename.encode()) * 0x9E3779B1 >> 24) % _MODULUS == 0


def _section(writing: PageWriting, rows: Sequence[PageLine], before: str | None) -> PageSection:
    spelled, filenames = [row.version for row in rows], [row.filename for row in rows]
    pieces = [row.piece for row in rows]
    versions = dict.fromkeys(spelled)
    if before is not None and rows[0].key == version_key(before):
        # The section before lists this version, as it is spelled there.
        if any(version != before for version in spelled[: bisect_right(rows, rows[0].key, key=_key_of)]):
            raise NotInSectionsError
        del versions[before]
    if any(not version or version != version.strip() for version in versions):
        raise NotInSectionsError  # no version, or perhaps one that is listed once more
    first = before is None
    listed = _listed([*versions])
    around = writing.around
    files = around.opening + around.glue.join(pieces) + around.end
    return PageSection(
        (rows[0].key, filenames[0]),
        spelled[-1],
        before,
        _encode((spelled, filenames, [*map(len, pieces)])),
        gzip_part(writing.renderer.versions(listed, first=first) if listed else b""),
        gzip_part(files if first else around.joint + files),
    )


def _listed(versions: Sequence[str]) -> tuple[str, ...]:
    """One spelling of each version, in order; equal versions are side by side."""
    keys = [*map(version_key, versions)]
    if all(map(ne, keys, keys[1:])):
        return as_they_come(versions)
    return listed_versions(version_ranks(versions))


def _unpacked(around: Around, section: PageSection) -> list[PageLine]:
    spelled, filenames, lengths = _listing_decoder.decode(section.listing)
    text, glue = inflated(section.files), len(around.glue)
    first = len(around.opening) + (0 if section.before is None else len(around.joint))
    places = accumulate((length + glue for length in lengths), initial=first)
    pieces = [text[place : place + length] for place, length in zip(places, lengths, strict=False)]
    return [*map(PageLine, map(version_key, spelled), filenames, spelled, pieces)]


def joined(sections: Sequence[PageSection], frame: tuple[bytes, bytes, bytes]) -> tuple[bytes, Sequence[PageSection]]:
    """A page as one member of gzip, and its sections with views of it: they do not hold the bytes of a former page."""
    opening, middle, end = frame
    body, views = gzip_of(
        [
            gzip_part(opening),
            *(each.versions for each in sections),
            gzip_part(middle),
            *(each.files for each in sections),
            gzip_part(end, is_last=True),
        ]
    )
    parts = zip(sections, views[1 : len(sections) + 1], views[len(sections) + 2 : -1], strict=True)
    return body, [
        PageSection(each.first, each.last, each.before, each.listing, versions, files)
        for each, versions, files in parts
    ]
