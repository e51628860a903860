"""Blobs behind any fsspec URL: object stores, memory, remote file systems.

fsspec is used for what it is good at, naming and configuring media, and through eight calls that all of them have. The tree
is the local store's, so one can be copied onto the other:

    ROOT/sha256/ab/abcdef01…              a blob
    ROOT/damaged/abcdef01….89abcdef       what had a blob's name and other bytes than its own
    ROOT/owner                            the identity of the index that the blobs belong to
    ROOT/staging/SECONDS-RANDOM.part      an upload on a medium whose writes are not atomic; swept by its SECONDS

Two kinds of medium, and nothing else depends on which it is (`_Medium`):
* asynchronous ones (s3, gs, az) are object stores: their `_` methods are awaited, and an object appears whole or not at all;
* the others run in the engine's workers, and their writes can be seen half done: bytes go to `staging/` and are moved.

A blob is as durable as the medium's own acknowledgement. That is why fsspec's local file system is refused here: it
never calls fsync (`engines.local` does). Bytes collect in a local spool file first, so a key is known before its bytes travel.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fsspec

from pkgindex_core.clock import Clock, from_rfc3339
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker, submit
from pkgindex_core.engines.local.owner_mark import OWNER, owner_of
from pkgindex_core.engines.local.spooling import SpooledStage, sweep_stages
from pkgindex_core.errors import Corrupt, Missing, PkgIndexError, Refused, StorageFull, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span

WINDOW: Final = 4 << 20
"""Bytes of one ranged read: fsspec has no stream that every medium can do."""

ANSWER_SECONDS: Final = 4.0
"""How long a question about one blob may take. A transfer may take as long as it needs, while the store answers questions."""

_PAUSE_SECONDS: Final = 2.0
"""Between two questions during a transfer."""

_SILENCES: Final = 2
"""So many questions in a row without an answer end a transfer. One alone may be lost behind the transfer's own bytes."""

_PART_BYTES: Final = 8 << 20
"""Of an upload in parts. S3 takes 10,000 of them: 80 GB."""

RENEW_AFTER: Final = 3600.0
"""Equal bytes that are there already are written again when they are older, in seconds: what is collected as
garbage is judged by its age, and few media can change that of an object without writing it."""

_MODIFIED_NAMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}


async def open_fsspec(url: str, context: Context) -> FsspecBlobs:
    """Open the store of a URL of any protocol that fsspec knows; `settings["storage_options"]` go to its file system.

    Fails at once when the medium cannot be asked.
    """
    medium, root = await _connect(url, context)
    store = FsspecBlobs(medium, root, clock=context.clock, workers=context.workers, spool=context.data / "spool")
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


class FsspecBlobs:
    """A `BlobStore` below `root` of a medium. Construct, then `open`."""

    def __init__(self, medium: _Medium, root: str, *, clock: Clock, workers: Executor, spool: Path) -> None:
        self._medium = medium
        self._root = root
        self._clock = clock
        self._workers = workers
        self._spool = spool
        self._operations = FileOperations()

    async def open(self) -> None:
        await in_worker(self._workers, "opening the spool", self._operations.make_directory, self._spool)
        await self.stat(Sha256("0" * 64))

    def stage(self, *algorithms: str) -> SpooledStage:
        return SpooledStage(self._spool, self._keep, algorithms, workers=self._workers, operations=self._operations)

    async def put(self, data: bytes) -> Blob:
        async with self.stage() as stage:
            await stage.write(data)
            return await stage.keep()

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
        if parse_sha256(key) != key:  # nothing else ever becomes part of a path
            return None
        try:
            info = await self._medium.ask("info", self._path(key))
        except FileNotFoundError:
            return None
        return _blob(key, info)

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300) -> None:
        """Nowhere: what all media have in common is only that they can be read."""

    async def drop(self, key: Sha256) -> bool:
        # Object stores call it a success to remove what is not there.
        if await self.stat(key) is None:
            return False
        try:
            await self._medium.ask("rm_file", self._path(key))
        except FileNotFoundError:
            return False
        return True

    async def walk(self) -> AsyncIterator[Blob]:
        # A shard at a time: one listing of everything would hold every name in memory.
        for shard in sorted({_name(info) for info in await self._list(f"{self._root}/sha256")}):
            for info in await self._list(f"{self._root}/sha256/{shard}"):
                key = parse_sha256(_name(info))
                if key == _name(info) and key.startswith(shard) and (blob := _blob(key, info)):
                    yield blob

    async def set_aside(self, key: Sha256) -> bool:
        # No medium moves an object on condition: one that is replaced between the reading and the removal goes too.
        if parse_sha256(key) != key or (blob := await self.stat(key)) is None:
            return False
        async with self.stage() as stage:
            with suppress(Corrupt, Missing):  # what can be read of it
                async for chunk in self.read(key, Span(0, blob.size) if blob.size else None):
                    await stage.write(chunk)
            if await in_worker(self._workers, "reading a damaged blob", _seal, stage) == key:
                return False
            aside = f"{self._root}/damaged/{key}.{secrets.token_hex(4)}"
            await self._medium.place(stage, self._unsure(), aside)
            failpoint("aside.moved")
            return await self.drop(key)

    async def owner(self) -> str:
        try:
            return owner_of(await self._medium.call("cat_file", f"{self._root}/{OWNER}"))
        except FileNotFoundError:
            return ""

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        # Few media can write a name only if it is free, so the mark is read again: the last of several that write it has it.
        there = await self.owner()
        if there and (there == identity or not instead):
            return there
        async with self.stage() as stage:
            await stage.write(f"{identity}\n".encode())
            await self._medium.place(stage, self._unsure(), f"{self._root}/{OWNER}")
        failpoint("owner.kept")
        return await self.owner()

    async def sweep(self, *, older_than: float) -> int:
        spooled = partial(sweep_stages, self._spool, older_than=older_than)
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

    async def _keep(self, stage: SpooledStage) -> Blob:
        key = await in_worker(self._workers, "spooling new bytes", _seal, stage)
        there = await self.stat(key)
        if there is None or there.size != stage.size or self._clock.now() / 1e6 - there.modified > RENEW_AFTER:
            await self._medium.place(stage, self._unsure(), self._path(key))
            there = await self.stat(key)
        if there is None or there.size != stage.size:
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
            # What lies beyond the end of an object is an error to some media. The size tells whether that is meant.
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
        return f"{self._root}/sha256/{key[:2]}/{key}"


