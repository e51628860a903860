"""`pkgindex-mirror mirror`: brings a mirror up to date."""

from __future__ import annotations

from pathlib import Path

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.mirror_orders import MirrorOrder, taking_mirror
from pkgindex_mirror.commands.mirror_runs import debug_option, json_option, perform, report_option


@command()
@taking_mirror
@click.option("--force-check", is_flag=True, help="Look at every project and every file, whatever is known of them.")
@report_option
@json_option
@debug_option
def mirror(order: MirrorOrder, *, force_check: bool, report_file: Path | None, as_json: bool, debug: bool) -> None:
    """Bring the mirror up to date.

    Exit status: 0 when all is mirrored, 3 when some projects failed, 4 when the upstream cannot be asked, 5 when the disk is full.
    """
    perform(
        order,
        "mirror",
        lambda run: run.mirror(force=force_check),
        as_json=as_json,
        report_file=report_file,
        debug=debug,
    )
