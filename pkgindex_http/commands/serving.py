"""The work of `pkgindex-serve run`: starts the server, prints its URL, and stops it gracefully."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_http.commands.greeting import PROXPI, greet, greet_clients
from pkgindex_http.commands.listening import cannot_listen
from pkgindex_http.commands.logs import configure_logging
from pkgindex_http.commands.new_store_options import unused_options
from pkgindex_http.server_half import load_client, load_server
from pkgindex_http.settings import ServerSettings

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

_log = logging.getLogger(__name__)

_KINDS: Final = (PROXPI, "pypiserver", "routes")
"""Tables of which each says what the default index is."""
_FIRST_MOMENTS: Final = 1.0
"""Seconds after a start in which only requests are served."""


def run_server(settings: ServerSettings, *, new_store: bool, log_file: Path | None, quiet: bool) -> None:
    """Serve until a signal. An error that prevents it ends the process with a message. For the log see `configure_logging`.

    The caller disables the garbage collector. It is enabled when the server listens.
    """
    load_server()
    try:
        _check_kind(settings)
        configure_logging(settings, file=log_file, quiet=quiet)
        _run_loop(settings, new_store=new_store)
    except PkgIndexError as error:
        fail(error)
    except OSError as error:
        fail(cannot_listen(error, settings.host, settings.port))


def _run_loop(settings: ServerSettings, *, new_store: bool) -> None:
    if sys.platform == "win32":
        asyncio.run(serve(settings, new_store=new_store))
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, new_store=new_store))


async def serve(settings: ServerSettings, *, new_store: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; a second signal stops at once.

    `new_store`: see `Engine.open`.
    """
    from pkgindex_http.opening import opened_engine
    from pkgindex_http.server import Server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped, number)
    async with opened_engine(settings, followers=True, new_store=new_store) as engine:
        server = Server(engine, settings)  # before a store is begun: it raises what is wrong with plugins
        password_file = await _prepare(engine, settings)
        addresses = await server.start(settings.host, settings.port)
        gc.freeze()
        gc.enable()
        if PROXPI in settings.plugins:
            greet_clients(settings, addresses[0])
        else:
            greet(settings, addresses[0], password_file)
            for line in await unused_options(engine):
                talk(line)
        if server.default_index not in (await engine.store.tree()).indexes:
            talk(
                f"The default index {server.default_index} does not exist yet. Make it: pkgindex-serve index create {server.default_index}"
            )
        examination = loop.create_task(_examine(engine))  # a task, so that no upstream delays the start
        await stopped.wait()
        examination.cancel()
        talk(_stopping(server.busy))
        await server.stop()


def _check_kind(settings: ServerSettings) -> None:
    """Refuse tables of which each would make the default index."""
    kinds = [f"[plugins.{name}]" for name in _KINDS if name in settings.plugins]
    if len(kinds) > 1:
        raise Refused(
            f"{' and '.join(kinds)} exclude each other: a server has one default index",
            hint="start a server for each; directories, --routes and the command proxy stand for such tables",
        )


async def _prepare(engine: Engine, settings: ServerSettings) -> Path | None:
    """Make the indexes that the server starts with. Returns the file with root's password, if one was generated."""
    if (table := settings.plugins.get(PROXPI)) is not None:
        from pkgindex_http.proxpi import indexes as caches
        from pkgindex_http.proxpi.settings import read_settings as read_upstreams

        await caches.prepare(engine, settings, read_upstreams(table))
        return None
    if (table := settings.plugins.get("pypiserver")) is not None:
        from pkgindex_http.pypiserver import indexes
        from pkgindex_http.pypiserver.settings import read_settings

        return await indexes.prepare(engine, settings, read_settings(table))
    if (table := settings.plugins.get("routes")) is not None:
        from pkgindex_http.simpleindex import indexes as routed
        from pkgindex_http.simpleindex.settings import read_settings as read_routes

        return await routed.prepare(engine, settings, read_routes(table))
    return await engine.prepare()


async def _examine(engine: Engine) -> None:
    """Log the problems of the mirrors' upstreams. A thread loads the HTTP client first, so that no page waits for that.

    A server without mirrors does not load it: its certificates take 6 MB.
    """
    await asyncio.sleep(_FIRST_MOMENTS)
    if any(index.mirrored for index in (await engine.store.tree()).indexes.values()):
        await engine.in_worker(load_client)
    for name, problem in (await engine.examining.all()).items():
        _log.warning("%s: %s", name, problem)


def _stopping(busy: int) -> str:
    if not busy:
        return "stopping"
    requests = "1 request" if busy == 1 else f"{busy} requests"
    return f"stopping: waiting for {requests} to finish; Ctrl-C again stops at once"


def _stop(stopped: asyncio.Event, number: int) -> None:
    if stopped.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stopped.set()
