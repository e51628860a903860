"""Every setting of the programs: its name, default, bounds and meaning, once.

Read from one TOML file, `PKGINDEX_…` variables and flags (see `options` for how); handed as one frozen value to what is
composed. Nothing is read when this module is imported, and nothing below the programs looks anything up.
Settings of plugins, the mirror's among them, are tables of their own that the plugin defines and checks.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import force_setattr

from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name
from pkgindex_core.options import Option, load, option, options_of
from pkgindex_core.rules.option_values import principals
from pkgindex_core.urls import without_credentials

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3

_NOWHERE = Path("\0")
"""In the place of a default data directory that this user does not have. No directory has this name, while `Path()` is the current one."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_CREDENTIALS = re.compile(r"(://)[^/?#\s]*(@)|([?&](?:password|passwd|token|secret)=)[^&#]*")


def _index(value: str) -> str:
    return parse_index_name(value)


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    problems = []
    networks = []
    for value in values:
        try:
            networks.append(str(ipaddress.ip_network(value, strict=False)))
        except ValueError:
            problems.append(f"{value!r} is no network; write it like 10.0.0.0/8 or ::1")
    if problems:
        raise Refused(problems)
    return tuple(networks)


def _upstream(value: str) -> str:
    if urlsplit(without_credentials(value)[0]).scheme not in {"http", "https"}:
        raise Refused("an upstream is an http or https URL, such as https://pypi.org/simple/")
    return value


def _outside_url(value: str) -> str:
    """Without a slash at its end, so that paths can be appended."""
    if not value:
        return value
    url, credentials = without_credentials(value)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or credentials or parts.query or parts.fragment:
        raise Refused("write scheme, host and perhaps a path, such as https://packages.example.com/pypi")
    return url.rstrip("/")


def _realm(value: str) -> str:
    # RFC 9110 11.2: a quoted string. What would have to be escaped is refused: clients disagree about escapes.
    if not value or not value.isascii() or not value.isprintable() or set(value) & {'"', "\\"}:
        raise Refused('a realm is printable ASCII without " and \\')
    return value


class MirrorDefaults(Struct, frozen=True, kw_only=True):
    expiry: Annotated[
        int,
        option(
            "How long a page of the mirror that a new store gets counts as fresh after the upstream was asked.",
            unit="seconds",
            at_least=0,
        ),
    ] = 1800


class RemoteUser(Struct, frozen=True, kw_only=True):
    header: Annotated[
        str,
        option(
            "The header in which a proxy of `trusted_proxies` names the user that it has identified, such as `X-Remote-User`.",
            default="off",
        ),
    ] = ""
    secret: Annotated[
        str,
        option(
            "What the proxy sends as proof that the header is its own. Needed with it.", default="none", secret=True
        ),
    ] = ""
    secret_header: Annotated[str, option("The header in which the proxy sends the secret.")] = "X-Proxy-Secret"  # noqa: S105 - the name of a header
    groups_header: Annotated[
        str, option("The header in which the proxy names the user's groups, with commas between.", default="off")
    ] = ""


class Settings(Struct, frozen=True, kw_only=True):
    """What a program is started with. `load_settings` makes one; tests and embedding code may write one down."""

    data: Annotated[
        Path,
        option(
            "The directory of this server: database, files, the root password. Created if need be, for its owner only.",
            default="`~/.local/share/pkgindex` or `$XDG_DATA_HOME/pkgindex`; on macOS `~/Library/Application Support/pkgindex`",
        ),
    ]
    store: Annotated[
        str,
        option(
            "URL of the index store, by whose scheme a plugin is chosen.",
            default="`sqlite://` and `index.sqlite` in the data directory",
            secret=True,
        ),
    ] = ""
    blobs: Annotated[
        str,
        option(
            "URL of the blob store; schemes that no plugin offers go to fsspec.",
            default="`file://` and `blobs` in the data directory",
            secret=True,
        ),
    ] = ""
    host: Annotated[str, option("The address to listen on. `0.0.0.0` or `::` lets other machines in.")] = "127.0.0.1"
    port: Annotated[int, option("The TCP port to listen on; 0 takes a free one.", at_least=0, at_most=65535)] = 3141
    outside_url: Annotated[
        str,
        option(
            "The URL under which clients reach this server, when a proxy stands before it or it is mounted below a path.",
            default="what the request was sent to",
            check=_outside_url,
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        option(
            "Networks of the proxies whose `X-Forwarded-*` headers are believed. Everybody else's are ignored.",
            default="none",
            check=_networks,
        ),
    ] = ()
    realm: Annotated[
        str, option("What a client's password prompt is shown when an anonymous request is not enough.", check=_realm)
    ] = "pkgindex"
    upstream: Annotated[
        str,
        option(
            "The simple index that `root/pypi` mirrors in a new store. A user name and password in it are kept apart.",
            check=_upstream,
            secret=True,
        ),
    ] = "https://pypi.org/simple/"
    default_index: Annotated[
        str, option("The index that is served at `/simple/`, `/legacy/` and the other paths of PyPI.", check=_index)
    ] = "root/dev"
    root_password: Annotated[
        str | None,
        option(
            "The password of `root` in a new store; later it changes nothing. An empty text is an empty password, with which everybody is root."
            " Prefer the variable: other users of the machine can see flags.",
            default="generated, and written to `root-password` in the data directory",
            hidden=True,
        ),
    ] = None
    open_registration: Annotated[
        bool,
        option(
            "Whether anybody may make a user. Together with an empty `root_password` it is as open as devpi: users may have empty"
            " passwords, and new indexes take test results from everybody."
        ),
    ] = False
    restrict_modify: Annotated[
        tuple[str, ...],
        option(
            "Users and `:groups` who alone may make, change and delete users and indexes, in the place of root and of owners."
            " They may set root's password too, so name only whom you would trust with it. The others may still change their own.",
            default="no restriction",
            check=principals,
        ),
    ] = ()
    admission: Annotated[
        str,
        option(
            "The policy that decides which layers of an index may contribute files to a page. `mirror_whitelist`: a name that a hosted"
            " index has comes from no mirror unless it is whitelisted. `first_mirror`: the same, and of several mirrors only the first"
            " that has a project gives it. Plugins offer others."
        ),
    ] = "mirror_whitelist"
    disabled_plugins: Annotated[
        tuple[str, ...],
        option("Distributions whose plugins are left alone although they are installed.", default="none"),
    ] = ()
    max_upload_bytes: Annotated[int, option("The largest file that may be uploaded.", unit="bytes", at_least=1)] = (
        2 * _GIB
    )
    max_upload_field_bytes: Annotated[
        int,
        option("The largest text field of an upload; descriptions are the large ones.", unit="bytes", at_least=_KIB),
    ] = 4 * _MIB
    max_upload_form_bytes: Annotated[
        int, option("All text fields of an upload together.", unit="bytes", at_least=_KIB)
    ] = 16 * _MIB
    max_upload_fields: Annotated[
        int, option("The most text fields of an upload; each classifier and requirement is one.", at_least=32)
    ] = 4096
    max_list_entries: Annotated[
        int,
        option(
            "The most entries of a list among an index's options (`acl_…`, `bases`, `mirror_whitelist`, `constraints`). A longer one that is"
            " stored already stays, and can be shortened.",
            at_least=1,
        ),
    ] = 5000
    max_user_indexes: Annotated[int, option("The most indexes of one user.", at_least=1)] = 1000
    max_user_option_bytes: Annotated[
        int,
        option(
            "The options of all indexes of one user together, texts and lists included.",
            unit="bytes",
            at_least=64 * _KIB,
        ),
    ] = _MIB
    max_user_tokens: Annotated[
        int,
        option("The most API tokens of one user, and the most log-ins: one more ends the oldest log-in.", at_least=1),
    ] = 1000
    workers: Annotated[int, option("Threads for disk, hashing and compression.", at_least=1, at_most=256)] = 8
    page_cache_bytes: Annotated[int, option("Memory for finished pages, compressed.", unit="bytes", at_least=0)] = (
        128 * _MIB
    )
    stall_timeout: Annotated[
        float,
        option(
            "How long a client may send nothing while the rest of a request is waited for: its first lines, or its body.",
            unit="seconds",
            at_least=0.1,
        ),
    ] = 30.0
    least_body_rate: Annotated[
        int,
        option(
            "Bytes a second with which the body of a request comes at least, on average and after the first `stall_timeout`. 500 is"
            " Apache's figure too, and less than half of what a line of 9600 baud does; 0 for no bound.",
            at_least=0,
        ),
    ] = 500
    max_connections: Annotated[
        int,
        option(
            "The most connections at once. When one more comes, those that have been silent longest are closed: first those without a"
            " request, then those whose body does not come, never one that is being answered.",
            default="three quarters of the files that the process may open (`ulimit -n`), less 48",
            at_least=0,
        ),
    ] = 0
    shutdown_timeout: Annotated[
        float,
        option("How long requests under way may take to finish after a signal to stop.", unit="seconds", at_least=0),
    ] = 60.0
    log_format: Annotated[
        Literal["auto", "json", "text"],
        option(
            "One JSON object a line for programs (`json`) or short lines for people (`text`). Logs go to standard error; `auto` is"
            " `text` when that is a terminal."
        ),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], option("The least important messages that are written.")
    ] = "info"
    access_log: Annotated[
        bool | None,
        option(
            "Write a line for every request. Credentials and query strings are left out.",
            default="`true`; `false` when standard error is a terminal, so that the lines to paste stay on the screen",
        ),
    ] = None
    mirror: MirrorDefaults = MirrorDefaults()
    remote_user: RemoteUser = RemoteUser()
    plugins: Annotated[
        dict[str, dict[str, Any]],
        option(
            "`[plugins.NAME]` is the table of the provider of that name. As a variable: `PKGINDEX_PLUGINS__NAME__OPTION`,"
            " with a value in TOML.",
            default="none",
            secret=True,
        ),
    ] = {}

    def __post_init__(self) -> None:
        directory = Path(self.data).absolute().as_uri()
        if not self.store:
            force_setattr(self, "store", f"{directory.replace('file', 'sqlite', 1)}/index.sqlite")
        if not self.blobs:
            force_setattr(self, "blobs", f"{directory}/blobs")

    @property
    def devpi_defaults(self) -> bool:
        """Whether the administrator has asked for everything that devpi leaves open."""
        return self.open_registration and self.root_password == ""

    def __repr__(self) -> str:
        """Show everything but what may be a secret: a settings value ends up in logs and tracebacks."""
        return f"Settings({', '.join(f'{key}={text}' for key, text in shown(self).items())})"


def load_settings(
    *, file: Path | None = None, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings: defaults, then the file (else the one `PKGINDEX_CONFIG` names), then variables, then flags.

    `flags` go by option key, such as `mirror.expiry`; None means not given. Whatever is wrong is one `Refused`.
    """
    if file is None and environ.get("PKGINDEX_CONFIG"):
        file = Path(environ["PKGINDEX_CONFIG"])
    try:
        defaults = {"data": default_data_directory(environ, platform=sys.platform)}
    except RuntimeError:  # this user has no home directory, as the foreign user of a container has none
        defaults = {"data": _NOWHERE}
    settings = load(Settings, file=file, environ=environ, flags=flags, defaults=defaults)
    if settings.data == _NOWHERE:
        raise Refused(
            "this user has no home directory, so there is no default place for the data",
            hint="choose one with --data DIR or PKGINDEX_DATA",
        )
    return settings


def explain_options() -> tuple[Option, ...]:
    """Every option: what documentation, `--help` and a generated configuration file are made from."""
    return options_of(Settings)


def default_data_directory(environ: Mapping[str, str], *, platform: str) -> Path:
    """Where a person's data belong on this system."""
    if platform == "darwin":
        return Path("~/Library/Application Support/pkgindex").expanduser()
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "pkgindex"
    # XDG base directories: a relative path in the variable is invalid and to be ignored.
    home = environ.get("XDG_DATA_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path("~/.local/share").expanduser()) / "pkgindex"


def shown(settings: Settings) -> dict[str, str]:
    """Each option's value by key, as it may be shown: URLs without credentials, of plugins' tables only the names."""
    texts: dict[str, str] = {}
    for one in explain_options():
        value: Any = settings
        for name in one.path:
            value = getattr(value, name)
        if one.hidden:
            texts[one.key] = "<unset>" if value is None else "***"
        elif one.is_open_table:
            texts[one.key] = f"<{', '.join(value)}>"
        else:
            texts[one.key] = _masked(str(value)) if one.secret else str(value)
    return texts


def _masked(text: str) -> str:
    """A URL without its credentials; nothing of a secret that is no URL."""
    return _CREDENTIALS.sub(r"\1\3***\2", text) if _SCHEME.match(text) or not text else "***"
