"""Blobs behind any fsspec URL: object stores, memory, remote file systems.

fsspec names and configures the media, and is called through eight methods that all of them have. The tree is that of the
local store, so one can be copied onto the other:

    ROOT/sha256/ab/abcdef01…              a blob
    ROOT/damaged/abcdef01….89abcdef       a blob that was damaged and set aside
    ROOT/owner                            the identity of the index that the blobs belong to
    ROOT/staging/SECONDS-RANDOM.part      an upload on a medium whose writes are not atomic; swept by its SECONDS

`media` knows which writes appear whole, and which go to `staging/` and are moved.

A blob is as durable as the medium's own acknowledgement. fsspec's local file system is refused here because it never calls
fsync (`engines.local` does). Bytes are collected in a local spool file first, so the key is known before the upload.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.engines.fsspec.failures import is_beyond_the_end
from pkgindex_core.engines.fsspec.listing import blob_of, blob_path, name_of
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.reading import read_ahead
from pkgindex_core.engines.fsspec.signing import Signer
from pkgindex_core.engines.local.blob_tree import SHARD_DIGITS
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.engines.local.owner_mark import OWNER, owner_of
from pkgindex_core.engines.local.spooling import LocalSpool, sweep_spools
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, SignedUrl, Span
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache

RENEW_AFTER: Final = 3600.0
"""Seconds after which stored equal bytes are written again. Garbage is collected by age, and few media can change the age of an
object without writing it."""

_DOUBTED: Final = 10_000
"""Number of blobs that are remembered as doubted."""


class FsspecBlobs:
    """A `BlobStore` below `root` of a medium. Construct, then `open`."""

    def __init__(
        self, medium: Medium, root: str, *, signer: Signer, clock: Clock, workers: Executor, spool: Path
    ) -> None:
        self._medium = medium
        self._root = root
        self._signer = signer
        self._clock = clock
        self._workers = workers
        self._spools = spool
        self._operations = FileOperations()
        self._doubted: BoundedCache[Sha256, bool] = BoundedCache(_DOUBTED)
        """Blobs that a row promised and a reader did not find whole."""

    async def open(self) -> None:
        await in_worker(self._workers, "opening the spool", self._operations.make_directory, self._spools)
        await self.stat(Sha256("0" * 64))

    def spool(self, *algorithms: str) -> LocalSpool:
        return LocalSpool(self._spools, self._keep, algorithms, workers=self._workers, operations=self._operations)

    async def put(self, data: bytes) -> Blob:
        async with self.spool() as spool:
            await spool.write(data)
            return await spool.keep()

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        if parse_sha256(key) != key:
            raise Missing("blob", key)
        if span is None:
            blob = await self.stat(key)
            if blob is None:
                self._doubted.put(key, True)
                raise Missing("blob", key)
            if not blob.size:
                return
            span = Span(0, blob.size)
        try:
            async for chunk in read_ahead(partial(self._window, key), span, what=f"blob {key}"):
                yield chunk
        except (Missing, Corrupt):
            self._doubted.put(key, True)
            raise

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:
        if parse_sha256(key) != key:  # only a sha256 may become part of a path
            return None
        if promised is not None and self._doubted.get(key) is None:
            return Blob(key, promised)
        try:
            info = await self._medium.ask("info", self._path(key))
        except FileNotFoundError:
            return None
        self._doubted.drop(key)
        return blob_of(key, info)

    async def locate(
        self, key: Sha256, *, filename: str, expires: int = 300, may_redirect: bool = False
    ) -> SignedUrl | None:
        """A signed URL, also of a blob that is not stored: to look would take a request."""
        if not may_redirect or parse_sha256(key) != key:
            return None
        url = await self._signer.sign(self._path(key), filename=filename, expires=expires)
        return None if url is None else SignedUrl(url)

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        # Object stores report success for removing a missing object, and few can remove one only if it is still the same.
        there = await self.stat(key)
        if there is None or modified not in {None, there.modified}:
            return False
        try:
            await self._medium.ask("rm_file", self._path(key))
        except FileNotFoundError:
            return False
        return True

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        # A shard at a time: one listing of everything would hold every name in memory.
        for shard in await self._shards(prefix[:SHARD_DIGITS]):
            for info in await self._list(f"{self._root}/sha256/{shard}"):
                key = parse_sha256(name_of(info))
                if (
                    key == name_of(info)
                    and key.startswith(shard)
                    and key.startswith(prefix)
                    and (blob := blob_of(key, info))
                ):
                    yield blob

    async def _shards(self, first: str) -> list[str]:
        if len(first) == SHARD_DIGITS:
            return [first]
        names = {name_of(info) for info in await self._list(f"{self._root}/sha256")}
        return sorted(name for name in names if name.startswith(first))

    async def set_aside(self, key: Sha256) -> bool:
        # No medium moves an object conditionally: one that is replaced between the last look and the removal is removed too.
        if parse_sha256(key) != key or (blob := await self.stat(key)) is None:
            return False
        async with self.spool() as spool:
            with suppress(Corrupt, Missing):  # keep the readable part
                async for chunk in self.read(key, Span(0, blob.size) if blob.size else None):
                    await spool.write(chunk)
            if await in_worker(self._workers, "reading a damaged blob", _seal, spool) == key:
                return False
            aside = f"{self._root}/damaged/{key}.{secrets.token_hex(4)}"
            await self._medium.place(spool, self._unsure(), aside)
            failpoint("aside.moved")
            self._doubted.put(key, True)
            return await self.drop(key, modified=blob.modified)

    async def owner(self) -> str:
        try:
            return owner_of(await self._medium.call("cat_file", f"{self._root}/{OWNER}"))
        except FileNotFoundError:
            return ""

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        there = await self.owner()
        if there and (there == identity or not instead):
            return there
        mark, path = f"{identity}\n".encode(), f"{self._root}/{OWNER}"
        if there or not self._medium.is_object_store:
            async with self.spool() as spool:
                await spool.write(mark)
                await self._medium.place(spool, self._unsure(), path)
        elif not await self._medium.create(path, mark) and instead:
            return await self.claim(identity, instead=True)
        failpoint("owner.kept")
        # Not every medium can write only if the name is free, so the mark is read again: there the last of several writers wins.
        return await self.owner()

    async def sweep(self, *, older_than: float) -> int:
        spooled = partial(sweep_spools, self._spools, older_than=older_than)
        swept = await in_worker(
            self._workers, "sweeping the spool", partial(spooled, clock=self._clock, operations=self._operations)
        )
        horizon = self._clock.now() / 1_000_000 - older_than
        for info in await self._list(f"{self._root}/staging"):
            begun, dash, _ = name_of(info).partition("-")
            if dash and begun.isdecimal() and int(begun) <= horizon:
                with suppress(FileNotFoundError):
                    await self._medium.ask("rm_file", info["name"])
                    swept += 1
        return swept + await self._medium.abort_parts(f"{self._root}/sha256/", horizon)

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("doubted_blobs", self._doubted)]

    async def close(self) -> None:
        await self._signer.close()
        await self._medium.close()

    async def _keep(self, spool: LocalSpool) -> Blob:
        key = await in_worker(self._workers, "spooling new bytes", _seal, spool)
        there = await self.stat(key)
        if there is None or there.size != spool.size or self._clock.now() / 1e6 - there.modified > RENEW_AFTER:
            there = await self._placed(key, spool, there)
        if there is None or there.size != spool.size:
            raise Unavailable("the blob store took new bytes but does not show them", hint="send them again")
        return there

    async def _placed(self, key: Sha256, spool: LocalSpool, before: Blob | None) -> Blob | None:
        try:
            await self._medium.place(spool, self._unsure(), self._path(key))
        except Unavailable as error:
            # The bytes may be there although the answer was lost. Then the medium shows another object than before.
            try:
                there = await self.stat(key)
            except Unavailable:
                raise error from error.__cause__
            if there is None or there == before or there.size != spool.size:
                raise
            return there
        return await self.stat(key)

    async def _window(self, key: Sha256, span: Span) -> bytes:
        try:
            # By name: the second parameter of s3fs's method is the version of the object.
            chunk: bytes = await self._medium.transfer(
                self._path(key), "cat_file", self._path(key), start=span.start, end=span.stop
            )
        except FileNotFoundError:
            raise Missing("blob", key) from None
        except Unavailable as error:
            # Some media raise an error for a span beyond the end of an object; the size tells whether that is the cause.
            if not is_beyond_the_end(error):
                raise
            blob = await self.stat(key)
            if blob is None or blob.size >= span.stop:
                raise
            return b""
        return chunk

    async def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            listed: list[dict[str, Any]] = await self._medium.transfer(path, "ls", path, detail=True)
        except FileNotFoundError:
            return []
        return listed

    def _unsure(self) -> str:
        return f"{self._root}/staging/{self._clock.now() // 1_000_000}-{secrets.token_hex(16)}.part"

    def _path(self, key: Sha256) -> str:
        return blob_path(self._root, key)


def _seal(spool: LocalSpool) -> Sha256:
    with spool.lock:
        key = spool.sha256()
        if spool.in_memory() is None:
            spool.spill()
        return key


if TYPE_CHECKING:
    _: type[BlobStore] = FsspecBlobs
