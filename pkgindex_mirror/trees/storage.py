"""The role of a tree's storage: where its objects lie. `local_storage` and `object_storage` play it.

Paths are relative to the directory of the mirror, with `/` between segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File
from pkgindex_mirror.syncing.targets import FileSink
from pkgindex_mirror.trees.records import RecordedFile


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

    async def digest(self, path: str, algorithm: str = "sha256") -> str | None:
        """Compute the digest of an object; None when it is not there."""
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


def digest_of(file: BufferedReader, algorithm: str) -> str:
    """The digest of a file. Other threads run meanwhile."""
    if algorithm == "blake2b_256":
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=32)).hexdigest()
    return hashlib.file_digest(file, algorithm).hexdigest()
