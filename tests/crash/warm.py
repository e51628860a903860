"""A program that has imported the whole server and forks one for each request: a real process in a few milliseconds.

Importing costs a second or more, and tests of crashes start hundreds of servers. What a fork runs is the very command
line `pkgindex-serve`, in a process of its own that can be killed; only the imports were made before. A request is one
datagram on standard input, a socket: `{"args": […], "env": {…}}` with two descriptors (output, errors) is answered by
`{"pid": …}`, and `{"wait": pid}` by `{"status": …}`, null while the process lives. When the socket closes, every fork is killed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

# What a server would import while it starts.
MODULES = (
    "aiohttp",
    "apsw",
    "pkgindex_core.engine",
    "pkgindex_core.engines.local.blobs",
    "pkgindex_core.engines.sqlite.index",
    "pkgindex_http.cli",
    "pkgindex_http.commands.run",
    "pkgindex_http.commands.starting",
    "pkgindex_http.routes",
    "pkgindex_http.server",
    "pkgindex_mirror.readthrough.files.mirrored_metadata",
    "pkgindex_mirror.readthrough.source",
    "pkgindex_mirror.readthrough.pages.refreshing_names",
    "uvloop",
)


def serve_forks(connection: socket.socket) -> None:
    """Answer requests until nobody is there any more."""
    living: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        if not data:
            break
        request = json.loads(data)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            living.discard(pid)
            answer = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if not pid:
                connection.close()
                _become_server(request["args"], request["env"], *descriptors)
            living.add(pid)
            answer = {"pid": pid}
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(json.dumps(answer).encode())
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _become_server(args: list[str], env: dict[str, str], output: int, errors: int) -> NoReturn:
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(env)
        from pkgindex_http.cli import main

        main(args, prog_name="pkgindex-serve")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    serve_forks(socket.socket(fileno=os.dup(0)))
