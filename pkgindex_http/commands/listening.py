"""Why a server cannot listen where it should, in words, and what to do about it."""

from __future__ import annotations

import errno
import socket

from pkgindex_core.errors import PkgIndexError, Unavailable

_PRIVILEGED = 1024


def cannot_listen(error: OSError, host: str, port: int) -> PkgIndexError:
    """What the system's refusal to listen means."""
    where = f"{host} port {port}"
    if isinstance(error, socket.gaierror):
        return Unavailable(
            f"cannot listen: the host name {host!r} is not known here",
            hint="--host takes an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
        )
    match error.errno:
        case errno.EADDRINUSE:
            return Unavailable(
                f"cannot listen on {where}: another program listens there",
                hint="stop it, or choose another port with --port (0 picks a free one)",
            )
        case errno.EACCES | errno.EPERM if port < _PRIVILEGED:
            return Unavailable(
                f"cannot listen on {where}: ports below {_PRIVILEGED} are for privileged users",
                hint="choose a port from 1024 on with --port, and put a proxy such as nginx before it",
            )
        case errno.EADDRNOTAVAIL:
            return Unavailable(
                f"cannot listen on {where}: this machine has no such address",
                hint="--host takes an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
            )
        case _:
            return Unavailable(
                f"cannot listen on {where}: {error.strerror or error}", hint="choose others with --host and --port"
            )
