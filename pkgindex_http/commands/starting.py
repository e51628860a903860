"""The work of `pkgindex-serve run`: takes the sockets, and serves in this process or in several."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from pkgindex_core.commands.telling import fail
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.memory import share_memory
from pkgindex_http.commands.greeting import PROXPI
from pkgindex_http.commands.listening import cannot_listen
from pkgindex_http.commands.logs import configure_logging, end_logging
from pkgindex_http.commands.serving import serve
from pkgindex_http.listening.server_half import load_server
from pkgindex_http.listening.sockets import bound, handed_over
from pkgindex_http.settings import ServerSettings

_KINDS: Final = (PROXPI, "pypiserver", "routes")
"""Tables of which each says what the default index is."""


class Log(NamedTuple):
    """Where the log goes besides standard error; `quiet`: instead of it."""

    file: Path | None = None
    quiet: bool = False


def run_server(
    settings: ServerSettings, read_settings: Callable[[], ServerSettings], *, new_store: bool, log: Log
) -> None:
    """Serve until a signal. An error that prevents it ends the process with a message.

    `read_settings` reads the settings anew at SIGHUP. The caller disables the garbage collector. It is enabled when the server listens.
    """
    share_memory()
    load_server()
    try:
        _check_kind(settings)
        configure_logging(settings, file=log.file, quiet=log.quiet)
        with ExitStack() as stack:
            sockets = [stack.enter_context(each) for each in handed_over(os.environ) or _bound(settings)]
            if settings.workers == 1:
                _run_loop(serve(settings, sockets, new_store=new_store))
            else:
                status = _supervise(settings, sockets, read_settings, new_store=new_store, log=log)
                end_logging(status)
                sys.exit(status)
    except PkgIndexError as error:
        fail(error)


def _bound(settings: ServerSettings) -> Sequence[socket.socket]:
    try:
        return bound(settings.host, settings.port)
    except OSError as error:
        raise cannot_listen(error, settings.host, settings.port) from error


def _supervise(
    settings: ServerSettings,
    sockets: Sequence[socket.socket],
    read_settings: Callable[[], ServerSettings],
    *,
    new_store: bool,
    log: Log,
) -> int:
    """Serve with several processes; the exit status."""
    if not hasattr(os, "fork"):
        raise Refused("this system has no fork, so there is one worker", hint="leave out --workers")
    _require_shared(settings)
    import shutil
    import tempfile

    from pkgindex_http.commands.supervising import Supervisor, WorkerLink

    meeting = Path(tempfile.mkdtemp(prefix="pkgindex-"))

    def work(settings: ServerSettings, link: WorkerLink) -> None:
        try:
            _check_kind(settings)
            _require_shared(settings)
            configure_logging(settings, file=log.file, quiet=log.quiet)
            _run_loop(serve(settings, sockets, new_store=new_store and link.number == 1, link=link, meeting=meeting))
        except PkgIndexError as error:
            fail(error)

    try:
        return Supervisor(settings, work, read_settings, sockets).run()
    finally:
        shutil.rmtree(meeting, ignore_errors=True)


def _run_loop(serving: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(serving)
    else:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving)
    end_logging()


def _require_shared(settings: ServerSettings) -> None:
    """Refuse stores that each worker would have for itself, and copies that each would make."""
    if settings.follow:
        raise Refused("a replica has one worker", hint="start more replicas, each with a data directory of its own")
    if any(each.startswith("memory:") for each in (settings.store, settings.blobs, settings.mirrored_blobs)):
        raise Refused(
            "each worker would have a store of its own in memory", hint="use another --store or --blobs, or one worker"
        )


def _check_kind(settings: ServerSettings) -> None:
    """Refuse tables of which each would make the default index."""
    kinds = [f"[plugins.{name}]" for name in _KINDS if name in settings.plugins]
    if len(kinds) > 1:
        raise Refused(
            f"{' and '.join(kinds)} exclude each other: a server has one default index",
            hint="start a server for each; directories, --routes and the command proxy stand for such tables",
        )
