"""What `run` says when it listens: where the server is, where the password of root lies, and the lines to paste."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path

import click

from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.config import Settings
from pkgindex_http.commands.common import talk
from pkgindex_http.pasting import is_loopback, lines_to_paste

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on


def greet(settings: Settings, address: tuple[str, int], password_file: Path | None) -> None:
    """Say where the server is. `password_file` holds a password that this start has generated."""
    host, port = address
    data = Path(settings.data).absolute()
    url = settings.outside_url or _url(socket.gethostname() if host in _EVERYWHERE else host, port)
    talk(f"pkgindex serves {settings.default_index} at {url}/  (data: {data})")
    place = password_file.absolute() if password_file else data / PASSWORD_FILE
    credentials = "-u root"
    if place.exists():
        credentials = f'-u root -p "$(cat {shlex.quote(str(place))})"'
        made = "The password of root was generated; it" if password_file else "The password of root"
        talk(f"{made} lies in {place}")
    elif settings.root_password == "":
        talk(
            "WARNING: the password of root is empty, unless it was changed: whoever reaches this server is its administrator"
        )
    talk("")
    talk("Paste one of these:")
    for line in lines_to_paste(url, credentials=credentials):
        talk(f"  {line}")
    if not settings.outside_url and not is_loopback(host):
        talk("Other machines reach this server without TLS: passwords and tokens cross the network in the clear.")
    if settings.access_log is None and sys.stderr.isatty():
        talk("Requests are not shown here; --access-log shows them.")
    talk("")
    # The one line of data: where the server is, for programs that started it.
    click.echo(f"{settings.outside_url or _url(host, port)}/")
    sys.stdout.flush()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
