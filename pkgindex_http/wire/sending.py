"""Sends files: small ones in one write, large ones with `os.sendfile`.

aiohttp's own file response does not use sendfile under uvloop and switches threads once or twice for each request; on loopback
it costs several times as much as nginx. Here the kernel sends a local file on the connection's socket whenever the socket is
writable, so no byte passes through Python and a slow client only holds a file descriptor. Over TLS, and on systems without
sendfile, a worker reads the file in chunks.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from msgspec.structs import replace

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import PkgIndexError, Removed, Unavailable
from pkgindex_core.protocols import Span
from pkgindex_core.protocols.sources import mark_of
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.currency import Holding, Holds
from pkgindex_core.tools.reading_locks import mark_as_read
from pkgindex_http.errors import error_reply
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import SERVER, Reply, head_bytes

ONE_WRITE: Final = 64 * 1024
"""Bytes up to which a body is read as a whole and written at once."""
CHUNK: Final = 256 * 1024
STALL_SECONDS: Final = 120
"""Seconds that a client may read nothing before its connection is cut."""
SENDFILE_CHUNK: Final = 8 * 1024 * 1024

_INT: Final = struct.Struct("i")

Again = Callable[[], Awaitable["Reply | web.StreamResponse"]]
"""Makes another answer, when the file of an answer was removed before its first byte was sent."""
Refuse = Callable[[PkgIndexError], Awaitable[Reply]]
"""Answers an error that came before the first byte was sent, and logs it, as one of a handler."""

_log = logging.getLogger("pkgindex.http")


class Count(Protocol):
    """Counts answers with a file, each when it begins: another answer may take its place until then."""

    def begun(self) -> None:
        """The head is written."""
        ...

    def sent(self, size: int) -> None:
        """Bytes of the body are sent."""
        ...


class FileResponse(web.StreamResponse):
    """A span of a local file under prepared headers.

    A `mark` (`protocols.sources.mark_of`) is for a file that other programs may change. A file with another mark is not sent. If the
    mark changes meanwhile the last byte is not sent, so that the answer is not complete.
    """

    def __init__(self, reply: Reply, path: Path, span: Span | None, workers: Executor, *, mark: str = "") -> None:
        super().__init__(status=reply.status)
        self.reply = reply
        self._path = path
        self._mark = mark
        self._span = span
        self._workers = workers
        self.count: Count | None = None
        self.again: Again | None = None
        self.refuse: Refuse | None = None
        self.keep: Callable[[Reply, int], None] | None = None
        """Called with the whole answer and its length as it was written, if it has no body or a short one."""
        self.sha256: Sha256 | None = None
        """The digest of the file. Bytes that do not have it are not kept: the disk may have damaged them."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body."""
        self._req = request
        self._keep_alive = request.keep_alive and self.keep_alive is not False  # False after `force_close`
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        length = self._span.stop - self._span.start if self._span else 0
        head = head_bytes(self.reply, keep_alive=bool(self._keep_alive), version=request.version, length=length)
        self._body_length = 0
        if request.method == "HEAD" or self._span is None or not length:
            self._eof_sent = True
            transport.write(head)
            if self.count is not None:
                self.count.begun()
            if self.keep is not None:
                self.keep(self.reply, length)
            return None
        try:
            # A small file is in the page cache or needs one disk read, which costs less than a switch of threads.
            small = _read_span(self._path, self._span, self._mark) if length <= ONE_WRITE else None
            descriptor = -1 if small is not None else await self._open()
        except ConnectionError:
            raise
        except PkgIndexError as changed:
            await _refuse(self, request, transport, changed)
            return None
        except FileNotFoundError:
            return await _answer_again(self, request, transport, Removed())
        except OSError as error:  # nothing was sent yet
            failure = storage_failure(error, "reading a file")
            _log.warning("%s: %s", failure, error)
            await _refuse(self, request, transport, failure)
            return None
        self._eof_sent = True
        if self.count is not None:
            self.count.begun()
        if small is not None:
            transport.write(head + small)
        else:
            try:
                transport.write(head)
                await self._send_unchanged(request, transport, descriptor, self._span)
            finally:
                os.close(descriptor)
        self._body_length = length
        if self.count is not None:
            self.count.sent(length)
        if self.keep is not None and small is not None:
            holding = partial(_held, self.reply.holding, small, self.sha256)
            self.keep(replace(self.reply, body=small, holding=holding), length)
        return None

    async def _open(self) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._workers, _opened, self._path, self._mark)

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the server's signature
        """Wait until the client has room for the next answer."""
        if self._req is not None:
            await self._req.protocol._drain_helper()

    async def _send_unchanged(self, request: web.BaseRequest, transport: Any, descriptor: int, span: Span) -> None:
        if not self._mark:
            await self._send(request, transport, descriptor, span)
            return
        await self._send(request, transport, descriptor, Span(span.start, span.stop - 1))
        if mark_of(os.fstat(descriptor)) != self._mark:
            _log.warning("a download was cut off: %s was changed meanwhile", self._path)
            _cut(request)
            raise ConnectionResetError("the file was changed while it was sent")
        await self._send(request, transport, descriptor, Span(span.stop - 1, span.stop))

    async def _send(self, request: web.BaseRequest, transport: Any, descriptor: int, span: Span) -> None:
        raw = transport.get_extra_info("socket")
        if raw is None or transport.get_extra_info("sslcontext") is not None or not hasattr(os, "sendfile"):
            await self._send_chunks(request, transport, descriptor, span)
            return
        # The transport must have sent all its bytes before the kernel writes to the same socket.
        transport.set_write_buffer_limits(high=0)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await request.protocol._drain_helper()
                while transport.get_write_buffer_size():
                    await asyncio.sleep(0.001)
                    if transport.is_closing():
                        raise ConnectionResetError("the client went away")
            duplicate = socket.socket(fileno=os.dup(raw.fileno()))
            try:
                duplicate.setblocking(False)
                await _sendfile(duplicate, descriptor, span, transport)
            finally:
                duplicate.close()
        except TimeoutError:
            _cut(request)
            raise ConnectionResetError("the client stopped reading") from None
        finally:
            transport.set_write_buffer_limits()

    async def _send_chunks(self, request: web.BaseRequest, transport: Any, descriptor: int, span: Span) -> None:
        loop = asyncio.get_running_loop()
        offset = span.start
        while offset < span.stop:
            size = min(CHUNK, span.stop - offset)
            data = await loop.run_in_executor(self._workers, os.pread, descriptor, size, offset)
            if not data:
                raise ConnectionResetError("the file became shorter while it was sent")
            transport.write(data)
            await request.protocol._drain_helper()
            offset += len(data)


