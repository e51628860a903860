"""`pkgindex-serve run`: its options. `serving` starts the server."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import PkgIndexError
from pkgindex_http.commands.common import blobs_option, config_option, store_option
from pkgindex_http.commands.directories import DirectoryOptions, directory_options, remarks, server_settings
from pkgindex_http.commands.routed import Routed
from pkgindex_http.settings import ServerSettings


@command()
@click.option("-i", "-H", "--interface", "--host", "host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("-p", "--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3141; with DIR 8080]")
@click.option("--workers", type=int, metavar="N", help="Processes that answer requests.  [default: 1]")
@click.option("--tls-certificate", metavar="FILE", help="Speak HTTPS with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="Key of the certificate (PEM).  [default: in the same file]")
@click.option("--data", metavar="DIR", help="Data directory.  [default: the user's data directory]")
@click.option("--upstream", metavar="URL", help="The upstream of root/pypi in a new store.  [default: PyPI]")
@click.option("--outside-url", metavar="URL", help="URL of this server for its clients, with its path prefix.")
@click.option(
    "--trusted-proxies", metavar="NETWORK", multiple=True, help="Proxies whose X-Forwarded-* are used; repeatable."
)
@click.option(
    "--default-index", metavar="USER/INDEX", help="The index behind /simple/ and /legacy/.  [default: root/dev]"
)
@click.option(
    "--root-password",
    "--root-passwd",
    "root_password",
    metavar="TEXT",
    help="Password of root in a new store; '' for an empty one.  [default: generated]",
)
@click.option("--open-registration", is_flag=True, default=None, help="Everybody may make a user.")
@click.option(
    "--restrict-modify",
    metavar="NAME,:GROUP",
    help="Only these may manage users and indexes, instead of root and owners.",
)
@click.option("--max-upload-bytes", metavar="SIZE", help="Largest file that may be uploaded, such as 3GiB.")
@click.option(
    "--new-store", is_flag=True, help="Start although the blob store belongs to another index, and take it over."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level to log.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log.")
@click.option("--access-log/--no-access-log", default=None, help="Log a line for every request.")
@click.option(
    "--routes",
    metavar="FILE",
    help="Serve each project from the source that its route in this TOML file of simpleindex names; FILE::KEY reads the tables below a key.",
)
@directory_options
@config_option
@store_option
@blobs_option
def run(
    config: Path | None,
    new_store: bool,
    routes: str | None,
    directories: tuple[str, ...],
    options: DirectoryOptions,
    **flags: Any,
) -> None:
    """Start the server: on 127.0.0.1:3141, with the user's data directory and a mirror of PyPI.

    With DIR the files in these directories are the index, with the options of pypiserver. The first directory takes uploads.
    With --routes the file names the source of each project.
    """

    def read() -> tuple[ServerSettings, Sequence[str]]:
        routed = _routed(routes, directories)
        settings = server_settings(config, directories, options, defaults=routed.defaults, **flags)
        settings = routed.added_to(settings)
        return settings, [*routed.remarks, *remarks(options, settings)]

    try:
        settings, said = read()
    except PkgIndexError as error:
        fail(error)
    for line in said:
        talk(line)
    # The modules and objects of a start are not garbage, and collecting would take a tenth of the start.
    gc.disable()
    try:
        from pkgindex_http.commands.starting import Log, run_server

        log = Log(Path(options.log_file) if options.log_file else None, quiet=options.log_stream == "none")
        run_server(settings, lambda: read()[0], new_store=new_store, log=log)
    finally:
        gc.enable()


def _routed(routes: str | None, directories: tuple[str, ...]) -> Routed:
    if routes is None:
        return Routed()
    from pkgindex_http.commands.routing import routed  # only a server with routes loads the reader of TOML

    return routed(routes, directories)
