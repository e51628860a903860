"""`pkgindex-serve run`: start the server, say where it is, stop it gracefully."""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.config import Settings
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.services.administration import PASSWORD_FILE
from pkgindex_http.commands.common import fail, settings_from, settings_options, talk

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine


@click.command()
@settings_options
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("-p", "--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3141]")
@click.option("--upstream", metavar="URL", help="What a fresh store's root/pypi mirrors.  [default: PyPI]")
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
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="How it is logged.")
@click.option("--access-log/--no-access-log", default=None, help="One line a request on stderr.")
def run(config: Path | None, **flags: Any) -> None:
    """Serve the index: 127.0.0.1:3141, everything under the user's data directory, PyPI behind it."""
    try:
        settings = settings_from(config, **flags)
        configure_logging(settings)
        _run_loop(settings)
    except PkgIndexError as error:
        fail(error)
    except OSError as error:
        from pkgindex_core.errors import Unavailable

        fail(
            Unavailable(
                f"cannot listen: {error.strerror or error}",
                hint="is another server on this port? choose one with --port",
            )
        )


def _run_loop(settings: Settings) -> None:
    if sys.platform == "win32":
        asyncio.run(serve(settings))
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve until a signal says stop; a second one stops at once."""
    from pkgindex_core.engine import Engine
    from pkgindex_http.server import Server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopped, number)
    async with Engine.open(settings, followers=True) as engine:
        password_file = await engine.prepare()
        server = Server(engine)
        addresses = await server.start(settings.host, settings.port)
        _greet(engine, addresses[0], password_file)
        if server.default_index not in (await engine.store.tree()).indexes:
            talk(
                f"The default index {server.default_index} does not exist yet; make it: pkgindex-serve index create {server.default_index}"
            )
        await stopped.wait()
        talk("stopping: requests under way may finish")
        await server.stop()


def _stop(stopped: asyncio.Event, number: int) -> None:
    if stopped.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stopped.set()


def _greet(engine: Engine, address: tuple[str, int], password_file: Path | None) -> None:
    settings = engine.settings
    host, port = address
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = settings.outside_url.rstrip("/") or f"http://{netloc}"
    place = password_file or Path(settings.data) / PASSWORD_FILE
    talk(f"pkgindex serves {settings.default_index} at {url}/  (data: {settings.data})")
    credentials = "-u root"
    if place.exists():
        credentials = f'-u root -p "$(cat {shlex.quote(str(place))})"'
        made = "The password of root was generated; it" if password_file else "The password of root"
        talk(f"{made} lies in {place}")
    elif settings.root_password == "":
        talk(
            "WARNING: the password of root is empty, unless it was changed: whoever reaches this server is its administrator"
        )
    talk("")
    talk("Paste one of these:")
    talk(f"  pip install --index-url {url}/simple/ PACKAGE")
    talk(f"  uv pip install --default-index {url}/simple/ PACKAGE")
    talk(f"  twine upload --repository-url {url}/legacy/ {credentials} dist/*")
    talk(f"  devpi use {url}")
    talk("")
    # The one line of data: where the server is, for programs that started it.
    click.echo(f"{url}/")
    sys.stdout.flush()


def configure_logging(settings: Settings) -> None:
    """Log to stderr. Access lines are JSON in either format."""
    handler = logging.StreamHandler()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    if settings.log_format == "json":
        from pkgindex_http.access_log import JsonFormatter

        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    access = logging.getLogger("pkgindex.access")
    access.propagate = False
    access.handlers[:] = [logging.StreamHandler()]
    access.setLevel(logging.INFO if settings.access_log else logging.CRITICAL)