def _held(holding: Holding | None, data: bytes, sha256: Sha256 | None) -> Holds | None:
    """A check whether these bytes would be the answer again; None if they are not those of the digest."""
    return holding() if holding is not None and sha256_of(data) == sha256 else None


class StreamedResponse(web.StreamResponse):
    """A body that comes in pieces, with a known length or chunked."""

    def __init__(self, reply: Reply, body: AsyncIterator[bytes], *, length: int | None) -> None:
        super().__init__(status=reply.status, headers={**reply.headers, "Server": SERVER})
        if length is not None:
            self.content_length = length
        self.reply = reply
        self._source = body
        self.count: Count | None = None
        self.again: Again | None = None
        self.refuse: Refuse | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the head, then every piece as it comes.

        If the source fails before its first byte the answer is an error. If it fails later the connection is cut, so that a
        part of a file does not look complete.
        """
        if self.content_length is None and request.version >= HttpVersion11:
            self.enable_chunked_encoding()
        if request.method == "HEAD":
            if self.content_length is None or self.content_length > ONE_WRITE:
                return await self._begin(request)
            await self._write_once(request, b"", length=self.content_length)
            return None
        try:
            first = await anext(self._source, b"")
            writer = None
            if len(first) == self.content_length and len(first) <= ONE_WRITE:
                await self._write_once(request, first)
            else:
                writer = await self._begin(request)
                await self._hand_over(request, first)
            async for data in self._source:
                await self._hand_over(request, data)
        except PkgIndexError as error:
            if not self.prepared and request.transport is not None:
                if isinstance(error, Removed):
                    return await _answer_again(self, request, request.transport, error)
                await _refuse(self, request, request.transport, error)
                return None
            _log.warning("a download was cut off: %s", error)
            _cut(request)
            raise ConnectionResetError("the source failed") from error
        except Exception:
            _cut(request)
            raise
        finally:
            await self.drop()
        return writer

    async def _begin(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the head."""
        writer = await super().prepare(request)
        if self.count is not None:
            self.count.begun()
        return writer

    async def drop(self) -> None:
        """Close the source of the body."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()

    async def _write_once(self, request: web.BaseRequest, body: bytes, *, length: int | None = None) -> None:
        """Write head and body together, and wait until the client has room for the next answer. `length`: see `head_bytes`."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        _write(self, request, transport, replace(self.reply, body=body), length=length)
        if self.count is not None:
            self.count.begun()
            self.count.sent(len(body))
        await request.protocol._drain_helper()

    async def _hand_over(self, request: web.BaseRequest, data: bytes) -> None:
        """Write a piece when the client has room for it. Cut a client that reads nothing for `STALL_SECONDS`."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self.write(data)
            if self.count is not None:
                self.count.sent(len(data))
        except TimeoutError:
            _cut(request)
            raise ConnectionResetError("the client stopped reading") from None


async def _answer_again(
    response: FileResponse | StreamedResponse, request: web.BaseRequest, transport: Any, error: Removed
) -> AbstractStreamWriter | None:
    """Send another answer in the place of this one. Without another one the client gets the error."""
    try:
        if response.again is None:
            raise error
        instead = await response.again()
    except PkgIndexError as refusal:
        await _refuse(response, request, transport, refusal)
        return None
    if isinstance(instead, Reply):
        _write(response, request, transport, instead)
        return None
    writer = await instead.prepare(request)
    await instead.write_eof()
    response._req = request
    response._keep_alive = instead.keep_alive
    response.set_status(instead.status)
    response._eof_sent = True
    response._body_length = instead.body_length
    return writer


async def _refuse(
    response: FileResponse | StreamedResponse, request: web.BaseRequest, transport: Any, error: PkgIndexError
) -> None:
    """Answer an error before any byte of the body was sent."""
    refuse = response.refuse
    reply = await refuse(error) if refuse else error_reply(error, request.headers.get("Accept", ""))
    _write(response, request, transport, reply)


def _write(
    response: web.StreamResponse, request: web.BaseRequest, transport: Any, reply: Reply, *, length: int | None = None
) -> None:
    """Write a reply in the place of a response. `length`: see `head_bytes`."""
    response._req = request
    response._keep_alive = request.keep_alive and response.keep_alive is not False
    response.set_status(reply.status)
    response._eof_sent = True
    head = head_bytes(reply, keep_alive=bool(response._keep_alive), version=request.version, length=length)
    transport.write(head + reply.body)
    response._body_length = len(reply.body)


def _cut(request: web.BaseRequest) -> None:
    """End the connection with a reset: an orderly end would mark a body without a length as complete."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _sendfile(connection: socket.socket, descriptor: int, span: Span, transport: Any) -> None:
    """Send a part of a file whenever the socket has room, once in a turn of the event loop, so that other clients have theirs.

    Raises `TimeoutError` when the client took nothing for `STALL_SECONDS`. There may be no room for longer: the system tells of room when a good part of
    its memory for the socket is free.
    """
    loop, offset = asyncio.get_running_loop(), span.start
    ended: asyncio.Future[OSError | None] = loop.create_future()

    def send() -> None:
        nonlocal offset
        if ended.done():
            return
        try:
            if transport.is_closing():
                raise ConnectionResetError("the client went away")
            sent = os.sendfile(connection.fileno(), descriptor, offset, min(SENDFILE_CHUNK, span.stop - offset))
            if not sent:
                raise ConnectionResetError("the file became shorter while it was sent")
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            ended.set_result(error)
            return
        offset += sent
        if offset == span.stop:
            ended.set_result(None)

    send()
    if not ended.done():
        loop.add_writer(connection.fileno(), send)
        try:
            before = -1
            while not ended.done():
                taken = offset - _waiting(connection)
                if taken == before:
                    raise TimeoutError
                before = taken
                await asyncio.wait([ended], timeout=STALL_SECONDS)
        finally:
            loop.remove_writer(connection.fileno())
    if failure := ended.result():
        raise failure


def _waiting(connection: socket.socket) -> int:
    """The bytes that were given to the system, and that the client has not taken; 0 if the system does not tell."""
    try:
        (waiting,) = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))
    except OSError:
        return 0
    return int(waiting)


def _opened(path: Path, mark: str) -> int:
    """A descriptor of the file. Raises `Unavailable` if the file has another mark."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK if mark else os.O_RDONLY)  # opening a pipe must not block
    try:
        _compare(descriptor, mark)
    except PkgIndexError:
        os.close(descriptor)
        raise
    mark_as_read(descriptor)
    return descriptor


def _compare(descriptor: int, mark: str) -> None:
    if mark and mark_of(os.fstat(descriptor)) != mark:
        raise Unavailable("the file was changed just now", hint="send the request again")


def _read_span(path: Path, span: Span, mark: str = "") -> bytes:
    descriptor = _opened(path, mark)
    try:
        data = os.pread(descriptor, span.stop - span.start, span.start)
        _compare(descriptor, mark)
    finally:
        os.close(descriptor)
    if len(data) != span.stop - span.start:
        raise ConnectionResetError("the file is shorter than its recorded size")
    return data
