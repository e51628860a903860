"""`pkgindex-mirror prune`: applies the filters to what a mirror has already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.mirror_orders import MirrorOrder, taking_mirror
from pkgindex_mirror.commands.mirror_runs import begin_logging, debug_option, json_option, run_loop

if TYPE_CHECKING:
    from pkgindex_mirror.syncing.pruning import PruneReport


@command()
@taking_mirror
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")
@json_option
@debug_option
def prune(order: MirrorOrder, *, dry_run: bool, as_json: bool, debug: bool) -> None:
    """Remove what the filters do not choose any more, without asking the upstream.

    Files that they choose now and that are not there are left to the next run.
    """
    import msgspec

    from pkgindex_core.commands.telling import print_json, talk
    from pkgindex_mirror.amounts import amount

    begin_logging(debug=debug)
    report = run_loop(_prune(order, dry_run=dry_run))
    would = "would be " if dry_run else ""
    for each in report.removed:
        talk(f"{would}removed: {each}")
    for each in report.unknown:
        talk(f"note: {each} stays as it is: a filter reads its JSON document, which is not stored or cannot be read")
    talk(
        f"{report.projects:,} projects looked at; {len(report.removed):,} of them and {report.files:,} files"
        f" ({amount(report.bytes)}) {would}removed; {report.later:,} files are left to the next run"
    )
    if as_json:
        print_json(msgspec.to_builtins(report))


async def _prune(order: MirrorOrder, *, dry_run: bool) -> PruneReport:
    from pkgindex_mirror.commands.live_view import watching
    from pkgindex_mirror.commands.opened_mirrors import opened_mirror
    from pkgindex_mirror.syncing.pruning import Pruning

    async with (
        opened_mirror(order, Path.cwd(), "change") as mirror,
        mirror.target.turn(),
        watching(mirror.progress),
    ):
        return await Pruning(
            mirror.target, mirror.chosen, mirror.progress, dry_run=dry_run, policies=mirror.settings.policies
        ).run()
