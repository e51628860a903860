"""`pkgindex-serve run`: start the server, say where it is, stop it gracefully."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.config import Settings
from pkgindex_core.errors import PkgIndexError
from pkgindex_http.commands.common import blobs_option, config_option, fail, settings_from, store_option, talk
from pkgindex_http.commands.greeting import greet
from pkgindex_http.commands.helping import command
from pkgindex_http.commands.listening import cannot_listen
from pkgindex_http.commands.logs import configure_logging
from pkgindex_http.commands.new_store_options import unused_options

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

_log = logging.getLogger(__name__)


@command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("-p", "--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3141]")
@click.option("--data", metavar="DIR", help="Where everything is kept.  [default: the user's data directory]")
@click.option("--upstream", metavar="URL", help="What root/pypi of a new store mirrors.  [default: PyPI]")
@click.option("--outside-url", metavar="URL", help="How this server is reached from outside, prefix and all.")
@click.option(
    "--trusted-proxies", metavar="NETWORK", multiple=True, help="Proxies whose X-Forwarded-* headers count; repeatable."
)
@click.option(
    "--default-index", metavar="USER/INDEX", help="The index behind /simple/ and /legacy/.  [default: root/dev]"
)
@click.option(
    "--root-password",
    "--root-passwd",
    "root_password",
    metavar="TEXT",
    help="Password of root in a new store; '' is an empty one.  [default: generated]",
)
@click.option("--open-registration", is_flag=True, default=None, help="Anybody may make a user.")
@click.option(
    "--restrict-modify",
    metavar="NAME,:GROUP",
    help="Who alone may manage users and indexes, instead of root and owners.",
)
@click.option("--max-upload-bytes", metavar="SIZE", help="Largest file that may be uploaded, such as 3GiB.")
@click.option(
    "--new-store", is_flag=True, help="Begin a new index, or go on, even where the files of another index are."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="How it is logged.")
@click.option("--access-log/--no-access-log", default=None, help="One line a request on stderr.")
@config_option
@store_option
@blobs_option
def run(config: Path | None, new_store: bool, **flags: Any) -> None:
    """Serve the index: 127.0.0.1:3141, everything under the user's data directory, PyPI behind it."""
    try:
        settings = settings_from(config, **flags)
    except PkgIndexError as error:
        fail(error)
        return
    configure_logging(settings)
    try:
        _run_loop(settings, new_store=new_store)
    except PkgIndexError as error:
        fail(error)
    except OSError as error:
        fail(cannot_listen(error, settings.host, settings.port))


def _run_loop(settings: Settings, *, new_store: bool) -> None:
    if sys.platform == "win32":
        asyncio.run(serve(settings, new_store=new_store))
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, new_store=new_store))


async def serve(settings: Settings, *, new_store: bool = False) -> None:
    """Serve until a signal says stop; a second one stops at once.

    `new_store`: also where the files of another index are (`Engine.open`).
    """
    from pkgindex_core.engine import Engine
    from pkgindex_http.server import Server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped, number)
    async with Engine.open(settings, followers=True, new_store=new_store) as engine:
        password_file = await engine.prepare()
        server = Server(engine)
        addresses = await server.start(settings.host, settings.port)
        greet(settings, addresses[0], password_file)
        for line in await unused_options(engine):
            talk(line)
        if server.default_index not in (await engine.store.tree()).indexes:
            talk(
                f"The default index {server.default_index} does not exist yet; make it: pkgindex-serve index create {server.default_index}"
            )
        examination = loop.create_task(_examine(engine))  # whatever an upstream does, the server runs
        await stopped.wait()
        examination.cancel()
        talk(_stopping(server.busy))
        await server.stop()


async def _examine(engine: Engine) -> None:
    """Log what is wrong with the upstreams of mirrors."""
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
