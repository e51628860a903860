"""The option `-c FILE` of commands that work on a mirror. It stands before the command, as for bandersnatch, or behind it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pkgindex_core.commands.telling import talk, tell
from pkgindex_core.errors import Missing, PkgIndexError

if TYPE_CHECKING:
    from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration

DEFAULT_PATH: Final = "/etc/bandersnatch.conf"
ABSENT, UNUSABLE = 1, 2
"""Exit codes of bandersnatch: there is no file, and it cannot be used."""
_REMEMBERED: Final = "pkgindex_mirror.configuration"

configuration_option = click.option(
    "-c",
    "--config",
    "configuration",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The configuration of the mirror: a bandersnatch.conf, or the same in TOML.  [default: {DEFAULT_PATH}]",
)


def remember(context: click.Context, configuration: Path | None) -> None:
    """Keep the file that stands before the command."""
    context.meta[_REMEMBERED] = configuration


def configuration_before(context: click.Context) -> Path | None:
    """The file that stands before the command."""
    found: Path | None = context.meta.get(_REMEMBERED)
    return found


def taking_configuration_path(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `-c FILE`, and call the command with the path of the file as `path`."""

    @functools.wraps(command)
    def run(configuration: Path | None, **options: Any) -> Any:
        before = configuration_before(click.get_current_context())
        return command(path=configuration or before or Path(DEFAULT_PATH), **options)

    return configuration_option(run)


def taking_configuration(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `-c FILE`, and call the command with its `configuration`, a `MirrorConfiguration` without errors.

    With an `index` among the options of the command the configuration needs no directory.

    Warnings go to standard error. As bandersnatch the program exits with 1 if there is no file, with 2 if it cannot be used, and
    configures logging as `log-config` says.
    """

    @functools.wraps(command)
    def run(path: Path, **options: Any) -> Any:
        examined = examined_or_exit(path, into_index=bool(options.get("index")))
        if examined.errors:
            _exit_unusable(examined)
        for notice in examined.notices:
            if notice.level == "warning":
                talk(f"warning: {notice}")
        if examined.configuration.log_config:
            _configure_logging(examined)
        return command(configuration=examined.configuration, **options)

    return taking_configuration_path(run)


def examined_or_exit(path: Path, *, into_index: bool = False) -> ExaminedConfiguration:
    """Examine a file, or exit as bandersnatch does without one that can be read."""
    from pkgindex_mirror.bandersnatch.reading import examine_configuration

    try:
        return examine_configuration(path, os.environ, into_index=into_index)
    except PkgIndexError as error:
        tell(error)
        raise SystemExit(ABSENT if isinstance(error, Missing) else UNUSABLE) from error


def _exit_unusable(examined: ExaminedConfiguration) -> None:
    from pkgindex_mirror.bandersnatch.reading import usable

    try:
        usable(examined)
    except PkgIndexError as error:
        tell(error)
        raise SystemExit(UNUSABLE) from error


def _configure_logging(examined: ExaminedConfiguration) -> None:
    from logging.config import fileConfig

    file = examined.configuration.log_config
    try:
        fileConfig(file, disable_existing_loggers=False)
    except Exception as error:  # whatever a line of that file leads to
        talk(f"error: {examined.path}: the log-config {file} cannot be used: {error}")
        talk("hint: correct that file, or remove log-config")
        raise SystemExit(UNUSABLE) from error
