"""`pkgindex-serve retain`: removes what the retention rule of an index does not keep, and brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.names import parse_index_name
from pkgindex_http.commands.clearing import seconds
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkgindex_core.services.writing.bringing_back import BroughtBack
    from pkgindex_core.services.writing.retaining import JudgedProject


@command()
@settings_options
@click.argument("index_name", metavar="USER/INDEX")
@click.option("--dry-run", is_flag=True, help="Tell what would be done and why, and change nothing.")
@click.option("--undo", is_flag=True, help="Bring back what was removed.")
@click.option(
    "--within",
    default="7d",
    show_default=True,
    metavar="TIME",
    callback=seconds,
    help="With --undo: how long ago the oldest removal is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def retain(index_name: str, dry_run: bool, undo: bool, within: float, as_json: bool, settings: Settings) -> None:
    """Remove the releases that the retention rule of an index does not keep, or bring them back.

    The options retain_releases, retain_prereleases, retain_age and retain_always of the index are its rule. A running server applies it
    once an hour. Releases that come back stay whatever the rule says. They can come back until `gc` has removed their files.
    """
    index = parse_index_name(index_name)
    async with opened(settings, mirrors=False) as engine:
        if undo:
            back = await engine.retaining.bring_back(index, within=within, who=ADMINISTRATOR.label, dry_run=dry_run)
            _tell_back(back, dry_run=dry_run, as_json=as_json)
            return
        with progress_bar("Judging") as progress:
            judged = await engine.retaining.retain(index, dry_run=dry_run, progress=progress)
    _tell(judged, dry_run=dry_run, as_json=as_json)


def _tell(judged: Sequence[JudgedProject], *, dry_run: bool, as_json: bool) -> None:
    verdicts = [(each.project, verdict) for each in judged for verdict in each.verdicts]
    if as_json:
        projects = {each.project: msgspec.to_builtins(each.verdicts) for each in judged}
        print_json({"dry_run": dry_run, "projects": projects})
    else:
        for project, verdict in verdicts:
            what = ("would go" if dry_run else "removed") if verdict.goes else "protected"
            counted = f"{len(verdict.files)} file{'s' * (len(verdict.files) != 1)}\t{verdict.bytes} bytes"
            click.echo(f"{what}\t{project}\t{verdict.version}\t{counted}\t{verdict.reason}")
    going = [verdict for _, verdict in verdicts if verdict.goes]
    would_be = "would be" if dry_run else "were"
    talk(f"{len(going)} releases ({sum(each.bytes for each in going)} bytes) {would_be} removed")


def _tell_back(back: Sequence[BroughtBack], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run, "projects": msgspec.to_builtins(back)})
    else:
        for each in back:
            for filename in each.files:
                click.echo(f"{'would come back' if dry_run else 'brought back'}\t{each.project}\t{filename}")
            for filename in each.gone:
                click.echo(f"gone\t{each.project}\t{filename}")
    files, gone = sum(len(each.files) for each in back), sum(len(each.gone) for each in back)
    talk(f"{files} files {'would be' if dry_run else 'were'} brought back; the bytes of {gone} are gone")
