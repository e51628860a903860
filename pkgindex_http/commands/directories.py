"""The options of `pypi-server run` at `pkgindex-serve run DIR…`: what they are called, what they mean here, and which mean nothing any more.

They become the tables `[plugins.pypiserver]` and `[plugins.htpasswd]`, so that below the command line nothing knows of them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.config import default_data_directory
from pkgindex_core.errors import Refused
from pkgindex_http.commands.common import settings_from
from pkgindex_http.pypiserver.settings import INDEX, deeds, place_of_data, read_settings
from pkgindex_http.settings import ServerSettings

PORT: Final = 8080
"""The default port of pypiserver."""
_PORT_VARIABLE: Final = "PYPISERVER_PORT"
"""The variable with the port in pypiserver's container image."""
_OFF: Final = frozenset({"0", "no", "off", "false", "n", "f"})
_NOTHING: Final = "."
"""The value of `-P` and `-a` with which nothing needs a log-in."""
_FORMATS: Final = {
    "log_line_format": "--log-frmt",
    "log_request_format": "--log-req-frmt",
    "log_response_format": "--log-res-frmt",
    "log_error_format": "--log-err-frmt",
}


class DirectoryOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The given options. The default of each: not given."""

    authenticate: str | None = None
    passwords: str | None = None
    overwrite: bool = False
    fallback_url: str | None = None
    proxy_fallback: bool = False
    disable_fallback: bool = False
    health_endpoint: str | None = None
    cache_control: int | None = None
    welcome: str | None = None
    hash_algo: str | None = None
    backend: str | None = None
    server: str | None = None
    verbose: int = 0
    log_file: str | None = None
    log_stream: str | None = None
    log_line_format: str | None = None
    log_request_format: str | None = None
    log_response_format: str | None = None
    log_error_format: str | None = None

    @property
    def given(self) -> list[str]:
        """The flags of those that were given."""
        names = [each.name for each in msgspec.structs.fields(self) if getattr(self, each.name) != each.default]
        return [_FORMATS.get(name, f"--{name.replace('_', '-')}") for name in names]


def _roots(_context: click.Context, _parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    """Absolute paths, and URLs as they are."""
    for word in words:
        if "://" in word:
            continue
        if not os.path.lexists(word):
            raise click.BadParameter(f"there is no directory {word!r}; make it first: mkdir -p {shlex.quote(word)}")
        if not os.path.isdir(word):  # noqa: PTH112  # Path.is_dir raises an error where the directory above may not be entered
            raise click.BadParameter(f"{word!r} is no directory")
        if not os.access(word, os.R_OK | os.X_OK):
            raise click.BadParameter(f"the directory {word!r} may not be listed by this user")
    return tuple(word if "://" in word else str(Path(word).absolute()) for word in words)


def _hash_algorithm(_context: click.Context, _parameter: click.Parameter, word: str | None) -> str | None:
    if word is not None and word.lower() not in _OFF | hashlib.algorithms_available:
        raise click.BadParameter(f"{word!r} is no algorithm of hashlib, and not one of {', '.join(sorted(_OFF))}")
    return word


_OPTIONS: Final = (
    click.argument("directories", metavar="[DIR]...", nargs=-1, callback=_roots),
    click.option(
        "-a",
        "--authenticate",
        metavar="LIST",
        help="With DIR: what needs a log-in, of download, list and update, with commas; `.` is nothing.  [default: update]",
    ),
    click.option("-P", "--passwords", metavar="FILE", help="With DIR: an htpasswd file; `.` together with -a `.`."),
    click.option("-o", "--overwrite", is_flag=True, help="With DIR: uploads may take the place of files."),
    click.option(
        "--fallback-url", metavar="URL", help="With DIR: send installers there for a project that is not here."
    ),
    click.option(
        "--proxy-fallback",
        is_flag=True,
        help="With DIR: read such a project through a cache of --fallback-url, or of PyPI, without a redirect.",
    ),
    click.option("--disable-fallback", is_flag=True, help="With DIR: no fallback, which is the default here."),
    click.option("--health-endpoint", metavar="PATH", help="With DIR: where the text Ok is.  [default: /health]"),
    click.option(
        "--cache-control",
        metavar="SECONDS",
        type=click.IntRange(min=0),
        help="With DIR: how long caches may keep what is below /packages/.",
    ),
    click.option("--welcome", metavar="FILE", help="With DIR: the front page."),
    click.option("--server-base-url", "mount", metavar="PATH", help="A path below which the server answers too."),
    click.option("-v", "--verbose", count=True, help="Log more: once for info, twice for debug."),
    click.option("--log-file", metavar="FILE", help="Write the log into this file too."),
    click.option(
        "--log-stream",
        type=click.Choice(["stdout", "stderr", "none"], case_sensitive=False),
        help="none: no log on standard error, where it is otherwise.",
    ),
    click.option("--hash-algo", metavar="NAME", callback=_hash_algorithm, help="Taken; links have sha256."),
    click.option("--backend", type=click.Choice(["auto", "simple-dir", "cached-dir"]), help="Taken; there is one."),
    click.option("--server", metavar="NAME", help="Taken; there is one."),
    click.option("--log-frmt", "log_line_format", metavar="FORMAT", help="Taken; see --log-format."),
    click.option("--log-req-frmt", "log_request_format", metavar="FORMAT", help="Taken; see --access-log."),
    click.option("--log-res-frmt", "log_response_format", metavar="FORMAT", help="Taken; see --access-log."),
    click.option("--log-err-frmt", "log_error_format", metavar="FORMAT", help="Taken."),
    click.version_option(package_name="pkgindex", prog_name="pkgindex-serve"),
)


def directory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as `directories` and, besides `mount`, one `options`."""

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        options = DirectoryOptions(**{name: given.pop(name) for name in DirectoryOptions.__struct_fields__})
        return command(options=options, **given)

    wrapped: Callable[..., Any] = run
    for decorate in reversed(_OPTIONS):
        wrapped = decorate(wrapped)
    return wrapped


