"""The lines that a server prints when it listens: the URL, the file with the password of root, and the lines to paste."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path
from typing import Final

import click

from pkgindex_core.commands.telling import talk
from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_http.pasting import installing_lines, is_loopback, lines_to_paste
from pkgindex_http.settings import ServerSettings

PROXPI: Final = "proxpi"
"""The table of a cache."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on


def greet(settings: ServerSettings, address: tuple[str, int], password_file: Path | None) -> None:
    """Print the lines. `password_file` has the password that this start generated."""
    host, port = address
    data = Path(settings.data).absolute()
    url = (
        settings.outside_url
        or f"{_url(settings, socket.gethostname() if host in _EVERYWHERE else host, port)}{settings.mount}"
    )
    talk(f"pkgindex serves {settings.default_index} at {url}/  (data: {data})")
    place = password_file.absolute() if password_file else data / PASSWORD_FILE
    credentials = "-u root"
    if place.exists():
        credentials = f'-u root -p "$(cat {shlex.quote(str(place))})"'
        made = "The generated password of root" if password_file else "The password of root"
        talk(f"{made} is in {place}")
    elif settings.root_password == "":
        talk(
            "WARNING: the password of root is empty, unless it was changed: everybody that reaches this server is its administrator"
        )
    talk("")
    talk("Paste one of these:")
    for line in lines_to_paste(url, credentials=credentials, uploads="routes" not in settings.plugins):
        talk(f"  {line}")
    if not settings.outside_url and not settings.tls_certificate and not is_loopback(host):
        talk("Other machines reach this server without TLS: passwords and tokens cross the network unencrypted.")
    if settings.access_log is None and sys.stderr.isatty():
        talk("Requests are not shown here; --access-log shows them.")
    talk("")
    _print_url(settings, host, port)


def greet_clients(settings: ServerSettings, address: tuple[str, int]) -> None:
    """Print the lines for a cache (`pkgindex-mirror proxy`), which has no log-in."""
    from pkgindex_http.proxpi.settings import FIRST, read_settings

    host, port = address
    url = (
        settings.outside_url
        or f"{_url(settings, socket.gethostname() if host in _EVERYWHERE else host, port)}{settings.mount}"
    )
    upstreams = [each.shown for each in read_settings(settings.plugins[PROXPI]).upstreams]
    talk(f"pkgindex caches {', '.join(upstreams)} at {url}/  (cache: {Path(settings.data).absolute()})")
    if len(upstreams) > 1 and settings.admission == FIRST:
        talk("The first upstream that has a project gives all its files; --merge union takes files from all.")
    elif len(upstreams) > 1:
        talk(
            "The files of a project come from all upstreams, so everybody who may publish at one of them can offer a newer version of any"
            " project; --merge first takes a project from the first upstream that has it."
        )
    talk("")
    talk("Paste one of these:")
    for line in installing_lines(f"{url}/index"):
        talk(f"  {line}")
    talk("")
    _print_url(settings, host, port)


def greet_readers(settings: ServerSettings, address: tuple[str, int], primary: str) -> None:
    """Print the lines for a replica, which takes no uploads."""
    host, port = address
    url = (
        settings.outside_url
        or f"{_url(settings, socket.gethostname() if host in _EVERYWHERE else host, port)}{settings.mount}"
    )
    talk(f"pkgindex follows {primary} at {url}/  (data: {Path(settings.data).absolute()})")
    talk("It is read-only. The log tells what is copied, and what is wrong.")
    talk("")
    _print_url(settings, host, port)


def _print_url(settings: ServerSettings, host: str, port: int) -> None:
    """Standard output has only the URL, for programs that start the server."""
    click.echo(f"{settings.outside_url or f'{_url(settings, host, port)}{settings.mount}'}/")
    sys.stdout.flush()


def _url(settings: ServerSettings, host: str, port: int) -> str:
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
