"""The role of a root: a place with distributions, and a listing of them that is kept up to date. A root is a local directory or an fsspec URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory.listing import Entry, RootListing
from pkgindex_core.errors import Unavailable
from pkgindex_core.names import ProjectName


class Changed(Unavailable):
    """The mark of a file is not the listed one: the file is being written, or was replaced."""

    def __init__(self) -> None:
        super().__init__("a file of the directory is changing", hint="ask again")


Heard = Callable[[], None]
"""Called when a root has a change that is not read yet."""


class NewFile(Struct, frozen=True):
    """The bytes of a file that is put into a root."""

    sha256: Sha256
    write: Callable[[Path], Awaitable[None]]
    """Writes them into a new file."""


class FileMove(Protocol):
    """A change to a root that can still be undone."""

    async def keep(self) -> None:
        """Make the change final, and remove the previous file. Durable when it returns."""
        ...

    async def undo(self) -> None:
        """Restore the state before the change."""
        ...


class Root(Protocol):
    """One root. `Unavailable` is raised when it cannot be read: its files are unknown then, not absent."""

    name: str
    """Its path or URL."""
    listing: RootListing
    """The files that were found. Changes only in the event loop's thread."""
    is_listed: bool
    """Whether the whole root was listed since it was opened."""
    grain: float
    """Seconds within which a file may change again without a new mark."""

    def is_current(self, project: ProjectName) -> bool:
        """Whether `update` has nothing to do. Synchronous and cheap."""
        ...

    async def update(self, project: ProjectName | None = None, *, again: bool = False) -> None:
        """Update the listing. If changes are not reported, the files of `project` are also checked one by one.

        `again` checks now, even if the last check is recent.
        """
        ...

    def reading(self, entry: Entry) -> AbstractAsyncContextManager[Path]:
        """A local file with the bytes of an entry, to be read in a worker. `Changed` if the mark differs before or after; `Unavailable`
        when the file cannot be read.
        """
        ...

    def place(self, entry: Entry) -> Path | None:
        """The path from which the file can be sent to a client; None if it is not on a local disk."""
        ...

    async def put(self, new: NewFile, filename: str, *, replaces: Entry | None) -> FileMove:
        """Write a file, durably and atomically. `FileExistsError`: the name is taken, and `replaces` is None."""
        ...

    async def remove(self, entry: Entry) -> FileMove:
        """Hide a file; `keep` removes it."""
        ...

    async def close(self) -> None: ...
