"""Finds the digests of the files of a tree, without reading again what has not changed.

A file that looks as it did when the tree was last walked (size, time and inode) has the digest that it had. The digests of new packages are in their
pages. All other files are read. The order of walks and of stamps is the same, so both are compared in one pass.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.errors import Conflict, Corrupt
from pkgindex_mirror.bundles.apply_bundle import order_of
from pkgindex_mirror.snapshots.listings import lines_from, lines_to
from pkgindex_mirror.snapshots.walking import WalkedFile, walk

_JSON_PAGES: Final = ("index.v1_json", "index.json")
_HTML_PAGE: Final = "index.html"
_LINK: Final = re.compile(rb'href="([^"#]{1,2000})#sha256=([0-9a-f]{64})"')
_RACY_NS: Final = 2_000_000_000
"""A file that was written so shortly before a walk could be written again without looking otherwise."""
_UNKNOWN: Final = "-"
_LARGEST: Final = 2**63 - 1
"""Bytes of the largest file that a file system and the temporary database know."""


class StampedFile(Struct, frozen=True, gc=False):
    """A file of a tree with its digest."""

    file: WalkedFile
    sha256: Sha256


class _PageFile(Struct):
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None


class _FilePage(Struct):
    files: list[_PageFile]


class PageDigests:
    """The digests that pages name, by path, in a temporary database: a large mirror has too many for memory."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("create table digests (path text primary key, sha256 text, size integer) without rowid")

    def learn(self, path: str, data: bytes) -> None:
        """Note what a page says. A page, a link or a size that cannot be read says nothing."""
        rows = [
            (place, sha256, size)
            for url, sha256, size in _named_in(path, data)
            if (place := self._place(path, url)) and (size is None or 0 <= size <= _LARGEST)
        ]
        self._database.executemany("insert or replace into digests values (?, ?, ?)", rows)

    def find(self, file: WalkedFile) -> Sha256 | None:
        row = self._database.execute("select sha256, size from digests where path = ?", (file.path,)).fetchone()
        return Sha256(row[0]) if row is not None and row[1] in {None, file.size} else None

    def _place(self, page: str, url: str) -> str:
        """The path of a file in the tree; empty when the URL cannot be read. An absolute URL names it from `packages` on."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return ""
        path = unquote(parts.path)
        if parts.scheme or path.startswith("/"):
            site = page.partition("simple/")[0]
            return normpath(join(site, "packages", path.partition("/packages/")[2]))
        return normpath(join(dirname(page), path))


@contextmanager
def page_digests(place: Path) -> Iterator[PageDigests]:
    """Open the temporary database."""
    database = sqlite3.connect(place, isolation_level=None)
    try:
        database.execute("pragma journal_mode = off")
        database.execute("pragma synchronous = off")
        database.execute("begin")
        yield PageDigests(database)
    finally:
        database.close()
        place.unlink(missing_ok=True)


def stamped_files(root: Path, stamps: Path, *, scratch: Path) -> Iterator[StampedFile]:
    """The files of a tree with their digests, sorted. `stamps` are those of the walk before; `scratch` is a directory for temporary files."""
    walked = scratch / "walked.gz"
    with page_digests(scratch / "digests.db") as digests:
        with lines_to(walked) as lines:
            for file, known in _joined(walk(root), _read_stamps(stamps)):
                if known is None and _is_page(file.path):
                    digests.learn(file.path, _read(root, file))
                lines.write(_line(file, known or _UNKNOWN))
        for file, known in _parsed(walked):
            yield StampedFile(file, known or digests.find(file) or digest_of(root, file))
    walked.unlink()


def certain(stamped: StampedFile, walked: Timestamp) -> StampedFile:
    """The stamp of a file for later walks. One that could have been written again unnoticed since `walked` gets a stamp that fits no file."""
    if stamped.file.modified_ns < walked * 1000 - _RACY_NS:
        return stamped
    return StampedFile(replace(stamped.file, inode=0), stamped.sha256)


def stamped_line(stamped: StampedFile) -> bytes:
    return _line(stamped.file, stamped.sha256)


def read_stamped(place: Path) -> Iterator[StampedFile]:
    """The files of the lines of `stamped_line`."""
    for file, digest in _parsed(place):
        assert digest is not None
        yield StampedFile(file, digest)


def digest_of(root: Path, file: WalkedFile) -> Sha256:
    """Read a file. Raises `Conflict` when it is not the one that was walked."""
    with _opened(root, file.path).open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if opened.tell() != file.size:
            raise changed(file.path)
    return Sha256(digest)


def changed(path: str) -> Conflict:
    """The error when a file changes while a snapshot is taken."""
    return Conflict(f"{path} changed while the snapshot was taken", hint="let the sync end, and try again")


def _opened(root: Path, path: str) -> Path:
    place = root / path
    if not place.is_file():
        raise changed(path)
    return place


def _read(root: Path, file: WalkedFile) -> bytes:
    return _opened(root, file.path).read_bytes()


def _is_page(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    return "simple/" in directory and name in {*_JSON_PAGES, _HTML_PAGE}


def _named_in(path: str, data: bytes) -> Iterator[tuple[str, str, int | None]]:
    if path.endswith(_HTML_PAGE):
        yield from ((url.decode(errors="replace"), digest.decode(), None) for url, digest in _LINK.findall(data))
        return
    try:
        page = msgspec.json.decode(data, type=_FilePage)
    except (msgspec.DecodeError, RecursionError):
        return
    for file in page.files:
        if (digest := parse_sha256(file.hashes.get("sha256", ""))) is not None:
            yield file.url, digest, file.size


def _line(file: WalkedFile, digest: str) -> bytes:
    return f"{digest} {file.size} {file.modified_ns} {file.inode} {file.path}\n".encode()


def _parsed(place: Path) -> Iterator[tuple[WalkedFile, Sha256 | None]]:
    for line in lines_from(place):
        digest, size, modified_ns, inode, path = line.split(" ", 4)
        yield WalkedFile(path, int(size), int(modified_ns), int(inode)), None if digest == _UNKNOWN else Sha256(digest)


def _read_stamps(place: Path) -> Iterator[tuple[WalkedFile, Sha256 | None]]:
    """The stamps of the walk before, if it left any. Damaged ones are only a loss of time."""
    try:
        yield from _parsed(place)
    except (Corrupt, ValueError):
        return


def _joined(
    files: Iterator[WalkedFile], stamps: Iterator[tuple[WalkedFile, Sha256 | None]]
) -> Iterator[tuple[WalkedFile, Sha256 | None]]:
    """Each file with the digest of its stamp, if it looks as it did."""
    stamp = next(stamps, None)
    for file in files:
        while stamp is not None and order_of(stamp[0].path) < order_of(file.path):
            stamp = next(stamps, None)
        yield file, stamp[1] if stamp is not None and stamp[0] == file else None
