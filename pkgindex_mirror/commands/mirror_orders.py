"""The mirror that a command works on: a configuration, and the index of a server that is the mirror, if it is no tree.

`taking_mirror` adds the options for both. The stores of the index are chosen as by other commands (`--data`, `--store`, `--blobs`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from pkgindex_core.commands.helping import SettingsOption
from pkgindex_core.commands.stores import blobs_option, data_option, store_option
from pkgindex_core.commands.telling import fail
from pkgindex_core.config import Settings
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.names import IndexName, parse_index_name
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.commands.common import library_settings
from pkgindex_mirror.commands.configurations import taking_configuration


class IndexPlace(Struct, frozen=True, kw_only=True):
    """An index of a server."""

    index: IndexName
    settings: Settings
    """Those of the stores."""

    @property
    def status_directory(self) -> Path:
        """Where the status of a run is written."""
        return Path(self.settings.data) / "syncing" / self.index


class MirrorOrder(Struct, frozen=True, kw_only=True):
    """The mirror to work on."""

    configuration: MirrorConfiguration
    place: IndexPlace | None = None
    """None: the mirror is the tree of the configuration."""


index_option = click.option(
    "--index",
    metavar="USER/INDEX",
    default="",
    cls=SettingsOption,
    help="Mirror into this index of a server, and not into the directory of the configuration. It is made if it is missing.",
)


def taking_mirror(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a mirror, and call the command with it as `order`."""

    @functools.wraps(command)
    def run(
        configuration: MirrorConfiguration,
        index: str,
        data: str | None,
        store: str | None,
        blobs: str | None,
        **options: Any,
    ) -> Any:
        try:
            place = index_place(index, data=data, store=store, blobs=blobs)
        except PkgIndexError as error:
            fail(error)
        return command(order=MirrorOrder(configuration=configuration, place=place), **options)

    taking = taking_configuration(run)
    for option in (blobs_option, store_option, data_option, index_option):
        taking = option(taking)
    return taking


def index_place(index: str, **stores: str | None) -> IndexPlace | None:
    """The index that the options name; None when they name none. `PKGINDEX_CONFIG` names the configuration of the server."""
    if not index:
        return None
    file = os.environ.get("PKGINDEX_CONFIG")
    return IndexPlace(index=parse_index_name(index), settings=library_settings(Path(file) if file else None, **stores))
