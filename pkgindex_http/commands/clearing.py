"""`pkgindex-serve gc`: removes the files of the store that nothing refers to any more.

Exit status: 0 when it is done; 1 when it stopped with an error. The same command continues after a stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.formats.quantities import quantity
from pkgindex_http.commands.common import asynchronous, opened, settings_options

if TYPE_CHECKING:
    from pkgindex_core.services.administering.clearing_run import Cleared


def seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Read an option that is an amount of time."""
    found = quantity(text, "seconds")
    if found is None:
        raise click.BadParameter(f"{text!r} is no amount of seconds; write 24h, 7d, or a number of seconds")
    return found


@command()
@settings_options
@click.option("--dry-run", is_flag=True, help="Tell what would be removed, and change nothing.")
@click.option(
    "--grace",
    default="24h",
    show_default=True,
    metavar="TIME",
    callback=seconds,
    help="Time between finding a file unused and removing it, such as 7d.",
)
@click.option(
    "--only-index",
    is_flag=True,
    help="The copy of the index that `migrate` has made over the same files is not used any more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON document.")
@asynchronous
async def gc(dry_run: bool, grace: float, only_index: bool, as_json: bool, settings: Settings) -> None:
    """Remove files that nothing refers to any more: of deleted and replaced packages, and of uploads that failed.

    The first run finds and notes them, and a run after the grace removes them. Servers may run meanwhile. Run it once a day.
    """
    async with opened(settings, mirrors=False) as engine:
        with progress_bar("Clearing") as progress:
            done = await engine.clearing.clear(
                grace=grace, dry_run=dry_run, progress=progress, is_only_index=only_index
            )
    _tell(done, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **msgspec.to_builtins(done)})


def _tell(done: Cleared, *, dry_run: bool) -> None:
    would_be = "would be" if dry_run else "were"
    talk(f"{done.unused} of {done.blobs} files ({done.unused_bytes} of {done.bytes} bytes) are unused")
    talk(
        f"{done.removed} ({done.removed_bytes} bytes) {would_be} removed, {done.condemned} {would_be} found now,"
        f" {done.waiting} wait for the end of the grace, {done.revived} are used again"
    )
