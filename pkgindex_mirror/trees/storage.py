"""The role of a tree's storage: where its objects lie. `local_storage` and `object_storage` play it.

Paths are relative to the directory of the mirror, with `/` between segments.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File
from pkgindex_mirror.syncing.targets import FileSink
from pkgindex_mirror.trees.records import RecordedFile

_FIRST_PIECE: Final = 64 * 1024
"""Bytes that are read at first: most files have less, and room for a large piece costs more than to read such a file."""
_PIECE: Final = 1024 * 1024


class StoredObject(Struct, frozen=True, gc=False):
    """Size and modification time of an object, as its storage tells them."""

    size: int
    modified: Timestamp


class PageBatch(Struct, kw_only=True):
    """Objects that appear together: all their bytes are durable before the first of them is seen."""

    written: dict[str, bytes]
    copies: dict[str, str]
    """Paths that have the bytes of another path of `written`. A storage may link them."""
    links: dict[str, str]
    """Paths that lead to another path of `written`. A storage without symbolic links copies."""


Asked = tuple[str, str]
"""A path, and the algorithm of a digest: a name of `hashlib`, or `blake2b_256`."""
Kept = Callable[[str, RecordedFile], None]
"""Is told, in the event loop, that a file was kept at a path."""


class TreeStorage(Protocol):
    """A place for the objects of a tree. Foreign exceptions leave as `Unavailable` or `StorageFull`.

    A file that was kept is in its place, and durable after `settle`.
    """

    @property
    def database(self) -> Path:
        """Where the rows of the mirror are while the tree is open."""
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Keep other runs out. Raises `Conflict` when one is at work."""
        ...

    async def read(self, path: str) -> bytes | None: ...

    async def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]: ...

    async def write(self, batch: PageBatch) -> None:
        """Write objects. They are durable when this returns, and none is seen before the bytes of all of them are."""
        ...

    async def stat(self, paths: Sequence[str]) -> Sequence[StoredObject | None]:
        """Size and time of each path; None for one that is not there."""
        ...

    async def digests(self, asked: Sequence[Asked]) -> Sequence[str | None]:
        """Read objects, and compute a digest of each; None for one that is not there."""
        ...

    async def place(self, path: str, data: bytes, modified: Timestamp) -> StoredObject | None:
        """Put whole small bytes, which were checked, at a path where nothing is. None: a `sink` has to do it."""
        ...

    def sink(self, file: File, path: str, kept: Kept) -> AbstractAsyncContextManager[FileSink]: ...

    async def adopt(self, path: str, modified: Timestamp) -> StoredObject | None:
        """Give a file that is there the time of its upload; None when it cannot be given one. Returns what it is then."""
        ...

    async def remove(self, paths: Iterable[str]) -> None:
        """Remove objects, and directories that become empty. Those that are not there are no error."""
        ...

    async def names(self, directory: str) -> Sequence[str]:
        """The names of the entries of a directory; none when there is no such directory."""
        ...

    def walk(self, directory: str) -> AsyncIterator[Sequence[str]]:
        """The paths of all objects below a directory, in batches."""
        ...

    async def settle(self) -> None:
        """Return when everything that was written or kept survives a power cut."""
        ...

    async def fetch_rows(self) -> None:
        """Bring the rows of the last run to `database`, if they are elsewhere."""
        ...

    def rows_are_due(self) -> bool:
        """Whether the rows should be put back now, since they are elsewhere and a killed run would lose many."""
        ...

    async def save_rows(self) -> None:
        """Put the rows where the next run finds them. Called after they were made durable at `database`."""
        ...

    async def close(self) -> None: ...


def digest_of(place: str, algorithm: str) -> str:
    """The digest of a local file. Other threads run while a large one is read."""
    hasher = hashlib.blake2b(digest_size=32) if algorithm == "blake2b_256" else hashlib.new(algorithm)
    for piece in _pieces(place):
        hasher.update(piece)
    return hasher.hexdigest()


def content_of(place: str) -> bytes:
    """The bytes of a local file."""
    return b"".join(_pieces(place))


def _pieces(place: str) -> Iterator[bytes]:
    """The bytes of a file, by no more calls of the system than they need."""
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = _FIRST_PIECE
        while piece := os.read(descriptor, size):
            yield piece
            if len(piece) == size:
                size = _PIECE
    finally:
        os.close(descriptor)
