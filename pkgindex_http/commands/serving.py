"""One process of a server: opens the store, listens, prints the URL, and stops gracefully."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.commands.telling import talk
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.tools.workers import aside
from pkgindex_http.commands.greeting import PROXPI, greet, greet_clients, greet_readers
from pkgindex_http.commands.listening import cannot_listen
from pkgindex_http.commands.new_store_options import unused_options
from pkgindex_http.commands.notifying import notify, notify_reloading, watchdog_seconds
from pkgindex_http.listening.server_half import load_client
from pkgindex_http.listening.sockets import address_of
from pkgindex_http.settings import ServerSettings

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_http.commands.supervising import WorkerLink
    from pkgindex_http.listening.certificates import Certificate
    from pkgindex_http.server import Server

_log = logging.getLogger(__name__)

_YOUNG: Final = 10_000
"""New containers after which the garbage collector looks through them. Python's 700 are those of one long page, and nearly none of them is garbage."""
_FIRST_MOMENTS: Final = 1.0
"""Seconds after a start in which only requests are served."""
_TELLING: Final = 1.0
"""Seconds for which a stop waits until it is told."""


async def serve(
    settings: ServerSettings,
    sockets: Sequence[socket.socket],
    *,
    new_store: bool = False,
    link: WorkerLink | None = None,
    meeting: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal stops at once.

    `new_store`: see `Engine.open`. `link`: to the supervisor of several workers, and `meeting`: their directory (`Siblings`).
    """
    from pkgindex_core.services.administering.catalogue_following import CatalogueFollower
    from pkgindex_core.services.moving.following import following
    from pkgindex_core.services.writing.retention_runs import RetentionRuns
    from pkgindex_http.handlers.metrics import counted
    from pkgindex_http.listening.siblings import Siblings
    from pkgindex_http.opening import opened_engine
    from pkgindex_http.server import Server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped, number)
    certificate = _certificate(settings)
    siblings = Siblings(meeting, link.number) if link is not None and meeting is not None else None
    async with opened_engine(settings, followers=True, new_store=new_store) as engine, AsyncExitStack() as stack:
        _check_replica(engine, settings)
        # The server is made before a store is begun: it raises what is wrong with plugins.
        server = Server(engine, settings, siblings=siblings)
        password_file = await _prepare(engine, settings) if engine.replica is None else None
        await stack.enter_async_context(following([CatalogueFollower(lambda: engine.cataloguing, engine.store)]))
        if engine.replica is None:
            await stack.enter_async_context(following([RetentionRuns(engine.store, lambda: engine.retaining)]))
        if siblings is not None:
            await siblings.listen(partial(counted, engine, server.figures))
            stack.callback(siblings.close)
        try:
            await server.listen(sockets, tls=certificate.context if certificate else None)
        except OSError as error:
            raise cannot_listen(error, *address_of(sockets[0])) from error
        gc.freeze()
        gc.set_threshold(_YOUNG)
        gc.enable()
        if link is None or link.number == 1:
            await _greet(engine, settings, server, address_of(sockets[0]), password_file)
        if link is not None:
            link.tell_ready()
            loop.add_reader(link.life, stopped.set)
        else:
            _be_managed(loop, certificate)
        tasks = []
        if link is None or link.number == 1:
            tasks.append(loop.create_task(_examine(engine)))  # a task, so that no upstream delays the start
        if certificate is not None:
            tasks.append(loop.create_task(certificate.watch()))
        tasks += [loop.create_task(work) for work in _background(engine, settings)]
        await stopped.wait()
        for task in tasks:
            task.cancel()
        if link is None:
            notify("STOPPING=1")
        if link is None or server.busy:
            # Standard error may be a pipe that nothing reads any more.
            await asyncio.wait([aside(talk, _stopping(server.busy))], timeout=_TELLING)
        await server.stop()
        await asyncio.gather(*tasks, return_exceptions=True)  # work that held a lease has ended it then
        if engine.replica is None:
            await _write_counts(engine)


async def _write_counts(engine: Engine) -> None:
    """Write what was counted since the last time. No request is under way any more."""
    try:
        await engine.activity.write()
    except PkgIndexError as error:
        _log.warning("the last counts of downloads are lost: %s", error.message)


def _check_replica(engine: Engine, settings: ServerSettings) -> None:
    """Refuse to run a replica that would stay as it is."""
    if engine.replica is None or engine.replica.credentials:
        return
    if settings.follow:
        raise Refused(
            "a replica needs a token of the server that it follows",
            hint="put it into PKGINDEX_FOLLOW_TOKEN, or into a file that --token-file names",
        )
    raise Refused(
        f"the store is a replica of {engine.replica.primary}",
        hint="serve it with `pkgindex-mirror follow`, or make it the primary with `pkgindex-serve promote`",
    )


def _certificate(settings: ServerSettings) -> Certificate | None:
    if not settings.tls_certificate and not settings.tls_key:
        return None
    from pkgindex_http.listening.certificates import Certificate

    return Certificate.of(settings)


async def _greet(
    engine: Engine, settings: ServerSettings, server: Server, address: tuple[str, int], password_file: Path | None
) -> None:
    """Print where the server is, and what an administrator should know."""
    if engine.replica is not None:
        greet_readers(settings, address, engine.replica.primary)
        return
    if PROXPI in settings.plugins:
        greet_clients(settings, address)
    else:
        greet(settings, address, password_file)
        for line in await unused_options(engine):
            talk(line)
    if server.default_index not in (await engine.store.tree()).indexes:
        talk(
            f"The default index {server.default_index} does not exist yet. Make it: pkgindex-serve index create {server.default_index}"
        )


def _be_managed(loop: asyncio.AbstractEventLoop, certificate: Certificate | None) -> None:
    """Tell the service manager that the server runs, go on telling it, and read the certificate again at SIGHUP."""

    def reload() -> None:
        notify_reloading()
        if certificate is not None:
            certificate.renew()
        notify("READY=1")

    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGHUP, reload)
    notify("READY=1")
    if (pause := watchdog_seconds()) is not None:

        def beat() -> None:
            notify("WATCHDOG=1")
            loop.call_later(pause, beat)

        beat()


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
    """Log the problems of indexes: of mirrors' upstreams, and of policies without advisories. A thread loads the HTTP client first, so that no page waits for that.

    A server without mirrors does not load it: its certificates take 6 MB.
    """
    await asyncio.sleep(_FIRST_MOMENTS)
    if any(index.mirrored for index in (await engine.store.tree()).indexes.values()):
        await engine.in_worker(load_client)
    for name, problem in (await engine.examining.all()).items():
        _log.warning("%s: %s", name, problem)


def _background(engine: Engine, settings: ServerSettings) -> Iterator[Coroutine[None, None, None]]:
    """The work that one of the servers over the store does."""
    if settings.scrub.rate:
        yield _scrub(engine, settings)
    if settings.gc.every:
        yield _clear(engine, settings)
    if engine.replica is None:
        yield engine.activity.keep_on(pause=asyncio.sleep)


async def _scrub(engine: Engine, settings: ServerSettings) -> None:
    """Scrub the store. Its modules are loaded behind the first moments."""
    await asyncio.sleep(_FIRST_MOMENTS)
    await engine.scrubbing.keep_on(rate=settings.scrub.rate, every=settings.scrub.every, pause=asyncio.sleep)


async def _clear(engine: Engine, settings: ServerSettings) -> None:
    """Remove unused files; see `_scrub`."""
    await asyncio.sleep(_FIRST_MOMENTS)
    await engine.clearing.keep_on(every=settings.gc.every, grace=settings.gc.grace, pause=asyncio.sleep)


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
