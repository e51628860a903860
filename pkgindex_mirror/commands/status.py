"""`pkgindex-mirror status`: what mirrors did, and how their upstreams are; with a bandersnatch.conf, how its run goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.stores import asynchronous, opened, taking_settings
from pkgindex_core.commands.telling import fail, print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing
from pkgindex_core.names import parse_index_name
from pkgindex_mirror.commands.common import library_settings
from pkgindex_mirror.commands.configurations import configuration_before, examined_or_exit
from pkgindex_mirror.commands.mirror_orders import IndexPlace


@command()
@taking_settings(library_settings)
@click.argument("url", default="")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    "-c",
    "mirror_configuration",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Show the running or last run of the mirror of this bandersnatch.conf.",
)
@click.option(
    "--index", metavar="USER/INDEX", default="", help="Show the running or last run of `mirror --index` for this index."
)
@asynchronous
async def status(settings: Settings, *, url: str, as_json: bool, mirror_configuration: Path | None, index: str) -> None:
    """Show pages, files, bytes and upstreams of the mirrors of the server at URL; without it what the store has; with -c or --index the run of a mirror.

    The server wants credentials: from ~/.netrc, or in the URL (http://user:password@host/). They are not shown.
    """
    import msgspec

    mirror_configuration = mirror_configuration or configuration_before(click.get_current_context())
    if index:
        place = IndexPlace(index=parse_index_name(index), settings=settings)
        _tell_run(place.status_directory, as_json=as_json)
        return
    if mirror_configuration is not None:
        try:
            directory = _tree_directory(mirror_configuration)
        except Missing as error:
            fail(error, status=2)
        _tell_run(directory, as_json=as_json)
        return
    from pkgindex_core.urls import without_credentials
    from pkgindex_mirror import statuses
    from pkgindex_mirror.status_tables import lines

    if url:
        found = await statuses.ask_server(*without_credentials(url), netrc_file=os.environ.get("NETRC"))
    else:
        async with opened(settings) as engine:
            found = await statuses.read_store(engine)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for line in lines(found):
            click.echo(line)


def _tree_directory(path: Path) -> Path | None:
    """The directory of the status of a tree; None for a tree elsewhere. Raises `Missing` for one that is not there."""
    from pkgindex_mirror.trees.layout import OWN
    from pkgindex_mirror.trees.local_storage import missing_directory
    from pkgindex_mirror.trees.opening import local_directory

    directory = local_directory(examined_or_exit(path).configuration.url)
    if directory is None:
        return None
    if not directory.is_dir():
        raise missing_directory(directory)
    return directory / OWN


def _tell_run(directory: Path | None, *, as_json: bool) -> None:
    """Tell the running or last run of a mirror. Exit status 1 when there was none."""
    import msgspec

    from pkgindex_mirror.commands.live_view import line
    from pkgindex_mirror.commands.report_lines import report_lines
    from pkgindex_mirror.syncing.run_status import is_alive, read_status

    found = read_status(directory) if directory is not None else None
    if found is None:
        talk("error: no run of this mirror has told its status in a directory of this machine")
        sys.exit(1)
    if as_json:
        print_json({**msgspec.to_builtins(found), "is_running": is_alive(found)})
    elif is_alive(found):
        click.echo(f"running since {found.report.began}, process {found.process}: {line(found.progress)}")
    elif found.is_running:
        click.echo(f"ended without a report after {found.at}; the next run goes on: {line(found.progress)}")
    else:
        click.echo(f"{found.report.command}, {found.report.began} to {found.report.ended}: {found.report.ending}")
        for sentence in report_lines(found.report):
            click.echo(f"  {sentence}")
