"""Sends files: small ones in one write, large ones by the kernel.

aiohttp's own file response uses no sendfile under uvloop and pays a thread hop or two per request; on loopback it costs
several times what nginx does. Here a file on local disk goes out by `os.sendfile` on the connection's socket, driven by
the loop's readiness, so no byte passes through Python and a slow client holds nothing but a file descriptor.
Over TLS, and where there is no sendfile, the file is read in chunks by a worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.protocols import Span
from pkgindex_core.storage_failures import storage_failure
from pkgindex_http.errors import error_reply
from pkgindex_http.replies import SERVER, Reply, head_bytes

ONE_WRITE: Final = 64 * 1024
"""Bytes up to which a body is read and written whole."""
CHUNK: Final = 256 * 1024
STALL_SECONDS: Final = 120
"""How long a client may read nothing before its connection is cut."""
SENDFILE_CHUNK: Final = 8 * 1024 * 1024

_log = logging.getLogger("pkgindex.http")


class FileResponse(web.StreamResponse):
    """A span of a local file under prepared headers."""

    def __init__(self, reply: Reply, path: Path, span: Span | None, workers: Executor) -> None:
        super().__init__(status=reply.status)
        self.reply = reply
        self._path = path
        self._span = span
        self._workers = workers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body."""
        self._req = request
        self._keep_alive = request.keep_alive and self.keep_alive is not False  # which `force_close` has made it
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        length = self._span.stop - self._span.start if self._span else 0
        head = head_bytes(self.reply, keep_alive=bool(self._keep_alive), version=request.version, length=length)
        self._body_length = 0
        if request.method == "HEAD" or self._span is None or not length:
            self._eof_sent = True
            transport.write(head)
            return None
        try:
            # A small file is in the page cache or one disk read away; a thread hop costs more than the read.
            small = _read_span(self._path, self._span) if length <= ONE_WRITE else None
            descriptor = -1 if small is not None else await self._open()
        except ConnectionError:
            raise
        except OSError as error:  # nothing was promised yet
            failure = storage_failure(error, "reading a file")
            _log.warning("%s: %s", failure, error)
            _refuse(self, request, transport, failure)
            return None
        self._eof_sent = True
        if small is not None:
            transport.write(head + small)
        else:
            try:
                transport.write(head)
                await self._send(request, transport, descriptor, self._span)
            finally:
                os.close(descriptor)
        self._body_length = length
        return None

    async def _open(self) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._workers, os.open, self._path, os.O_RDONLY)

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the server's signature
        """Everything was written."""
        if self._req is not None:
            await self._req.protocol._drain_helper()

    async def _send(self, request: web.BaseRequest, transport: Any, descriptor: int, span: Span) -> None:
        raw = transport.get_extra_info("socket")
        if raw is None or transport.get_extra_info("sslcontext") is not None or not hasattr(os, "sendfile"):
            await self._send_chunks(request, transport, descriptor, span)
            return
        # What was written before must have left before the kernel writes beside the transport.
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
            transport.abort()
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
                raise ConnectionResetError("the file is shorter than it was")
            transport.write(data)
            await request.protocol._drain_helper()
            offset += len(data)


class StreamedResponse(web.StreamResponse):
    """A body that comes piece by piece, of known length or chunked."""

    def __init__(self, reply: Reply, body: AsyncIterator[bytes], *, length: int | None) -> None:
        super().__init__(status=reply.status, headers={**reply.headers, "Server": SERVER})
        if length is not None:
            self.content_length = length
        self.reply = reply
        self._source = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the head, then every piece as it comes.

        A source that fails before its first byte is an answer with a status; one that fails later cuts the connection, so that no
        half file looks whole.
        """
        if self.content_length is None and request.version >= HttpVersion11:
            self.enable_chunked_encoding()
        if request.method == "HEAD":
            return await super().prepare(request)
        try:
            first = await anext(self._source, b"")
            writer = await super().prepare(request)
            await self._hand_over(request, first)
            async for data in self._source:
                await self._hand_over(request, data)
        except PkgIndexError as error:
            if not self.prepared and request.transport is not None:
                _refuse(self, request, request.transport, error)
                return None
            _log.warning("a download broke off: %s", error)
            _cut(request)
            raise ConnectionResetError("the source failed") from error
        except Exception:
            _cut(request)
            raise
        finally:
            await self.drop()
        return writer

    async def drop(self) -> None:
        """Give up where the body comes from."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()

    async def _hand_over(self, request: web.BaseRequest, data: bytes) -> None:
        """Write a piece when the client has room for it; one that reads nothing for long is cut, and holds nothing any more."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self.write(data)
        except TimeoutError:
            _cut(request)
            raise ConnectionResetError("the client stopped reading") from None


def _refuse(response: web.StreamResponse, request: web.BaseRequest, transport: Any, error: PkgIndexError) -> None:
    """Answer an error instead of a body of which nothing was sent yet."""
    reply = error_reply(error, request.headers.get("Accept", ""))
    response._req = request
    response._keep_alive = request.keep_alive and response.keep_alive is not False
    response.set_status(reply.status)
    response._eof_sent = True
    head = head_bytes(reply, keep_alive=bool(response._keep_alive), version=request.version)
    transport.write(head + reply.body)
    response._body_length = len(reply.body)


def _cut(request: web.BaseRequest) -> None:
    """End the connection with a reset: where a body has no length, an orderly end would say that it is whole."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _sendfile(connection: socket.socket, descriptor: int, span: Span, transport: Any) -> None:
    loop = asyncio.get_running_loop()
    offset = span.start
    writable: asyncio.Future[None] | None = None

    def ready() -> None:
        if writable is not None and not writable.done():
            writable.set_result(None)

    watching = False
    try:
        while offset < span.stop:
            if transport.is_closing():
                raise ConnectionResetError("the client went away")
            try:
                sent = os.sendfile(connection.fileno(), descriptor, offset, min(SENDFILE_CHUNK, span.stop - offset))
            except (BlockingIOError, InterruptedError):
                writable = loop.create_future()
                if not watching:
                    loop.add_writer(connection.fileno(), ready)
                    watching = True
                try:
                    async with asyncio.timeout(STALL_SECONDS):
                        await writable
                except TimeoutError:
                    transport.abort()
                    raise ConnectionResetError("the client stopped reading") from None
                continue
            if not sent:
                raise ConnectionResetError("the file is shorter than it was")
            offset += sent
            if watching:
                loop.remove_writer(connection.fileno())
                watching = False
            await asyncio.sleep(0)  # a fast client must not keep the loop from everyone else
    finally:
        if watching:
            loop.remove_writer(connection.fileno())


def _read_span(path: Path, span: Span) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(descriptor, span.stop - span.start, span.start)
    finally:
        os.close(descriptor)
    if len(data) != span.stop - span.start:
        raise ConnectionResetError("the file is shorter than it was")
    return data
