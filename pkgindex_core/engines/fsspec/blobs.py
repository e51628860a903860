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

import errno
import secrets
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.clock import Clock, from_rfc3339
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.engines.fsspec.media import Medium, connect
from pkgindex_core.engines.local.blob_tree import SHARD_DIGITS
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.engines.local.owner_mark import OWNER, owner_of
from pkgindex_core.engines.local.spooling import LocalSpool, sweep_spools
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span

WINDOW: Final = 4 << 20
"""The bytes of one ranged read. Not every medium has streams in fsspec."""

RENEW_AFTER: Final = 3600.0
"""Seconds after which stored equal bytes are written again. Garbage is collected by age, and few media can change the age of an
object without writing it."""

_MODIFIED_NAMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


async def open_fsspec(url: str, context: Context) -> FsspecBlobs:
    """Open the store of a URL of any protocol that fsspec knows; `settings["storage_options"]` go to its file system.

    Raises at once when the medium cannot be asked.
    """
    medium, root = await connect(
        url, workers=context.workers, storage_options=context.settings.get("storage_options", {})
    )
    store = FsspecBlobs(medium, root, clock=context.clock, workers=context.workers, spool=context.data / "spool")
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


class FsspecBlobs:
    """A `BlobStore` below `root` of a medium. Construct, then `open`."""

    def __init__(self, medium: Medium, root: str, *, clock: Clock, workers: Executor, spool: Path) -> None:
        self._medium = medium
        self._root = root
        self._clock = clock
        self._workers = workers
        self._spools = spool
        self._operations = FileOperations()

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
                raise Missing("blob", key)
            span = Span(0, blob.size)
        offset = span.start
        while offset < span.stop:
            chunk = await self._window(key, offset, min(offset + WINDOW, span.stop))
            if not chunk:
                raise Corrupt(f"blob {key} ended at {offset} bytes, {span.stop} were expected", hint="send it again")
            offset += len(chunk)
            yield chunk

    async def stat(self, key: Sha256) -> Blob | None:
        if parse_sha256(key) != key:  # only a sha256 may become part of a path
            return None
        try:
            info = await self._medium.ask("info", self._path(key))
        except FileNotFoundError:
            return None
        return _blob(key, info)

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300) -> None:
        """Return None: not all media have paths or signed URLs."""

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
                key = parse_sha256(_name(info))
                if (
                    key == _name(info)
                    and key.startswith(shard)
                    and key.startswith(prefix)
                    and (blob := _blob(key, info))
                ):
                    yield blob

    async def _shards(self, first: str) -> list[str]:
        if len(first) == SHARD_DIGITS:
            return [first]
        names = {_name(info) for info in await self._list(f"{self._root}/sha256")}
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
            return await self.drop(key, modified=blob.modified)

    async def owner(self) -> str:
        try:
            return owner_of(await self._medium.call("cat_file", f"{self._root}/{OWNER}"))
        except FileNotFoundError:
            return ""

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        # Few media can write only if the name is free, so the mark is read again: the last of several writers wins.
        there = await self.owner()
        if there and (there == identity or not instead):
            return there
        async with self.spool() as spool:
            await spool.write(f"{identity}\n".encode())
            await self._medium.place(spool, self._unsure(), f"{self._root}/{OWNER}")
        failpoint("owner.kept")
        return await self.owner()

    async def sweep(self, *, older_than: float) -> int:
        spooled = partial(sweep_spools, self._spools, older_than=older_than)
        swept = await in_worker(
            self._workers, "sweeping the spool", partial(spooled, clock=self._clock, operations=self._operations)
        )
        horizon = self._clock.now() / 1_000_000 - older_than
        for info in await self._list(f"{self._root}/staging"):
            begun, dash, _ = _name(info).partition("-")
            if dash and begun.isdecimal() and int(begun) <= horizon:
                with suppress(FileNotFoundError):
                    await self._medium.ask("rm_file", info["name"])
                    swept += 1
        return swept + await self._medium.abort_parts(f"{self._root}/sha256/", horizon)

    async def close(self) -> None:
        await self._medium.close()

    async def _keep(self, spool: LocalSpool) -> Blob:
        key = await in_worker(self._workers, "spooling new bytes", _seal, spool)
        there = await self.stat(key)
        if there is None or there.size != spool.size or self._clock.now() / 1e6 - there.modified > RENEW_AFTER:
            await self._medium.place(spool, self._unsure(), self._path(key))
            there = await self.stat(key)
        if there is None or there.size != spool.size:
            raise Unavailable("the blob store took new bytes but does not show them", hint="send them again")
        return there

    async def _window(self, key: Sha256, start: int, stop: int) -> bytes:
        try:
            # By name: the second parameter of s3fs's method is the version of the object.
            chunk: bytes = await self._medium.transfer(
                self._path(key), "cat_file", self._path(key), start=start, end=stop
            )
        except FileNotFoundError:
            raise Missing("blob", key) from None
        except Unavailable as error:
            # Some media raise an error for a span beyond the end of an object; the size tells whether that is the cause.
            if not _is_beyond_the_end(error.__cause__):
                raise
            blob = await self.stat(key)
            if blob is None or blob.size >= stop:
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


def blob_path(root: str, key: Sha256) -> str:
    """The path of a blob on its medium."""
    return f"{root}/sha256/{key[:SHARD_DIGITS]}/{key}"


def _is_beyond_the_end(error: BaseException | None) -> bool:
    """Whether an error means HTTP 416: EINVAL in s3fs, an error with that code in gcsfs."""
    return (isinstance(error, OSError) and error.errno == errno.EINVAL) or getattr(error, "code", None) == 416


def _seal(spool: LocalSpool) -> Sha256:
    with spool.lock:
        key = spool.sha256()
        if spool.in_memory() is None:
            spool.spill()
        return key


def _name(info: Mapping[str, Any]) -> str:
    return str(info["name"]).rstrip("/").rpartition("/")[2]


def _blob(key: Sha256, info: Mapping[str, Any]) -> Blob | None:
    if info.get("type", "file") != "file":
        return None
    return Blob(key, int(info["size"]), _modified(info))


def _modified(info: Mapping[str, Any]) -> float:
    for name in _MODIFIED_NAMES:
        match info.get(name):
            case datetime() as moment:
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            case int() | float() as seconds:
                return float(seconds)
            case str() as text if (parsed := from_rfc3339(text)) is not None:
                return parsed / 1_000_000
    return 0.0


if TYPE_CHECKING:
    _: type[BlobStore] = FsspecBlobs
