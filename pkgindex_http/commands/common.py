"""What the commands share: settings from options, an engine for one command, output for people and for programs.

stdout is data, stderr is talk; `--json` prints documents. An error is one line that says what is wrong, one that says what to do, and
exit status 1. Commands that administer open the stores themselves, beside a running server or without one: both see each
other's commits.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
import msgspec

from pkgindex_core.config import Settings, load_settings
from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.protocols import Principal
from pkgindex_core.spelling import suggestion
from pkgindex_http.commands.helping import SettingsOption

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

P = ParamSpec("P")
T = TypeVar("T")

ADMINISTRATOR = Principal(name="root")
"""Whoever can read and write the data directory is its administrator; commits say `root`."""


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose stores and configuration; the command is called with the `settings` that they make."""

    @functools.wraps(command)
    def run(config: Path | None, data: str | None, store: str | None, blobs: str | None, **options: Any) -> Any:
        try:
            settings = settings_from(config, data=data, store=store, blobs=blobs)
        except PkgIndexError as error:
            return fail(error)
        return command(settings=settings, **options)

    for decorate in (blobs_option, store_option, config_option, data_option):
        run = decorate(run)
    return run


_setting = partial(click.option, cls=SettingsOption)
data_option = _setting("--data", metavar="DIR", help="Data directory.  [default: the user's data directory]")
config_option = _setting(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML configuration file.  [default: none]"
)
store_option = _setting("--store", metavar="URL", help="Index store.  [default: SQLite in the data directory]")
blobs_option = _setting("--blobs", metavar="URL", help="Blob store.  [default: files in the data directory]")


def settings_from(config: Path | None, **flags: Any) -> Settings:
    """Settings from the file, the environment, and the flags that were given."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return load_settings(file=config, environ=os.environ, flags=given)


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    mirrors: bool = False,
    create: bool = False,
    restoring: str = "",
    renew_checksums: bool = False,
) -> AsyncIterator[Engine]:
    """An engine for the time of one command. Without `mirrors` nothing can be fetched, and no HTTP client is loaded.

    With `create` a store that is not there is made; `restoring` is the identity of the dump that is going to fill it. `renew_checksums`: see
    `Engine.open`.
    """
    from pkgindex_core.engine import Engine

    async with Engine.open(
        settings, mirrors=mirrors, create=create, restoring=restoring, renew_checksums=renew_checksums
    ) as engine:
        if create and not restoring:
            await engine.prepare()
        try:
            yield engine
        except Missing as error:
            if error.what == "index" and not error.hint:
                error.hint = suggestion(error.name, (await engine.store.tree()).indexes)
            raise


def asynchronous(function: Callable[P, Awaitable[T]]) -> Callable[P, T | None]:
    """Run a command's coroutine, and turn what it raises on purpose into two lines and exit status 1."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return asyncio.run(_awaited(function(*args, **kwargs)))
        except PkgIndexError as error:
            fail(error)
            return None

    return run


def fail(error: PkgIndexError) -> Any:
    """Say what is wrong and what to do, and leave."""
    tell(error)
    sys.exit(1)


def tell(error: PkgIndexError, *, about: str = "") -> None:
    """Say what is wrong, perhaps with one of several things, and what to do."""
    subject = f"{about}: " if about else ""
    for problem in getattr(error, "problems", (error.message,)):
        talk(f"error: {subject}{problem}")
    if error.hint:
        talk(f"hint: {error.hint}")


def talk(text: str) -> None:
    """Say something to the person at the terminal."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print a document for a program."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
