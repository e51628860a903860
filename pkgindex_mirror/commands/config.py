"""`pkgindex-mirror config`: checks, explains and migrates the configuration of a mirror."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import fail, print_json, talk
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_mirror.commands.configurations import UNUSABLE, examined_or_exit, taking_configuration_path

if TYPE_CHECKING:
    from pkgindex_mirror.bandersnatch.explaining import ExplainedConfiguration
    from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration

_WARNED = 1
_json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@group()
def config() -> None:
    """Check, explain and migrate the configuration of a mirror."""


@config.command("check")
@taking_configuration_path
@_json_option
def check(path: Path, *, as_json: bool) -> None:
    """Tell what is wrong with a configuration. Nothing is fetched or written.

    The exit code is 0 if there is nothing but notes, 1 with warnings or without a file, and 2 with errors: then nothing would be mirrored.
    """
    examined = _with_filters(examined_or_exit(path))
    status = _status(examined)
    if as_json:
        import msgspec

        notices = msgspec.to_builtins(examined.notices)
        print_json({"path": str(path), "status": status, "notices": notices})
    else:
        for notice in examined.notices:
            click.echo(f"{notice.level}: {notice}")
            if notice.advice:
                click.echo(f"    {notice.advice}")
    counts = {
        level: sum(notice.level == level for notice in examined.notices) for level in ("error", "warning", "note")
    }
    found = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count)
    talk(f"{path}: {found or 'nothing to say'}")
    sys.exit(status)


@config.command("explain")
@taking_configuration_path
@_json_option
def explain(path: Path, *, as_json: bool) -> None:
    """Print each effective value with its origin and meaning, and each filter with its meaning.

    The exit code is 2 if the configuration has errors, and otherwise 0.
    """
    from pkgindex_mirror.bandersnatch.explaining import explained

    examined = examined_or_exit(path)
    explanation = explained(examined)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(explanation))
    else:
        _print_explanation(explanation)
    for error in examined.errors:
        talk(f"error: {error}")
    if examined.errors:
        sys.exit(UNUSABLE)


@config.command("migrate")
@taking_configuration_path
@click.option(
    "--to",
    "target",
    metavar="FILE.toml",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, which only its owner can read.  [default: standard output]",
)
def migrate(path: Path, *, target: Path | None) -> None:
    """Write a configuration in TOML. Every command reads it with `-c FILE.toml`, and does the same as before."""
    from pkgindex_mirror.bandersnatch.migrating import migrated

    examined = examined_or_exit(path)
    try:
        text = migrated(examined)
        if target is None:
            click.echo(text, nl=False)
            return
        _write_new(target, text)
    except PkgIndexError as error:
        fail(error, status=UNUSABLE)
    talk(f"{target} written. {path} is as it was")


def _with_filters(examined: ExaminedConfiguration) -> ExaminedConfiguration:
    """Add an error for each setting with which the filters of a run cannot be made."""
    from msgspec.structs import replace

    from pkgindex_mirror.bandersnatch.values import ConfigurationNotice
    from pkgindex_mirror.commands.opened_mirrors import chosen_filters

    if examined.errors:
        return examined
    try:
        chosen_filters(examined.configuration, Path.cwd())
    except Refused as error:
        found = [ConfigurationNotice("error", "filters", problem, error.hint) for problem in error.problems]
        return replace(examined, notices=(*examined.notices, *found))
    return examined


def _status(examined: ExaminedConfiguration) -> int:
    if examined.errors:
        return UNUSABLE
    return _WARNED if any(notice.level == "warning" for notice in examined.notices) else 0


def _print_explanation(explanation: ExplainedConfiguration) -> None:
    section = ""
    for value in explanation.values:
        if value.section != section:
            section = value.section
            click.echo(f"[{section}]")
        shown = value.value or "(none)"
        click.echo(f"{value.key} = {shown}    ({value.origin})")
        click.echo(f"    {value.meaning}")
    click.echo(f"\n{explanation.summary}")
    for each in explanation.filters:
        click.echo(f"\n{each.filter}: {each.meaning}")
        for place, text in each.settings.items():
            click.echo(f"    {place} = {', '.join(text.splitlines())}")


def _write_new(target: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. It may have a key of a bucket, so that others cannot read it."""
    if target.suffix != ".toml":
        raise Refused(f"{target} does not end with .toml", hint="files with other names are read as bandersnatch.conf")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists():
            raise Refused(f"{target} is there already", hint="name another file, or remove it")
        with open(draft, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Refused(f"{target} cannot be written: {error.strerror}", hint="name another file with --to") from error