def server_settings(
    config: Path | None,
    directories: tuple[str, ...],
    options: DirectoryOptions,
    *,
    defaults: Mapping[str, Any] | None = None,
    **flags: Any,
) -> ServerSettings:
    """The settings of the server, and with directories those that serve them. `defaults` are for a server without directories."""
    if options.verbose and flags.get("log_level") is None:
        flags["log_level"] = "info" if options.verbose == 1 else "debug"
    if not directories:
        of_directories = set(options.given) - {"--verbose", "--log-file", "--log-stream"}
        if of_directories:
            raise Refused(
                f"{', '.join(sorted(of_directories))}: no directory is named",
                hint="name the directory with the packages: pkgindex-serve run ~/packages",
            )
        return settings_from(config, defaults=defaults, **flags)
    ours: dict[str, Any] = {"port": _port(os.environ.get(_PORT_VARIABLE, "")), "default_index": INDEX}
    try:
        home = default_data_directory(os.environ, platform=sys.platform)
    except RuntimeError:  # there is no home directory: reading the settings says that `data` has to be given
        pass
    else:
        ours["data"] = place_of_data(home, directories[0])
    settings = settings_from(config, defaults=ours, **flags)
    return replace(settings, plugins={**settings.plugins, **_tables(directories, options)})


def _port(text: str) -> int:
    """The port that the variable of pypiserver's container gives. Without it, pypiserver's default."""
    if text and not (text.isascii() and text.isdecimal()):
        raise Refused(f"{_PORT_VARIABLE} is {text[:40]!r} and no port", hint="write a number, or use -p")
    return int(text or PORT)


def _tables(directories: tuple[str, ...], options: DirectoryOptions) -> dict[str, dict[str, Any]]:
    """The tables that the options stand for."""
    needed = deeds("update" if options.authenticate is None else options.authenticate)
    open_passwords = options.passwords == _NOTHING
    if open_passwords == bool(needed):
        raise Refused(
            "-a . and -P . are given together: they open the index to everybody, uploads and deletions too",
            hint="give both, or name a password file with -P",
        )
    table: dict[str, Any] = {
        "roots": list(directories),
        "authenticate": list(needed),
        "overwrite": options.overwrite,
        "proxy_fallback": options.proxy_fallback and not options.disable_fallback,
        "fallback_url": "" if options.disable_fallback else options.fallback_url or "",
    }
    if options.health_endpoint is not None:
        table["health_endpoint"] = options.health_endpoint
    if options.cache_control is not None:
        table["cache_control"] = options.cache_control
    if options.welcome is not None:
        table["welcome"] = str(Path(options.welcome).absolute())
    read_settings(table)
    tables = {"pypiserver": table}
    if options.passwords is not None and not open_passwords:
        tables["htpasswd"] = {"path": str(Path(options.passwords).expanduser().absolute())}
    return tables


def remarks(options: DirectoryOptions, settings: ServerSettings) -> Iterator[str]:
    """A line for each option that means nothing any more, and for what an administrator should know."""
    if options.hash_algo not in {None, "sha256"}:
        yield f"--hash-algo {options.hash_algo}: links have sha256, which every installer knows"
    if options.backend not in {None, "auto"}:
        yield f"--backend {options.backend}: directories are watched, and polled where the system cannot watch them"
    if options.server not in {None, "auto"}:
        yield f"--server {options.server}: not used, since this server runs itself"
    if options.log_stream == "stdout":
        yield "--log-stream stdout: the log goes to standard error; standard output has the URL of the server"
    formats = [flag for name, flag in _FORMATS.items() if getattr(options, name) is not None]
    if formats:
        yield f"{', '.join(formats)}: lines have the form of --log-format, and requests are written with --access-log"
    table = settings.plugins.get("pypiserver")
    if table is None:
        return
    if "GUNICORN_CMD_ARGS" in os.environ:
        yield "GUNICORN_CMD_ARGS: not used, since gunicorn does not run this server"
    served = read_settings(table)
    if "update" not in served.authenticate:
        yield "WARNING: everybody who reaches this server may upload and delete: -a does not name update"
    elif "htpasswd" not in settings.plugins:
        yield "There is no password file (-P FILE), so uploads are for the user root alone."
