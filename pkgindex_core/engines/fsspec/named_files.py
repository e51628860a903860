"""Named files on a medium of fsspec, such as a bucket of S3.

    ROOT/lease/…      who has the turn (`object_lease`)
    ROOT/staging/…    what is being written, on media where writing can be seen half done

A file is durable when the medium has acknowledged it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.clock import Clock
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.object_lease import ObjectLease
from pkgindex_core.protocols.named_files import NamedFiles

_LEASE: Final = "lease"
_STAGING: Final = "staging"


class FsspecNamedFiles:
    """`NamedFiles` below `root` of a medium. `subject` is what they are, for messages: "this backup"."""

    def __init__(self, medium: Medium, root: str, *, subject: str, clock: Clock) -> None:
        self._medium = medium
        self._root = root
        self._lease = ObjectLease(medium, f"{root}/{_LEASE}", clock, subject=subject)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._lease.held():
            for name in await self._listed(_STAGING):  # of processes that were killed
                await self.remove(f"{_STAGING}/{name}")
            yield

    async def names(self, directory: str = "") -> Sequence[str]:
        found = await self._listed(directory)
        return found if directory else [name for name in found if name not in {_LEASE, _STAGING}]

    async def read(self, path: str) -> bytes | None:
        try:
            data: bytes = await self._medium.call("cat_file", f"{self._root}/{path}")
        except FileNotFoundError:
            return None
        return data

    async def write(self, path: str, data: bytes) -> None:
        draft = f"{self._root}/{_STAGING}/{secrets.token_hex(8)}"
        await self._medium.put(data, draft, f"{self._root}/{path}", {})

    async def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            await self._medium.ask("rm_file", f"{self._root}/{path}")

    async def close(self) -> None:
        await self._medium.close()

    async def _listed(self, directory: str) -> list[str]:
        place = f"{self._root}/{directory}".rstrip("/")
        try:
            found: list[Any] = await self._medium.call("ls", place, detail=False)
        except FileNotFoundError:
            return []
        # A medium may list an object of the name of the directory.
        return sorted(
            {str(path).rstrip("/").rpartition("/")[2] for path in found if str(path).strip("/") != place.strip("/")}
        )


if TYPE_CHECKING:
    _: type[NamedFiles] = FsspecNamedFiles
