"""Parts of commands that work on a store: the options that name it, an engine for one command, and errors in two lines.

Commands open the stores themselves, with a server running or without. Both see each other's commits.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from pkgindex_core.commands.helping import SettingsOption
from pkgindex_core.commands.telling import fail
from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.spelling import suggestion

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.plugins import Plugins

P = ParamSpec("P")
T = TypeVar("T")


def taking_settings(load: Callable[..., Settings]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the decorator that adds the options which choose stores and configuration; the command is called with the `settings` that
    `load(config, data=…, store=…, blobs=…)` makes of them.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(config: Path | None, data: str | None, store: str | None, blobs: str | None, **options: Any) -> Any:
            try:
                settings = load(config, data=data, store=store, blobs=blobs)
            except PkgIndexError as error:
                fail(error)
            return command(settings=settings, **options)

        for option in (blobs_option, store_option, config_option, data_option):
            run = option(run)
        return run

    return decorate


_setting = partial(click.option, cls=SettingsOption)
data_option = _setting("--data", metavar="DIR", help="Data directory.  [default: the user's data directory]")
config_option = _setting(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML configuration file.  [default: none]"
)
store_option = _setting("--store", metavar="URL", help="Index store.  [default: SQLite in the data directory]")
blobs_option = _setting("--blobs", metavar="URL", help="Blob store.  [default: files in the data directory]")


@asynccontextmanager
async def opened(
    settings: Settings,
    *,
    plugins: Plugins | None = None,
    mirrors: bool = False,
    create: bool = False,
    restoring: str = "",
    renew_checksums: bool = False,
) -> AsyncIterator[Engine]:
    """Open an engine for one command. Without `mirrors` nothing is fetched, and no HTTP client is loaded.

    Without `plugins` the installed ones are loaded. With `create` a missing store is made. `restoring` is the identity of the backup that will fill it. `renew_checksums`: see
    `Engine.open`.
    """
    from pkgindex_core.engine import Engine

    async with Engine.open(
        settings,
        plugins=plugins,
        mirrors=mirrors,
        create=create,
        restoring=restoring,
        renew_checksums=renew_checksums,
    ) as engine:
        if create and not restoring:
            await engine.prepare()
        try:
            yield engine
        except Missing as error:
            if error.what == "index" and not error.hint:
                error.hint = suggestion(error.name, (await engine.store.tree()).indexes)
            raise


def asynchronous(function: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Run the coroutine of a command. A `PkgIndexError` becomes two lines on standard error and exit status 1."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return asyncio.run(_awaited(function(*args, **kwargs)))
        except PkgIndexError as error:
            fail(error)

    return run


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
