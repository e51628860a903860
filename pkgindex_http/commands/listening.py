"""Error messages, with hints, for a server that cannot listen on its address."""

from __future__ import annotations

import errno
import socket

from pkgindex_core.errors import PkgIndexError, Unavailable

_PRIVILEGED = 1024


def cannot_listen(error: OSError, host: str, port: int) -> PkgIndexError:
    """The error for an `OSError` of a start to listen."""
    where = f"{host} port {port}"
    if isinstance(error, socket.gaierror):
        return Unavailable(
            f"cannot listen: the host name {host!r} is not known here",
            hint="give --host an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all addresses",
        )
    match error.errno:
        case errno.EADDRINUSE:
            return Unavailable(
                f"cannot listen on {where}: another program uses the port",
                hint="stop it, or choose another port with --port (0 picks a free one)",
            )
        case errno.EACCES | errno.EPERM if port < _PRIVILEGED:
            return Unavailable(
                f"cannot listen on {where}: ports below {_PRIVILEGED} are for privileged users",
                hint="choose a port from 1024 up with --port, and put a proxy such as nginx in front",
            )
        case errno.EADDRNOTAVAIL:
            return Unavailable(
                f"cannot listen on {where}: this machine has no such address",
                hint="give --host an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all addresses",
            )
        case _:
            return Unavailable(
                f"cannot listen on {where}: {error.strerror or error}",
                hint="choose another address with --host and --port",
            )
