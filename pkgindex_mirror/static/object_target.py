"""A static tree on a medium of fsspec, such as a bucket of S3 or Google Cloud Storage.

Objects get the headers under which clients should have them. Files are copied by the store itself if the blobs lie on the same medium.
Elsewhere than in object stores a write can be seen half done: there an object is written under another name and moved.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.fsspec.listing import blob_path
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore, Place
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.object_headers import as_options
from pkgindex_mirror.static.serving import headers_of
from pkgindex_mirror.static.targets import Target, copy_checked

_AT_ONCE: Final = 16
"""Removals under way."""
_NEW: Final = ".pkgindex/new"
_LARGE: Final = ("files/", "packages.json", ".pkgindex/")
"""The start of paths of objects that may be sent in parts, since they are large. Other paths are not searched for leftovers: the bucket may have
other things beside the tree."""


class ObjectTarget:
    """A `Target` below `root` of a medium."""

    def __init__(
        self,
        medium: Medium,
        root: str,
        *,
        scheme: str,
        clock: Clock,
        blobs: BlobStore | None,
        workers: Executor,
        blobs_roots: Sequence[str] = (),
    ) -> None:
        """`blobs_roots` are where the blobs lie if the medium itself can copy them (`Medium.copies`)."""
        self._medium = medium
        self._root = root
        self._scheme = scheme
        self._clock = clock
        self._blobs = blobs
        self._blobs_roots = blobs_roots
        self._workers = workers
        self._operations = FileOperations()

    async def read(self, path: str) -> bytes | None:
        try:
            data: bytes = await self._medium.call("cat_file", self._path(path))
        except FileNotFoundError:
            return None
        return data

    async def write(self, objects: Mapping[str, bytes]) -> None:
        async def one(item: tuple[str, bytes]) -> None:
            await self._put(*item)
            failpoint("publish.put")

        await side_by_side(objects.items(), one)

    async def place(self, path: str, sha256: Sha256, outside: Place | None = None) -> None:
        if outside is not None:
            with tempfile.NamedTemporaryFile(prefix="pkgindex-", buffering=0) as copy:
                await in_worker(self._workers, "copying a file", copy_checked, outside, sha256, copy)
                await self._put(path, Path(copy.name))
            return
        assert self._blobs is not None
        for root in self._blobs_roots:
            source = blob_path(root, sha256)
            with suppress(FileNotFoundError):
                await self._medium.transfer(source, "cp_file", source, self._path(path), **self._replaced(path))
                return
        found = await self._blobs.locate(sha256, filename=path.rpartition("/")[2])
        if isinstance(found, Path):
            await self._put(path, found)
            return
        with tempfile.NamedTemporaryFile(prefix="pkgindex-", buffering=0) as copy:
            async for chunk in self._blobs.read(sha256):
                await in_worker(self._workers, "copying a file", self._operations.write, copy.fileno(), chunk)
            await self._put(path, Path(copy.name))

    async def remove(self, paths: Iterable[str]) -> None:
        await side_by_side(paths, self._remove, at_once=_AT_ONCE)

    async def walk(self, below: str) -> AbstractSet[str]:
        try:
            found: list[str] = await self._medium.call("find", self._path(below))
        except FileNotFoundError:
            return set()
        start = len(self._root.lstrip("/")) + 1
        return {name.lstrip("/")[start:] for name in found}

    async def settle(self) -> None:
        """Return at once: acknowledged objects are durable."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Remove the leftovers of a killed publisher. Other publishers are not kept out: those of one store agree by a lease in the store."""
        await self.remove(await self.walk(_NEW))
        now = self._clock.now() / 1_000_000
        for below in _LARGE:
            await self._medium.abort_parts(self._path(below), now)
        yield

    async def close(self) -> None:
        await self._medium.close()

    async def _put(self, path: str, data: bytes | Path) -> None:
        unsure = f"{self._root}/{_NEW}/{secrets.token_hex(8)}"
        await self._medium.put(data, unsure, self._path(path), self._said(path))

    async def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            await self._medium.ask("rm_file", self._path(path))

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _said(self, path: str) -> dict[str, Any]:
        """The headers of an object, in the words of the medium."""
        return as_options(headers_of(path), self._scheme)

    def _replaced(self, path: str) -> dict[str, Any]:
        """The same for a copy, as far as the medium lets a copy have others than the original."""
        return {**self._said(path), "MetadataDirective": "REPLACE"} if self._scheme in {"s3", "s3a"} else {}


if TYPE_CHECKING:
    _: type[Target] = ObjectTarget
