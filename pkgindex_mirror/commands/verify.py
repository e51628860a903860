"""`pkgindex-mirror verify`: checks each file of a mirror, and mends what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.configurations import taking_configuration
from pkgindex_mirror.commands.mirror_runs import begin_logging, debug_option, json_option, run_loop

if TYPE_CHECKING:
    from pkgindex_core.models import File
    from pkgindex_core.names import ProjectName
    from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
    from pkgindex_mirror.trees.verifying import TreeReport

_SHOWN = 50


@command()
@taking_configuration
@click.option("--delete", is_flag=True, help="Remove files that belong to no project.")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")
@click.option(
    "--json-update", is_flag=True, help="Ask the upstream for all projects first, as `mirror --force-check` does."
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Not needed: for bandersnatch's command lines.")
@json_option
@debug_option
def verify(
    configuration: MirrorConfiguration,
    *,
    delete: bool,
    dry_run: bool,
    json_update: bool,
    workers: int | None,  # noqa: ARG001 - bandersnatch has it
    as_json: bool,
    debug: bool,
) -> None:
    """Compare each file with its digest, fetch wrong ones again, and write wrong pages anew.

    Exit status: 0 when all is right now, 3 when files are wrong that could not be fetched; with --json-update as `mirror` if that failed.
    """
    import msgspec

    from pkgindex_core.commands.telling import print_json, talk

    begin_logging(debug=debug)
    report, status = run_loop(_verify(configuration, delete=delete, dry_run=dry_run, json_update=json_update))
    for line in _lines(report, dry_run=dry_run):
        talk(line)
    if as_json:
        print_json(msgspec.to_builtins(report))
    sys.exit(status or (0 if report.is_clean else 3))


async def _verify(
    configuration: MirrorConfiguration, *, delete: bool, dry_run: bool, json_update: bool
) -> tuple[TreeReport, int]:
    """Verify; return what was found, and the exit status of the run before that."""
    from pkgindex_core.commands.telling import talk
    from pkgindex_mirror.commands.mirror_orders import MirrorOrder
    from pkgindex_mirror.commands.mirror_runs import write_changes
    from pkgindex_mirror.commands.opened_mirrors import file_queue, mirror_run, opened_mirror, opened_upstream
    from pkgindex_mirror.commands.report_lines import report_lines
    from pkgindex_mirror.syncing.reports import RunReport
    from pkgindex_mirror.trees.verifying import TreeVerifying, VerifyOrder

    async with (
        opened_mirror(MirrorOrder(configuration=configuration), Path.cwd(), "change") as mirror,
        mirror.tree.turn(),
        opened_upstream(mirror) as upstream,
    ):
        status = 0
        if json_update and not dry_run:
            run = await mirror_run(mirror, upstream, RunReport(command="mirror")).mirror(force=True)
            for sentence in report_lines(run):
                talk(sentence)
            status = run.exit_status
        queue = file_queue(mirror, upstream)

        async def fetch(_project: ProjectName, files: Sequence[File]) -> None:
            await queue.bring(files)

        order = VerifyOrder(compare=configuration.compare_method, delete=delete, dry_run=dry_run)
        report = await TreeVerifying(mirror.tree, order, fetch).run()
        if not dry_run:
            await write_changes(mirror)
        return report, status


def _lines(report: TreeReport, *, dry_run: bool) -> Iterator[str]:
    from pkgindex_mirror.amounts import amount

    would = "would be " if dry_run else ""
    for wrong in report.wrong[:_SHOWN]:
        yield f"{wrong.problem}: {wrong.filename} of {wrong.project}"
    if len(report.wrong) > _SHOWN:
        yield f"and {len(report.wrong) - _SHOWN:,} more files"
    for path in report.unowned[:_SHOWN]:
        yield f"belongs to no project: {path}"
    if report.kept_because:
        yield f"note: files that belong to no project stay: {report.kept_because}"
    yield (
        f"{report.projects:,} projects with {report.files:,} files ({amount(report.bytes)}) looked at:"
        f" {len(report.wrong):,} files wrong, {report.fetched:,} of them fetched again; {len(report.pages):,} projects"
        f" {would}written anew; {len(report.unowned):,} files belong to no project, {report.removed:,} removed"
    )
