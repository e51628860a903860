"""The role of named files: small files in one place, each written and read as a whole. A backup keeps its lists and commits so.

Paths are relative, in ASCII, with `/` between segments. The contract suite is `pkgindex_core.testing.named_files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class NamedFiles(Protocol):
    """Files below one directory or URL. Nothing is made before the first `turn` or `write`.

    If the medium fails, `StorageFull` or `Unavailable` is raised. A file that was being written is then the old one or the new one.
    """

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Keep other writers out. Raises `Conflict` while another has the turn, and when the turn was lost to another.

        The turn of a process that dies ends by itself: at once on a local disk, later elsewhere.
        """
        ...

    async def names(self, directory: str = "") -> Sequence[str]:
        """The sorted names of the files and directories in a directory; none if there is no such directory. Hidden ones are left out."""
        ...

    async def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if there is no such file."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Write a file, or replace it. It is seen whole or not at all, and is durable when this returns."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, durably. One that is not there is no error."""
        ...

    async def close(self) -> None: ...
