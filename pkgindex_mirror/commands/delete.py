"""`pkgindex-mirror delete`: removes projects from a mirror."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.configurations import taking_configuration
from pkgindex_mirror.commands.mirror_runs import begin_logging, debug_option, json_option, run_loop

if TYPE_CHECKING:
    from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
    from pkgindex_mirror.trees.deleting import DeleteReport


@command()
@taking_configuration
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Not needed: for bandersnatch's command lines.")
@json_option
@debug_option
def delete(
    configuration: MirrorConfiguration,
    *,
    packages: tuple[str, ...],
    dry_run: bool,
    workers: int | None,  # noqa: ARG001 - bandersnatch has it
    as_json: bool,
    debug: bool,
) -> None:
    """Remove each PACKAGE with its files, pages and documents. The next run brings it again if the filters choose it.

    Exit status: the number of packages that the mirror does not have.
    """
    import msgspec

    from pkgindex_core.commands.telling import print_json, talk

    begin_logging(debug=debug)
    report = run_loop(_delete(configuration, packages, dry_run=dry_run))
    would = "would be " if dry_run else ""
    for name in report.deleted:
        talk(f"{would}deleted: {name}")
    for name in report.absent:
        talk(f"error: the mirror does not have {name}")
    talk(f"{len(report.deleted):,} projects with {report.files:,} files {would}deleted")
    if as_json:
        print_json(msgspec.to_builtins(report))
    sys.exit(min(len(report.absent), 100))


async def _delete(configuration: MirrorConfiguration, packages: tuple[str, ...], *, dry_run: bool) -> DeleteReport:
    from pkgindex_mirror.commands.mirror_orders import MirrorOrder
    from pkgindex_mirror.commands.opened_mirrors import opened_mirror
    from pkgindex_mirror.trees.deleting import delete_projects

    order = MirrorOrder(configuration=configuration)
    async with opened_mirror(order, Path.cwd(), "change") as mirror, mirror.tree.turn():
        return await delete_projects(mirror.tree, packages, dry_run=dry_run)
