"""`pkgindex-mirror sync`: brings some projects of a mirror up to date."""

from __future__ import annotations

from pathlib import Path

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.mirror_orders import MirrorOrder, taking_mirror
from pkgindex_mirror.commands.mirror_runs import debug_option, json_option, perform, report_option


@command()
@taking_mirror
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("--skip-simple-root", is_flag=True, help="Leave the pages that list all projects as they are.")
@report_option
@json_option
@debug_option
def sync(
    order: MirrorOrder,
    *,
    packages: tuple[str, ...],
    skip_simple_root: bool,
    report_file: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    """Bring each PACKAGE up to date, whatever is known of it.

    Filters of names do not count here; the other filters do.
    """
    from pkgindex_core.commands.telling import fail
    from pkgindex_core.errors import Refused
    from pkgindex_core.names import parse_project_name
    from pkgindex_mirror.syncing.values import Listed

    try:
        listed = [Listed(name, "") for name in dict.fromkeys(map(parse_project_name, packages))]
    except Refused as error:
        fail(error)
    perform(
        order,
        "sync",
        lambda run: run.sync(listed, with_list=not skip_simple_root),
        as_json=as_json,
        report_file=report_file,
        debug=debug,
    )
