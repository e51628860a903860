"""A server as configuration files describe it: values made from its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from pkgindex_core.engines.local.blobs import path_of
from pkgindex_core.errors import Refused
from pkgindex_core.options import CREDENTIALS, PREFIX, Option, options_of
from pkgindex_core.urls import masked
from pkgindex_http.settings import ServerSettings

_EXTRAS: Final = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "postgresql": "postgres"}
"""The extra of the distribution that a scheme of a store needs."""
_CLIENTS: Final = {
    "s3": "AWS_",
    "gs": "GOOGLE_",
    "gcs": "GOOGLE_",
    "az": "AZURE_",
    "abfs": "AZURE_",
    "postgresql": "PG",
}
"""How the variables begin that the client library of a scheme reads: credentials, and where the store is."""
_FORM_BYTES: Final = 1024**2
"""Room for the boundaries and headers of a form, beside its file and fields."""
_OF_THIS_MACHINE: Final = frozenset(
    f"{PREFIX}{name}"
    for name in ("HOST", "PORT", "STORE", "BLOBS", "MIRRORED_BLOBS", "ACCEL_REDIRECT", "TLS_CERTIFICATE", "TLS_KEY")
)
"""Variables that say nothing to a server in a container."""

_HOMES: Final = ("/home", "/root", "/run/user")
_PLUGINS: Final = f"{PREFIX}PLUGINS__"


class Deployment(Struct, frozen=True, kw_only=True):
    """A server, as the files describe it."""

    settings: ServerSettings
    program: tuple[str, ...]
    """The command `pkgindex-serve` on this machine: a program with an absolute path, and its words."""
    config: Path | None
    variables: Mapping[str, str]
    """The server's variables that are no secrets, by name."""
    secrets: tuple[str, ...]
    """The names of variables that are secrets."""
    version: str

    @property
    def data(self) -> Path:
        return Path(self.settings.data).absolute()

    @property
    def blobs(self) -> Path | None:
        """The directory of the blob store; None if it is elsewhere."""
        return _local(self.settings.blobs)

    @property
    def writable(self) -> tuple[Path, ...]:
        """The directories that the server writes to; none is below another."""
        places = [self.data, _local(self.settings.store), self.blobs, _local(self.settings.mirrored_blobs)]
        roots = self.settings.plugins.get("pypiserver", {}).get("roots", ())
        found = {path for path in [*places, *(Path(root).absolute() for root in roots)] if path is not None}
        return tuple(sorted(path for path in found if not found.intersection(path.parents)))

    @property
    def shares_stores(self) -> bool:
        """Whether several servers may run at once, because both stores are on other machines."""
        return _local(self.settings.store) is None and self.blobs is None

    @property
    def portable_variables(self) -> Mapping[str, str]:
        """The variables that a server in a container has too."""
        return {name: value for name, value in self.variables.items() if name not in _OF_THIS_MACHINE}

    @property
    def portable_secrets(self) -> tuple[str, ...]:
        """The variables that a container gets when it runs: secrets, and the URLs of stores on other machines."""
        urls = {f"{PREFIX}STORE": self.settings.store, f"{PREFIX}BLOBS": self.settings.blobs}
        elsewhere = {name for name, url in urls.items() if _local(url) is None}
        return tuple(sorted(elsewhere.union(self.secrets) - (set(urls) - elsewhere)))

    @property
    def address(self) -> str:
        """The host and port at which a proxy on the same machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)  # noqa: S104  # compared with
        return f"{_bracketed(host)}:{self.settings.port}"

    @property
    def listening(self) -> str:
        """The host and port on which it listens."""
        return f"{_bracketed(self.settings.host)}:{self.settings.port}"

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs the server on this machine."""
        config = ("--config", str(self.config)) if self.config else ()
        return (*self.program, "run", *config, "--data", str(self.data))

    @property
    def outside(self) -> SplitResult:
        """The URL for clients. Raises `Refused` without one, or if the server does not answer below its path."""
        settings = self.settings
        if not settings.outside_url:
            raise Refused(
                "outside_url is not set: the name and the certificate in the file are those of this URL",
                hint="set outside_url, or give --outside-url https://packages.example.com",
            )
        parts = urlsplit(settings.outside_url)
        if parts.path.rstrip("/") != settings.mount:
            raise Refused(
                f"outside_url has the path {parts.path or '/'}, but the server answers below {settings.mount or '/'}",
                hint=f'set mount = "{parts.path}", so that nginx passes paths on as they are',
            )
        return parts

    @property
    def largest_body(self) -> int:
        """Bytes of the largest upload: the file with its form."""
        return self.settings.max_upload_bytes + self.settings.max_upload_form_bytes + _FORM_BYTES

    @property
    def requirement(self) -> str:
        """The distribution in this version, with the extras that its stores need."""
        urls = (self.settings.store, self.settings.blobs)
        extras = sorted({_EXTRAS[scheme] for url in urls if (scheme := urlsplit(url).scheme) in _EXTRAS})
        named = f"pkgindex[{','.join(extras)}]" if extras else "pkgindex"
        return f"{named}=={self.version}" if self.version else named

    @property
    def image(self) -> str:
        """The name of an image of the server."""
        return f"pkgindex:{self.version or 'latest'}"

    @property
    def accelerated(self) -> bool:
        """Whether nginx sends files of the blob store."""
        return bool(self.settings.accel_redirect) and self.blobs is not None

    @property
    def homes(self) -> bool:
        """Whether the server needs something below the directories of users."""
        needed = (Path(self.program[0]), *self.writable, *([self.config] if self.config else []))
        return any(path.is_relative_to(home) for path in needed for home in _HOMES)

    @property
    def stopping_seconds(self) -> int:
        """Seconds after which a server that was told to stop may be killed."""
        return int(self.settings.shutdown_timeout) + 30

    @property
    def identity_headers(self) -> tuple[str, ...]:
        """The headers that name a user, which a proxy that does no log-ins has to remove."""
        remote = self.settings.remote_user
        names = (remote.header or "X-Remote-User", remote.secret_header, remote.groups_header)
        return tuple(name for name in names if name)


def deployment_of(
    settings: ServerSettings,
    *,
    program: tuple[str, ...],
    config: Path | None,
    environ: Mapping[str, str],
    version: str,
) -> Deployment:
    """Sort the variables of the server into those that a file may show and secrets."""
    known = {option.variable: option for option in options_of(ServerSettings)}
    schemes = {urlsplit(url).scheme for url in (settings.store, settings.blobs)}
    of_clients = tuple(_CLIENTS[scheme] for scheme in schemes if scheme in _CLIENTS)
    shown: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in environ.items():
        if name == f"{PREFIX}DATA":  # each file names the directory itself
            continue
        option = known.get(name)
        if name.startswith((CREDENTIALS, _PLUGINS, *of_clients)) or (option is not None and _is_secret(option, value)):
            secrets.append(name)
        elif option is not None:
            shown[name] = value
    return Deployment(
        settings=settings,
        program=program,
        config=config.absolute() if config is not None else None,
        variables=dict(sorted(shown.items())),
        secrets=tuple(sorted(secrets)),
        version=version,
    )


def _local(url: str) -> Path | None:
    """The directory of a store on this machine: that of the database, or of the blobs."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return path_of(f"file{url.removeprefix('sqlite')}").parent
    return path_of(url) if parts.scheme == "file" else None


def _is_secret(option: Option, value: str) -> bool:
    """Whether others must not see the value. A URL without credentials is no secret."""
    return option.hidden or (option.secret and (masked(value) != value or "://" not in value))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
