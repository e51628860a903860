"""Bodies that the kernel sends without a copy, for answers that are repeated.

    transport.write    copies a body into memory of the socket, for each answer
    memory file        the socket refers to the file's own pages (`os.sendfile`)

Over loopback this takes half of the CPU time for 400 kB, a quarter for 3 MB, and nothing is won below `WORTH` (`benchmarks/README.md`).
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import socket
from functools import cached_property
from typing import ClassVar, Final
from weakref import WeakSet

WORTH: Final = 32 * 1024
"""Bytes from which on a body is sent so. Head and body are two system calls then."""
_MOST: Final = 50
"""The most files of a process at a time: each takes a descriptor, and a second one when a client was too slow for it."""
IS_POSSIBLE: Final = all(hasattr(os, name) for name in ("memfd_create", "sendfile"))
"""Whether the system has such files. Without them bodies are copied."""


class MemoryFile:
    """Bytes that never change, in a file without a name (memfd_create(2) of Linux)."""

    _all: ClassVar[WeakSet[MemoryFile]] = WeakSet()

    def __init__(self, body: bytes) -> None:
        """Raises `OSError` if no descriptor or no memory is left."""
        self.length = len(body)
        self._descriptor = os.memfd_create("pkgindex", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._all.add(self)
        with open(self._descriptor, "wb", closefd=False) as file:
            file.write(body)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)

    @classmethod
    def of(cls, body: bytes) -> MemoryFile | None:
        """A file with these bytes; None where a copy costs less, or no file can be had."""
        if len(body) < WORTH or not IS_POSSIBLE or len(cls._all) >= _MOST:
            return None
        try:
            return cls(body)
        except OSError:
            return None

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)

    def write(self, transport: asyncio.WriteTransport, head: bytes) -> None:
        """Write an answer with this body. Bytes for which the socket has no room wait in the transport, which all clients share."""
        sent = self._send(transport, head)
        if sent < len(head):
            transport.write(head[sent:])
        start = max(sent - len(head), 0)
        if start < self.length:
            transport.write(self._view[start:])

    def _send(self, transport: asyncio.WriteTransport, head: bytes) -> int:
        """Give the kernel what it takes at once, and return how many bytes that are."""
        raw = transport.get_extra_info("socket")
        if raw is None or transport.get_extra_info("sslcontext") is not None or transport.get_write_buffer_size():
            return 0
        sent = 0
        connection = socket.socket(raw.family, raw.type, raw.proto, fileno=raw.fileno())
        try:
            sent = connection.send(head, socket.MSG_MORE | socket.MSG_DONTWAIT)
            if sent == len(head):
                sent += os.sendfile(connection.fileno(), self._descriptor, 0, self.length)
        except OSError:
            pass  # no room; or no connection, of which the transport hears too
        finally:
            connection.detach()  # it is the transport's
        return sent

    @cached_property
    def _view(self) -> memoryview:
        """The bytes without a copy in this process."""
        return memoryview(mmap.mmap(self._descriptor, self.length, access=mmap.ACCESS_READ))
