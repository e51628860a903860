"""Media that fsspec knows: how their file systems are opened and called, and what their failures mean.

Two kinds, and nothing outside this module depends on which it is:
* asynchronous ones (s3, gs, az) are object stores: their `_` methods are awaited, and an object appears whole or not at all;
* the others run in worker threads, and their writes can be seen half done: bytes go to another name first and are moved.

It knows nothing of blobs and of trees: both are files in a remote store.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import fsspec

from pkgindex_core.engines.local.file_operations import submit
from pkgindex_core.engines.local.spooling import LocalSpool
from pkgindex_core.errors import PkgIndexError, Refused, StorageFull, Unavailable

ANSWER_SECONDS: Final = 4.0
"""Seconds that a request about one blob may take. A transfer may take any time while the store answers such requests."""

_PAUSE_SECONDS: Final = 2.0
"""Seconds between two requests during a transfer."""

_SILENCES: Final = 2
"""The number of successive requests without an answer that ends a transfer. A single one may be delayed by the transfer itself."""

_PART_BYTES: Final = 8 << 20
"""The size of a part of an upload. S3 takes 10,000 parts: 80 GB."""

_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}


class Medium:
    """One way to call both kinds of fsspec file system. FileNotFoundError passes; everything else is translated."""

    def __init__(self, files: Any, workers: Executor, session: Any = None) -> None:
        self._files = files
        self._workers = workers
        self._session = session
        parameters = inspect.signature(files._put_file).parameters if files.async_impl else {}
        # The defaults are parts of 50 MiB, and in s3fs ten of them at once, which holds a large wheel in memory whole.
        self._parts = {
            name: value for name, value in (("chunksize", _PART_BYTES), ("max_concurrency", 1)) if name in parameters
        }

    def root_of(self, url: str) -> str:
        """The path by which the medium knows another URL of its kind."""
        return str(self._files._strip_protocol(url)).rstrip("/")

    def copies(self, one: str, other: str) -> bool:
        """Whether the medium itself can copy between two URLs: one object store has both. Elsewhere a copy can be seen half done."""
        options = self._files._get_kwargs_from_urls  # such as the host or the account
        return bool(self._files.async_impl) and options(one) == options(other)

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Await the coroutine twin of a method, or run the method in a worker."""
        if self._files.async_impl:
            return await _translated(getattr(self._files, f"_{name}")(*arguments, **options))
        return await self._in_worker(partial(getattr(self._files, name), *arguments, **options))

    async def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """`call` with a time limit, for requests that a working medium answers at once. File systems retry for up to three minutes."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.call(name, *arguments, **options)
        except TimeoutError as error:
            raise Unavailable(
                f"the remote store has not answered for {ANSWER_SECONDS:.0f} seconds",
                retry_after=2,
                hint="check that it is running and can be reached",
            ) from error

    async def transfer(self, path: str, name: str, *arguments: Any, **options: Any) -> Any:
        """`call`, for transfers: it ends when the medium no longer answers requests about `path`.

        The time-outs of the libraries are not enough. aiohttp has none for the "100 Continue" that botocore asks for before
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
        """Wait until the medium stops answering; return the last failure."""
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

    async def place(self, spool: LocalSpool, unsure: str, path: str) -> None:
        """Write the bytes of a spool to `path`, completely or not at all; through `unsure` if writes are not atomic."""
        try:
            if not self._files.async_impl:
                await self._in_worker(partial(self._place_and_move, spool, unsure, path))
            elif (data := spool.in_memory()) is not None:
                await self.transfer(path, "pipe_file", path, data)
            else:
                await self.transfer(path, "put_file", str(spool.path), path, **self._parts)
        except FileNotFoundError as error:  # the bucket or root itself
            raise failure(error) from error

    async def put(self, data: bytes | Path, unsure: str, path: str, said: Mapping[str, Any]) -> None:
        """Have bytes, or those of a local file, under `path`, as `place` does. `said` are options of the medium's own."""
        try:
            if not self._files.async_impl:
                await self._in_worker(partial(self._put_and_move, data, unsure, path))
            elif isinstance(data, Path):
                await self.transfer(path, "put_file", str(data), path, **self._parts, **said)
            else:
                await self.transfer(path, "pipe_file", path, data, **said)
        except FileNotFoundError as error:  # the bucket or root itself
            raise failure(error) from error

    async def create(self, path: str, data: bytes) -> bool:
        """Write a new small object; False when there is one. Object stores see to it themselves, and of two writers one wins."""
        if not self._files.async_impl:  # object stores have no directories
            await self.ask("makedirs", path.rpartition("/")[0], exist_ok=True)
        try:
            await self.ask("pipe_file", path, data, mode="create")
        except Unavailable as error:
            cause = error.__cause__
            refusal = getattr(getattr(cause, "__cause__", None), "response", {})  # of botocore; s3fs makes EINVAL of it
            if isinstance(cause, FileExistsError) or refusal.get("Error", {}).get("Code") == "PreconditionFailed":
                return False
            raise
        return True

    async def said(self, path: str) -> Mapping[str, Any]:
        """The options of the user's own that an object was written with (`put`), as far as the medium keeps them. FileNotFoundError passes."""
        if hasattr(self._files, "metadata"):  # s3fs
            said: Mapping[str, Any] = await self.ask("metadata", path)
            return said
        info = await self.ask("info", path)
        return info.get("metadata") or {}

    async def abort_parts(self, below: str, horizon: float) -> int:
        """Abort uploads in parts that were begun before `horizon`, in seconds since the epoch; return their number.

        S3 keeps the parts until then. s3fs aborts an upload that fails, but not one that is cancelled. The other media drop
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

    def _place_and_move(self, spool: LocalSpool, unsure: str, path: str) -> None:
        with spool.lock:  # the file must stay until this is over, also when the caller was cancelled
            data = spool.in_memory()
            self._put_and_move(spool.path if data is None else data, unsure, path)

    def _put_and_move(self, data: bytes | Path, unsure: str, path: str) -> None:
        try:
            self._files.makedirs(unsure.rpartition("/")[0], exist_ok=True)
            if isinstance(data, Path):
                self._files.put_file(str(data), unsure)
            else:
                self._files.pipe_file(unsure, data)
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.mv(unsure, path)
        except BaseException:
            with suppress(Exception):  # a later sweep removes it
                self._files.rm_file(unsure)
            raise

    async def _in_worker(self, function: Callable[[], Any]) -> Any:
        return await _translated(asyncio.wrap_future(submit(self._workers, "asking the remote store", function)))


async def connect(url: str, *, workers: Executor, storage_options: Mapping[str, Any]) -> tuple[Medium, str]:
    scheme = url.partition("://")[0]
    if "::" in url or scheme in {url, "file", "local"}:
        raise Refused(
            f"files cannot be kept durably behind {scheme if scheme != url else 'this URL'!r}",
            hint="name one medium, such as s3://bucket/prefix; a local directory is file:///path",
        )
    try:
        kind = fsspec.get_filesystem_class(scheme)
        if scheme in {"gs", "gcs"}:
            # Not the class that gcsfs registers: it asks for the type of each bucket over gRPC, which takes a minute each time if the
            # port is closed (seen with 2026.10.1).
            kind = importlib.import_module("gcsfs.core").GCSFileSystem
    except (ValueError, ImportError) as error:
        extra = _EXTRAS.get(scheme)
        hint = (
            f"pip install 'pkgindex[{extra}]'" if extra else "install the distribution that adds this scheme to fsspec"
        )
        raise Refused(f"no installed package can open {scheme}:// URLs", hint=hint) from error
    options: dict[str, Any] = {**kind._get_kwargs_from_urls(url), **storage_options}
    # A new instance: fsspec shares instances between loops and threads, and caches listings although they change.
    options |= {"skip_instance_cache": True, "use_listings_cache": False}
    if kind.async_impl:
        options["asynchronous"] = True
    try:
        files = kind(**options)
        session = await _session(files) if kind.async_impl else None
    except Exception as error:
        raise failure(error) from error
    return Medium(files, workers, session), str(kind._strip_protocol(url)).rstrip("/")


async def _session(files: Any) -> Any:
    """Open the connection pool of a file system, if it has one that must be opened inside the running loop."""
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
        raise failure(error) from error


def failure(error: Exception) -> Unavailable:
    # The text of a foreign error may have URLs with credentials, so only the log gets it, from the chained exception.
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull("the remote store has no room", retry_after=300, hint="free space there, or raise its quota")
    if isinstance(error, PermissionError):
        return Unavailable(
            "the remote store denies access", retry_after=2, hint="check its credentials and what they permit"
        )
    if isinstance(error, FileNotFoundError):
        return Unavailable(
            "the bucket or root of the remote store does not exist", hint="create it, or correct the URL"
        )
    return Unavailable(
        f"the remote store failed: {type(error).__name__}", retry_after=2, hint="see the server's log for its answer"
    )
