"""`pkgindex-mirror probe`: finds out what another index offers."""

from __future__ import annotations

import sys

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, print_json
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.names import parse_project_name
from pkgindex_core.urls import without_credentials


@command()
@click.argument("url")
@click.argument("project", default="pip")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option("--ca-file", default="", help="Certificates (PEM) to trust instead of the system's.")
@click.option(
    "--allow-network", "networks", multiple=True, help="A private network that links may lead to; repeatable."
)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds for each question.")
def probe(url: str, project: str, *, as_json: bool, ca_file: str, networks: tuple[str, ...], timeout: float) -> None:
    """Ask the simple index at URL what it offers, with PROJECT (default: pip) as the example.

    A user name and password in the URL are sent to its host only, and not shown. Exit status 1: it cannot be mirrored.
    """
    # Imported here, because `--help` needs no HTTP client.
    import asyncio

    from pkgindex_mirror import probe as probing
    from pkgindex_mirror.settings import MirrorSettings

    try:
        where, credentials = without_credentials(url)
        settings = MirrorSettings(attempts=1, page_deadline=timeout, ca_file=ca_file, allow_networks=networks)
        report = asyncio.run(
            probing.probe(where, parse_project_name(project), credentials=credentials, settings=settings)
        )
    except PkgIndexError as error:
        fail(error, status=2)
    if as_json:
        print_json(report)
    else:
        for line in probing.lines(report):
            click.echo(line)
    sys.exit(1 if report.problem else 0)
