"""The settings of the server: those of the library (`pkgindex_core.config`), and those of a program that listens.

Both come from the same file, variables and flags. `ServerSettings` is a subclass of `Settings`, so an engine takes it.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from pkgindex_core import config
from pkgindex_core.errors import Refused
from pkgindex_core.options import option
from pkgindex_core.urls import without_credentials
from pkgindex_http.oidc.configured import read_issuers
from pkgindex_http.wire.paths import split_path
from pkgindex_http.wire.redirecting import ObjectDownloads

_PLAIN = re.compile(r"\A[A-Za-z0-9._~+/-]+\Z")


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    problems = []
    networks = []
    for value in values:
        try:
            networks.append(str(ipaddress.ip_network(value, strict=False)))
        except ValueError:
            problems.append(f"{value!r} is not a network; write an address or a network, such as 10.0.0.0/8 or ::1")
    if problems:
        raise Refused(problems)
    return tuple(networks)


def _outside_url(value: str) -> str:
    """The URL without a slash at its end. Raises `Refused` for a URL with credentials, query or fragment."""
    if not value:
        return value
    url, credentials = without_credentials(value)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or credentials or parts.query or parts.fragment:
        raise Refused("write a scheme, a host and optionally a path, such as https://packages.example.com/pypi")
    return url.rstrip("/")


def _mount(value: str) -> str:
    """With a slash at its beginning and none at its end; empty for the root."""
    path = value.strip("/")
    if path and split_path(f"/{path}") is None:
        raise Refused("write a path, such as /pypi")
    return f"/{path}" if path else ""


def _location(value: str) -> str:
    """With a slash at both ends; empty for none."""
    if value and (_mount(value) == "" or not _PLAIN.match(value)):
        raise Refused("write a path of letters, digits and ._~+-, such as /+blobs/")
    return f"{_mount(value)}/" if value else ""


def _issuers(value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    read_issuers(value)
    return value


def _audience(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable():
        raise Refused("an audience is a word, such as pkgindex, or a URL")
    return value


def _realm(value: str) -> str:
    # RFC 9110 11.2: a quoted string. Characters that need an escape are refused, because clients disagree about escapes.
    if not value or not value.isascii() or not value.isprintable() or set(value) & {'"', "\\"}:
        raise Refused('a realm must be printable ASCII without " and \\')
    return value


class RemoteUser(Struct, frozen=True, kw_only=True):
    header: Annotated[
        str,
        option(
            "The header in which a proxy of `trusted_proxies` names the user, such as `X-Remote-User`.",
            default="off",
        ),
    ] = ""
    secret: Annotated[
        str,
        option(
            "The secret that the proxy sends to prove that the header is its own. Needed with `remote_user.header`.",
            default="none",
            secret=True,
        ),
    ] = ""
    secret_header: Annotated[str, option("The header in which the proxy sends the secret.")] = "X-Proxy-Secret"  # noqa: S105 - the name of a header
    groups_header: Annotated[
        str, option("The header in which the proxy names the user's groups, separated by commas.", default="off")
    ] = ""


class ClearingSettings(Struct, frozen=True, kw_only=True):
    every: Annotated[
        int,
        option(
            "How often one of the servers over the store removes unused files, as `pkgindex-serve gc` does. 0: none does.",
            unit="seconds",
            at_least=0,
        ),
    ] = 0
    grace: Annotated[
        int, option("Time between finding a file unused and removing it.", unit="seconds", at_least=3600)
    ] = 86400


class ScrubSettings(Struct, frozen=True, kw_only=True):
    rate: Annotated[
        int,
        option(
            "Bytes a second that the scrub reads: all stored files, one after the other, to find damage before a client does. 0: no scrub.",
            unit="bytes",
            at_least=0,
        ),
    ] = 1024 * 1024
    every: Annotated[
        int,
        option(
            "How often the scrub reads each file. It may take longer at this `scrub.rate`.", unit="seconds", at_least=1
        ),
    ] = 30 * 86400


class ServerSettings(config.Settings, frozen=True, kw_only=True):
    """The settings of a server. `load_settings` reads them; tests and embedding programs may construct one."""

    host: Annotated[str, option("The address to listen on. With `0.0.0.0` or `::` other machines can connect.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, option("The TCP port to listen on; 0 takes a free one.", at_least=0, at_most=65535)] = 3141
    workers: Annotated[
        int,
        option(
            "Processes that answer requests, over one store and on one port. One that dies is started again.",
            at_least=1,
            at_most=256,
        ),
    ] = 1
    tls_certificate: Annotated[
        str,
        option(
            "PEM file with the certificate of this server and those of its issuers. With it the server speaks HTTPS only. A changed file"
            " is read again within half a minute, and at SIGHUP.",
            default="none",
        ),
    ] = ""
    tls_key: Annotated[
        str, option("PEM file with the key of the certificate.", default="the file of the certificate")
    ] = ""
    outside_url: Annotated[
        str,
        option(
            "The URL of this server for its clients, when it is behind a proxy or below a path.",
            default="the URL of the request",
            check=_outside_url,
        ),
    ] = ""
    mount: Annotated[
        str,
        option(
            "A path below which the server answers too, for a proxy that passes it on, such as `/pypi`.",
            default="none",
            check=_mount,
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        option(
            "Networks of the proxies whose `X-Forwarded-*` headers are used. Those of other peers are ignored.",
            default="none",
            check=_networks,
        ),
    ] = ()
    accel_redirect: Annotated[
        str,
        option(
            "The path of an internal location of nginx for the directory `sha256` of the blob store, such as `/+blobs/`. nginx then sends"
            " the uploaded files whose requests come through `trusted_proxies`, all of which must be such nginx servers.",
            default="off",
            check=_location,
        ),
    ] = ""
    object_downloads: Annotated[
        ObjectDownloads,
        option(
            "How clients get files of an object store. `redirect`: by a signed URL of the store, when it can be signed. `stream`: through this"
            " server. `auto`: by a signed URL if the client keeps files by their names (uv), otherwise through this server."
        ),
    ] = "auto"
    realm: Annotated[str, option("The name of the server in a client's password prompt.", check=_realm)] = "pkgindex"
    failed_logins: Annotated[
        int,
        option(
            "Failed log-ins with passwords from one address, within a quarter of an hour, after which further ones from it are slowed down:"
            " one at a time, and 429 instead of 401. 0: never.",
            at_least=0,
        ),
    ] = 10
    stall_timeout: Annotated[
        float,
        option(
            "How long a client may send nothing before its request, head or body, is complete.",
            unit="seconds",
            at_least=0.1,
        ),
    ] = 30.0
    least_body_rate: Annotated[
        int,
        option(
            "The least bytes a second of a request's body, on average and after the first `stall_timeout`. 500 is Apache's value too."
            " 0: no limit.",
            at_least=0,
        ),
    ] = 500
    max_connections: Annotated[
        int,
        option(
            "The most connections at once. Beyond it the connections that were silent longest are closed: first those without a"
            " request, then those whose body does not come. A connection whose request is being answered is not closed.",
            default="three quarters of the limit of open files (`ulimit -n`), less 48",
            at_least=0,
        ),
    ] = 0
    shutdown_timeout: Annotated[
        float,
        option("How long requests under way may take after a signal to stop.", unit="seconds", at_least=0),
    ] = 60.0
    log_format: Annotated[
        Literal["auto", "json", "text"],
        option(
            "`json`: one JSON object a line. `text`: short lines for people. `auto`: `text` when standard error, where the log goes, is"
            " a terminal, else `json`."
        ),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], option("The least severe messages that are logged.")
    ] = "info"
    access_log: Annotated[
        bool | None,
        option(
            "Whether to log a line for every request, without credentials and query.",
            default="`true`; `false` when standard error is a terminal",
        ),
    ] = None
    replay_bytes: Annotated[
        int,
        option(
            "Memory for answers that are given again to requests with the same bytes, while nothing has changed. 0: every request is"
            " parsed and answered anew.",
            unit="bytes",
            at_least=0,
        ),
    ] = 16 * 1024 * 1024
    open_metrics: Annotated[
        bool,
        option(
            "Whether `/+metrics` answers without credentials. It then has the counts of indexes that everybody may read, and of their"
            " upstreams."
        ),
    ] = False
    robots_txt: Annotated[
        str,
        option(
            "A file that is sent as `/robots.txt`.",
            default="one that asks crawlers to stay away: each page of a mirror that they read is a request to its upstream",
        ),
    ] = ""
    audit_reads: Annotated[
        bool,
        option(
            "Whether to record who read which private file, in `audit/reads-DAY.jsonl` of the data directory. On a full disk answers go on, and"
            " lost records are counted."
        ),
    ] = False
    audit_reads_required: Annotated[
        bool, option("The same, but a private file whose record cannot be written within 5 s is answered 503.")
    ] = False
    remote_user: RemoteUser = RemoteUser()
    oidc_audience: Annotated[
        str, option("The audience that tokens of issuers must have. Twine and uv ask for it.", check=_audience)
    ] = "pkgindex"
    issuers: Annotated[
        dict[str, dict[str, str]],
        option(
            "Issuers of OIDC that may vouch for publishers: `[issuers.github]`, `[issuers.gitlab]` and `[issuers.google]` need no more, others"
            " `url`, and perhaps `shape`, `keys_url` and `ca_file`. Needs the extra `oidc`.",
            default="none",
            check=_issuers,
        ),
    ] = {}  # noqa: RUF012  # msgspec copies it
    scrub: ScrubSettings = ScrubSettings()
    gc: ClearingSettings = ClearingSettings()

    @property
    def public_url(self) -> str:
        """The URL of this server for people, as far as it is known before it listens; no slash at the end."""
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.host, self.host)  # noqa: S104  # compared with, not listened on
        netloc = f"[{host}]" if ":" in host else host
        return self.outside_url.rstrip("/") or f"{self.scheme}://{netloc}:{self.port}{self.mount}"

    @property
    def scheme(self) -> str:
        """The scheme of this server's own URLs."""
        return "https" if self.tls_certificate else "http"


def load_settings(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> ServerSettings:
    """Read the settings of the server, as `pkgindex_core.config.load_settings` does."""
    return config.load_settings(ServerSettings, file=file, environ=environ, flags=flags, defaults=defaults)
