"""The sockets of a server: bound here, or handed over by a service manager (systemd's socket activation, sd_listen_fds(3))."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import MutableMapping, Sequence
from typing import Final

from pkgindex_core.errors import Refused

BACKLOG: Final = 1024
"""Connections that wait to be accepted."""
_FIRST: Final = 3
"""The first descriptor that a service manager hands over."""


def bound(host: str, port: int) -> Sequence[socket.socket]:
    """Sockets for all addresses of a host, not yet listening. Port 0 takes a free port, the same for all. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            made = socket.socket(family, kind, protocol)
            sockets.append(made)
            made.setblocking(False)
            if sys.platform != "win32":  # there it would let two servers have one port
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address[0], port, *address[2:]))
            port = port or made.getsockname()[1]
    except BaseException:
        for made in sockets:
            made.close()
        raise
    return sockets


def address_of(listening: socket.socket) -> tuple[str, int]:
    """Host and port."""
    host, port, *_ = listening.getsockname()
    return str(host), int(port)


def handed_over(environ: MutableMapping[str, str]) -> Sequence[socket.socket]:
    """The sockets that a service manager opened for this process; none if it opened none. The variables are removed, so that child
    processes do not take them for theirs. Raises `Refused` for a descriptor that is no TCP socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for descriptor in range(_FIRST, _FIRST + int(count)):
        try:
            made = socket.socket(fileno=descriptor)
            if made.family not in {socket.AF_INET, socket.AF_INET6}:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # fails for a socket of another protocol
        except OSError as error:
            raise Refused(
                f"the service manager handed over descriptor {descriptor}, which is no TCP socket: {error.strerror}",
                hint="use ListenStream= with an address or a port in the socket unit",
            ) from error
        made.setblocking(False)
        os.set_inheritable(descriptor, False)
        sockets.append(made)
    return sockets
