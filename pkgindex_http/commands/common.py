"""Settings of the server from the options of its commands; the parts that commands of other programs share are handed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.commands import stores
from pkgindex_core.commands.stores import asynchronous, blobs_option, config_option, store_option, taking_settings
from pkgindex_core.config import Settings
from pkgindex_core.protocols import Principal
from pkgindex_http.settings import ServerSettings, load_settings

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

__all__ = [
    "ADMINISTRATOR",
    "asynchronous",
    "blobs_option",
    "config_option",
    "index_option",
    "opened",
    "settings_from",
    "settings_options",
    "store_option",
]

ADMINISTRATOR = Principal(name="root")
"""The principal of all commands: a user of the system that can write the data directory is its administrator."""


def settings_from(config: Path | None, *, defaults: Mapping[str, Any] | None = None, **flags: Any) -> ServerSettings:
    """Settings from the file, the environment, and the flags that were given."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return load_settings(file=config, environ=os.environ, flags=given, defaults=defaults)


index_option = click.option(
    "--index", "index_name", metavar="USER/INDEX", help="The index.  [default: the default index]"
)
settings_options = taking_settings(settings_from)
"""Adds the options that choose stores and configuration; the command is called with the `settings` that they make."""


def opened(settings: Settings, **options: Any) -> AbstractAsyncContextManager[Engine]:
    """`stores.opened` with the server's own plugin, since the configuration may have settings of it."""
    from pkgindex_core.plugins import load_plugins
    from pkgindex_http import plugin

    plugins = load_plugins(program=plugin, disabled=settings.disabled_plugins, settings=settings.plugins)
    return stores.opened(settings, plugins=plugins, **options)