class _Medium:
    """One way to call both kinds of fsspec file system. FileNotFoundError passes; everything else is translated."""

    def __init__(self, files: Any, workers: Executor, session: Any = None) -> None:
        self._files = files
        self._workers = workers
        self._session = session
        parameters = inspect.signature(files._put_file).parameters if files.async_impl else {}
        # Their own choice is parts of 50 MiB, and in s3fs ten of them at once: a large wheel lay in memory whole.
        self._parts = {
            name: value for name, value in (("chunksize", _PART_BYTES), ("max_concurrency", 1)) if name in parameters
        }

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Await the coroutine twin of a method, or run the method in a worker."""
        if self._files.async_impl:
            return await _translated(getattr(self._files, f"_{name}")(*arguments, **options))
        return await self._in_worker(partial(getattr(self._files, name), *arguments, **options))

    async def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """`call`, for what a medium that works answers at once. File systems try again for up to three minutes."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.call(name, *arguments, **options)
        except TimeoutError as error:
            raise Unavailable(
                f"the blob store has not answered for {ANSWER_SECONDS:.0f} seconds",
                retry_after=2,
                hint="is it running?",
            ) from error

    async def transfer(self, path: str, name: str, *arguments: Any, **options: Any) -> Any:
        """`call`, for what takes as long as its bytes: it ends when the medium no longer answers questions about `path`.

        The time-outs of the libraries do not do that. aiohttp has none for the "100 Continue" that botocore asks for before
        each PUT (seen with aiobotocore 3.10.0 and aiohttp 3.14.5).
        """
        if not self._files.async_impl:
            return await self.call(name, *arguments, **options)
        moving = asyncio.ensure_future(self.call(name, *arguments, **options))
        silence = asyncio.ensure_future(self._silence(path))
        try:
            await asyncio.wait({moving, silence}, return_when=asyncio.FIRST_COMPLETED)
            if not moving.done():
                raise silence.result()
            return moving.result()
        finally:
            moving.cancel()
            silence.cancel()
            await asyncio.gather(moving, silence, return_exceptions=True)

    async def _silence(self, path: str) -> Unavailable:
        """Return when the medium does not answer any more: what the last question met."""
        unanswered = 0
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self.ask("info", path)
            except FileNotFoundError:
                unanswered = 0
            except Unavailable as error:
                unanswered += 1
                if unanswered == _SILENCES:
                    return error
            else:
                unanswered = 0

    async def place(self, stage: SpooledStage, unsure: str, path: str) -> None:
        """Have the bytes of a stage under `path`, whole or not at all; by way of `unsure` if need be."""
        try:
            if not self._files.async_impl:
                await self._in_worker(partial(self._place_and_move, stage, unsure, path))
            elif (data := stage.in_memory()) is not None:
                await self.transfer(path, "pipe_file", path, data)
            else:
                await self.transfer(path, "put_file", str(stage.path), path, **self._parts)
        except FileNotFoundError as error:  # the bucket or root itself
            raise _failure(error) from error

    async def abort_parts(self, below: str, horizon: float) -> int:
        """Abort uploads in parts that were begun before `horizon`, in seconds since the epoch; how many.

        S3 keeps their parts until then. s3fs aborts an upload that fails, but not one that is cancelled. The other media forget
        such uploads after a week.
        """
        if not hasattr(self._files, "_abort_mpu"):
            return 0
        bucket, _, prefix = below.partition("/")
        aborted = 0
        # At most a thousand are listed; the next sweep sees the others.
        listed = await self.ask("call_s3", "list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        for upload in listed.get("Uploads", []):
            if upload["Key"].startswith(prefix) and upload["Initiated"].timestamp() <= horizon:
                with suppress(FileNotFoundError):
                    await self.ask("abort_mpu", bucket, upload["Key"], upload["UploadId"])
                    aborted += 1
        return aborted

    async def close(self) -> None:
        closing = getattr(self._session, "close", None)
        self._session = None
        result = closing() if closing is not None else None
        if inspect.isawaitable(result):
            await result

    def _place_and_move(self, stage: SpooledStage, unsure: str, path: str) -> None:
        with stage.lock:  # the file stays until this is over, also when nobody waits for it any more
            data = stage.in_memory()
            try:
                self._files.makedirs(unsure.rpartition("/")[0], exist_ok=True)
                if data is not None:
                    self._files.pipe_file(unsure, data)
                else:
                    self._files.put_file(str(stage.path), unsure)
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._files.mv(unsure, path)
            except BaseException:
                with suppress(Exception):  # what cannot be removed now is swept later
                    self._files.rm_file(unsure)
                raise

    async def _in_worker(self, function: Callable[[], Any]) -> Any:
        return await _translated(asyncio.wrap_future(submit(self._workers, "asking the blob store", function)))


async def _connect(url: str, context: Context) -> tuple[_Medium, str]:
    scheme = url.partition("://")[0]
    if "::" in url or scheme in {url, "file", "local"}:
        raise Refused(
            f"blobs cannot be kept durably behind {scheme if scheme != url else 'this URL'!r}",
            hint="name one medium, such as s3://bucket/prefix; a local directory is file:///path",
        )
    try:
        kind = fsspec.get_filesystem_class(scheme)
        if scheme in {"gs", "gcs"}:
            # Not the class that gcsfs registers: that one asks for the type of each bucket over gRPC, a minute each time where the
            # port is closed (seen with 2026.10.1).
            kind = importlib.import_module("gcsfs.core").GCSFileSystem
    except (ValueError, ImportError) as error:
        extra = _EXTRAS.get(scheme)
        hint = (
            f"pip install 'pkgindex[{extra}]'" if extra else "install the distribution that teaches fsspec this scheme"
        )
        raise Refused(f"nothing that is installed can open {scheme}:// URLs", hint=hint) from error
    options: dict[str, Any] = {**kind._get_kwargs_from_urls(url), **context.settings.get("storage_options", {})}
    # An instance of our own: fsspec shares them between loops and threads, and caches listings that others change.
    options |= {"skip_instance_cache": True, "use_listings_cache": False}
    if kind.async_impl:
        options["asynchronous"] = True
    try:
        files = kind(**options)
        session = await _session(files) if kind.async_impl else None
    except Exception as error:
        raise _failure(error) from error
    return _Medium(files, context.workers, session), str(kind._strip_protocol(url)).rstrip("/")


async def _session(files: Any) -> Any:
    """Open the connection pool that a file system wants opened inside the running loop, if it has one."""
    for name in ("set_session", "_set_session"):  # s3fs, gcsfs
        opening = getattr(files, name, None)
        if opening is not None:
            return await opening()
    return getattr(files, "service_client", None)  # adlfs


async def _translated(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (FileNotFoundError, PkgIndexError):
        raise
    except Exception as error:
        raise _failure(error) from error


def _failure(error: Exception) -> Unavailable:
    # The text of a foreign error may hold URLs with credentials: it stays in the chain, for the log.
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull("the blob store has no room", retry_after=300, hint="free space there, or raise its quota")
    if isinstance(error, PermissionError):
        return Unavailable(
            "the blob store denies access", retry_after=2, hint="check its credentials and what they permit"
        )
    if isinstance(error, FileNotFoundError):
        return Unavailable("the bucket or root of the blob store does not exist", hint="create it, or correct the URL")
    return Unavailable(
        f"the blob store failed: {type(error).__name__}", retry_after=2, hint="see the server's log for its answer"
    )


def _is_beyond_the_end(error: BaseException | None) -> bool:
    """s3fs says EINVAL for the status 416, gcsfs has an error with that code."""
    return (isinstance(error, OSError) and error.errno == errno.EINVAL) or getattr(error, "code", None) == 416


def _seal(stage: SpooledStage) -> Sha256:
    with stage.lock:
        key = stage.sha256()
        if stage.in_memory() is None:
            stage.spill()
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
