"""`pkgindex-serve run --routes FILE`: a file of simpleindex becomes the table `[plugins.routes]`, and its `[server]` the defaults of options.

simpleindex hands `[server]` to uvicorn. Keys with a meaning here are used. Keys that decide who can read the traffic or reach the
server are refused. A line names the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pkgindex_core.config import default_data_directory
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion
from pkgindex_http.commands.routed import Routed
from pkgindex_http.simpleindex.providers import plugin_names
from pkgindex_http.simpleindex.routes_file import RoutesFile, read_routes_file
from pkgindex_http.simpleindex.settings import INDEX

PORT: Final = 8000
"""simpleindex's, which is uvicorn's."""
_TAKEN: Final[Mapping[str, tuple[type, str]]] = {
    "host": (str, "host"),
    "port": (int, "port"),
    "root-path": (str, "mount"),
}
"""Keys of `[server]`: the type of the value, and the option here."""
_REFUSED: Final[Mapping[str, str]] = {
    "uds": "let a proxy listen on the socket and pass requests on to a port",
    "fd": "let a proxy listen on the socket and pass requests on to a port",
    "ssl-keyfile": "this server speaks HTTP alone; let a proxy in front of it speak TLS",
}
_OF_UVICORN: Final = frozenset(
    [
        "access-log",
        "app-dir",
        "backlog",
        "date-header",
        "env-file",
        "factory",
        "forwarded-allow-ips",
        "h11-max-incomplete-event-size",
        "headers",
        "http",
        "interface",
        "lifespan",
        "limit-concurrency",
        "limit-max-requests",
        "log-config",
        "log-level",
        "loop",
        "proxy-headers",
        "reload",
        "reload-delay",
        "reload-dirs",
        "reload-excludes",
        "reload-includes",
        "server-header",
        "timeout-graceful-shutdown",
        "timeout-keep-alive",
        "timeout-notify",
        "timeout-worker-healthcheck",
        "use-colors",
        "workers",
        "ws",
        "ws-max-queue",
        "ws-max-size",
        "ws-per-message-deflate",
        "ws-ping-interval",
        "ws-ping-timeout",
    ]
)
_OF_TLS: Final = "ssl-"


def routed(argument: str, directories: Sequence[str]) -> Routed:
    """Read `FILE` or `FILE::KEY`. All mistakes in it are one `Refused`."""
    if directories:
        raise Refused(
            "--routes and directories exclude each other",
            hint='name the directory in the file: [routes."{project}"] with source = "path" and to = "DIR"',
        )
    read = read_routes_file(argument, plugin_names())
    defaults: dict[str, Any] = {"port": PORT, "default_index": INDEX}
    remarks = [*read.remarks, *_take(read, defaults)]
    try:
        home = default_data_directory(os.environ, platform=sys.platform)
    except RuntimeError:  # there is no home directory: reading the settings says that `data` has to be given
        pass
    else:
        defaults["data"] = _place_of_data(home, argument)
    return Routed(defaults=defaults, table=msgspec.to_builtins(read.settings), remarks=tuple(remarks))


def _take(read: RoutesFile, defaults: dict[str, Any]) -> list[str]:
    """Put the values of `[server]` into the defaults. Returns a line that names the keys without effect."""
    problems, ignored = [], []
    for key, value in read.server.items():
        if key in _TAKEN:
            kind, option = _TAKEN[key]
            if not isinstance(value, kind) or isinstance(value, bool):
                problems.append(f"[server] {key} is {value!r}; write {'text' if kind is str else 'a number'}")
            defaults[option] = value
        elif key in _REFUSED or key.startswith(_OF_TLS):
            problems.append(f"[server] {key}: {_REFUSED.get(key, _REFUSED['ssl-keyfile'])}")
        elif key in _OF_UVICORN:
            ignored.append(key)
        else:
            problems.append(f"[server] has the unknown key {key!r}; {suggestion(key, [*_TAKEN, *_OF_UVICORN])}")
    if problems:
        raise Refused(
            [f"{read.settings.file}: {each}" for each in problems], hint="correct [server]; nothing was changed"
        )
    options = "options of pkgindex-serve take their place"
    return [f"[server] {', '.join(ignored)}: of uvicorn, which is not used; {options}"] if ignored else []


def _place_of_data(home: Path, argument: str) -> Path:
    """Where the data of a server with this file lie: below the user's data directory, and not beside the file."""
    name, _, key = argument.partition("::")
    path = os.path.realpath(Path(name).expanduser())
    return home / "routes" / f"{Path(path).stem}-{sha256_of(f'{path}::{key}'.encode(errors='surrogateescape'))[:12]}"
