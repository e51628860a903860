"""`pkgindex-mirror follow`: its options. `serving` starts the server, and `pkgindex_mirror.replicas` copies."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_http.commands.common import blobs_option, config_option, settings_from, store_option
from pkgindex_http.settings import ServerSettings


@command()
@click.argument("url", required=False, metavar="URL")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token for that server.  [default: PKGINDEX_FOLLOW_TOKEN]",
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", "-p", type=int, help="Port to listen on; 0 picks a free one.  [default: 3141]")
@click.option("--tls-certificate", metavar="FILE", help="Speak HTTPS with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="Key of the certificate (PEM).  [default: in the same file]")
@click.option("--data", metavar="DIR", help="Data directory of the copy.  [default: the user's data directory]")
@click.option("--outside-url", metavar="URL", help="URL of this server for its clients, with its path prefix.")
@click.option(
    "--trusted-proxies", metavar="NETWORK", multiple=True, help="Proxies whose X-Forwarded-* are used; repeatable."
)
@click.option("--default-index", metavar="USER/INDEX", help="The index behind /simple/.  [default: root/dev]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Lowest level to log.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log.")
@click.option("--access-log/--no-access-log", default=None, help="Log a line for every request.")
@config_option
@store_option
@blobs_option
def follow(url: str | None, token_file: Path | None, config: Path | None, **flags: Any) -> None:
    """Keep a read-only copy of the server of pkgindex at URL, and serve it.

    The token decides what is copied: everything with that of root, otherwise the indexes on which it may `follow`.
    """

    def read() -> ServerSettings:
        token = _token(token_file) if token_file is not None else None
        settings = settings_from(config, follow=url, follow_token=token, **flags)
        if not settings.follow:
            raise Refused("there is no server to follow", hint="pkgindex-mirror follow https://packages.example.org/")
        return settings

    try:
        settings = read()
    except PkgIndexError as error:
        fail(error)
    # The objects of a start are not garbage; see `run`.
    gc.disable()
    try:
        from pkgindex_http.commands.starting import Log, run_server

        run_server(settings, read, new_store=False, log=Log())
    finally:
        gc.enable()


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read", hint="name a file with the token alone") from error
    if not token or len(token.split()) > 1:
        raise Refused(f"{path} does not have a token alone", hint="name a file with the token alone")
    return token
