"""`pkgindex-mirror proxy`: its options. `serving` starts the server."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import PkgIndexError
from pkgindex_http.commands.common import config_option
from pkgindex_http.proxpi.command_line import CacheOptions, server_settings
from pkgindex_http.settings import ServerSettings


@command()
@click.option(
    "--upstream",
    "upstreams",
    metavar="URL",
    multiple=True,
    help="A simple index to cache; repeatable, the most important first.  [default: PyPI]",
)
@click.option(
    "--find-links",
    "flat_pages",
    metavar="URL",
    multiple=True,
    help="A page with links to files of any projects, to cache before the others; repeatable.",
)
@click.option(
    "--ttl",
    "expiries",
    metavar="SECONDS",
    multiple=True,
    type=click.IntRange(min=0),
    help="How long a page counts as fresh: once for all upstreams, or once for each.  [default: 1800]",
)
@click.option(
    "--merge",
    type=click.Choice(["first", "union"]),
    help="Of several upstreams: `first` takes a project from the first that has it, `union` takes files from all."
    "  [default: first; with PROXPI_EXTRA_INDEX_URLS union]",
)
@click.option(
    "--absent-status",
    "absent_statuses",
    metavar="STATUS",
    multiple=True,
    type=click.IntRange(400, 499),
    help="A status of upstreams that means `no such project`, besides 404 and 410; repeatable.",
)
@click.option(
    "--sizes",
    metavar="NUMBER",
    type=click.IntRange(0, 1000),
    help="Of how many files of a page without sizes upstreams are asked for the size; 0 for none.  [default: 20]",
)
@click.option(
    "--allow-network",
    "networks",
    metavar="NETWORK",
    multiple=True,
    help="A private network that links of pages may lead to, such as 10.0.0.0/8; repeatable.",
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", "-p", type=int, help="Port to listen on; 0 picks a free one.  [default: 5000]")
@click.option("--workers", type=int, metavar="N", help="Processes that answer requests.  [default: 1]")
@click.option("--tls-certificate", metavar="FILE", help="Speak HTTPS with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="Key of the certificate (PEM).  [default: in the same file]")
@click.option(
    "--cache",
    "--data",  # the word of other commands, and of hints
    "cache",
    metavar="DIR|URL",
    help="Where the cache lies: a directory, or a URL such as s3://bucket/prefix for its files."
    "  [default: the user's cache directory]",
)
@click.option(
    "--cache-size", metavar="SIZE", help="The most bytes of files that are kept; 0 for no bound.  [default: 20GiB]"
)
@click.option("--offline", is_flag=True, help="Ask no upstream: serve what is cached, and list only that.")
@click.option("--outside-url", metavar="URL", help="URL of this server for its clients, with its path prefix.")
@click.option(
    "--trusted-proxies", metavar="NETWORK", multiple=True, help="Proxies whose X-Forwarded-* are used; repeatable."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level to log.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log.")
@click.option("--access-log/--no-access-log", default=None, help="Log a line for every request.")
@config_option
def proxy(
    config: Path | None,
    upstreams: tuple[str, ...],
    flat_pages: tuple[str, ...],
    expiries: tuple[int, ...],
    merge: str | None,
    absent_statuses: tuple[int, ...],
    sizes: int | None,
    networks: tuple[str, ...],
    cache: str | None,
    cache_size: str | None,
    offline: bool,
    **flags: Any,
) -> None:
    """Run a cache of package indexes: on 127.0.0.1:5000, of PyPI, with proxpi's URLs.

    Clients use http://127.0.0.1:5000/index/ or /simple/. The variables of proxpi (PROXPI_…) are read; options win over them.
    """
    options = CacheOptions(
        upstreams=upstreams,
        flat_pages=flat_pages,
        expiries=expiries,
        merge=merge,
        absent_statuses=absent_statuses,
        sizes=sizes,
        networks=networks,
        cache=cache,
        cache_size=cache_size,
        offline=offline,
    )

    def read() -> tuple[ServerSettings, Sequence[str]]:
        return server_settings(config, options, os.environ, flags)

    try:
        settings, remarks = read()
    except PkgIndexError as error:
        fail(error)
    for line in remarks:
        talk(line)
    # The objects of a start are not garbage; see `run`.
    gc.disable()
    try:
        from pkgindex_http.commands.starting import Log, run_server

        run_server(settings, lambda: read()[0], new_store=False, log=Log())
    finally:
        gc.enable()
