"""Media that fsspec knows, and how their file systems are called. `connecting` opens them.

Two kinds, and nothing outside this module depends on which it is:
* asynchronous ones (s3, gs, az) are object stores: their `_` methods are awaited, and an object appears whole or not at all;
* the others run in worker threads, and their writes can be seen half done: bytes go to another name first and are moved.

It knows nothing of blobs and of trees: both are files in a remote store.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from pkgindex_core.engines.fsspec.failures import failure, is_passing, is_taken
from pkgindex_core.engines.fsspec.parts import PART_BYTES, abort_old_uploads, send_in_parts
from pkgindex_core.engines.local.file_operations import submit
from pkgindex_core.engines.local.spooling import LocalSpool
from pkgindex_core.errors import PkgIndexError, Unavailable

ANSWER_SECONDS: Final = 4.0
"""Seconds that a request about one blob may take. A transfer may take any time while the store answers such requests."""

_PAUSE_SECONDS: Final = 2.0
"""Seconds between two requests during a transfer."""

_SILENCES: Final = 2
"""The number of successive requests without an answer that ends a transfer. A single one may be delayed by the transfer itself."""

ATTEMPTS: Final = 3
"""Times that a request is sent which may succeed the next time."""

_ATTEMPT_PAUSE_SECONDS: Final = 0.2
"""Seconds before the second attempt; each further pause is twice as long."""


class Medium:
    """One way to call both kinds of fsspec file system. FileNotFoundError passes; everything else is translated."""

    def __init__(self, files: Any, workers: Executor, session: Any = None) -> None:
        self._files = files
        self._workers = workers
        self._session = session
        self._sends_parts = hasattr(files, "_abort_mpu")  # s3fs
        parameters = inspect.signature(files._put_file).parameters if files.async_impl else {}
        # The defaults are parts of 50 MiB, and as many at once as there may be requests: a large wheel would be in memory whole.
        self._parts = {
            name: value for name, value in (("chunksize", PART_BYTES), ("max_concurrency", 1)) if name in parameters
        }
        # Libraries that send requests again themselves do so for up to two minutes: three times that would be no bound.
        self._attempts = ATTEMPTS if getattr(files, "retries", None) == 1 else 1

    @property
    def is_object_store(self) -> bool:
        """Whether an object appears whole or not at all."""
        return bool(self._files.async_impl)

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
            return await _translated(self._persist(partial(getattr(self._files, f"_{name}"), *arguments, **options)))
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
        return await self._watched(path, self.call(name, *arguments, **options))

    async def _watched(self, path: str, work: Awaitable[Any]) -> Any:
        moving = asyncio.ensure_future(work)
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
                await self._send(spool.path, path, {})
        except FileNotFoundError as error:  # the bucket or root itself
            raise failure(error) from error

    async def put(self, data: bytes | Path, unsure: str, path: str, said: Mapping[str, Any]) -> None:
        """Have bytes, or those of a local file, under `path`, as `place` does. `said` are options of the medium's own."""
        try:
            if not self._files.async_impl:
                await self._in_worker(partial(self._put_and_move, data, unsure, path))
            elif isinstance(data, Path):
                await self._send(data, path, said)
            else:
                await self.transfer(path, "pipe_file", path, data, **said)
        except FileNotFoundError as error:  # the bucket or root itself
            raise failure(error) from error

    async def _send(self, file: Path, path: str, said: Mapping[str, Any]) -> None:
        if self._sends_parts and file.stat().st_size > PART_BYTES:
            await self._watched(path, _translated(send_in_parts(self._request, file, self._split(path), said)))
        else:
            await self.transfer(path, "put_file", str(file), path, **self._parts, **said)

    async def create(self, path: str, data: bytes) -> bool:
        """Write a new small object; False when there is one with other bytes. Of two writers one wins, if the store compares.

        An object with these bytes is taken for one that was written and whose answer was lost.
        """
        if not self._files.async_impl:  # object stores have no directories
            await self.ask("makedirs", path.rpartition("/")[0], exist_ok=True)
        try:
            await self.ask("pipe_file", path, data, mode="create")
        except FileNotFoundError as error:  # the bucket or root itself
            raise failure(error) from error
        except Unavailable as error:
            if not is_taken(error):
                raise
            with suppress(FileNotFoundError):  # removed meanwhile
                return bool(await self.ask("cat_file", path) == data)
            return False
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

        S3 keeps those of a killed process until then. The other media drop them after a week.
        """
        if not self._sends_parts:
            return 0
        try:
            return await abort_old_uploads(partial(self.ask, "call_s3"), self._split(below), horizon)
        except FileNotFoundError as error:  # the bucket itself
            raise failure(error) from error

    async def close(self) -> None:
        session, self._session = self._session, None
        await close_session(session)

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

    async def _request(self, method: str, **options: Any) -> Any:
        """A request in the words of S3."""
        return await self._persist(partial(self._files._call_s3, method, **options))

    def _split(self, path: str) -> tuple[str, str]:
        """The bucket and the key of a path."""
        bucket, _, key = path.partition("/")
        return bucket, key

    async def _persist(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Send a request, and send it again if it may then succeed. Each may have been carried out although its answer was lost."""
        for turn in range(1, self._attempts):
            try:
                return await attempt()
            except Exception as error:
                if not is_passing(error):
                    raise
            await asyncio.sleep(_ATTEMPT_PAUSE_SECONDS * 2 ** (turn - 1))
        return await attempt()

    async def _in_worker(self, function: Callable[[], Any]) -> Any:
        return await _translated(asyncio.wrap_future(submit(self._workers, "asking the remote store", function)))


async def _translated(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (FileNotFoundError, PkgIndexError):
        raise
    except Exception as error:
        raise failure(error) from error


async def close_session(session: Any) -> None:
    """Close the connections of a file system; None has none."""
    closing = getattr(session, "close", None)
    result = closing() if closing is not None else None
    if inspect.isawaitable(result):
        await result
