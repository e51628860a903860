"""The table `[plugins.pypiserver]`, which `pkgindex-serve run DIR…` makes of pypiserver's options.

[plugins.pypiserver]
roots = ["/srv/packages"]
authenticate = ["update", "download"]
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.urls import without_credentials

Deed = Literal["download", "list", "update"]
"""An action that may need a log-in: fetching files, seeing lists and pages, or any change."""

INDEX: Final = "root/packages"
"""The index of the directories, unless `default_index` says otherwise."""
_ENDPOINT: Final = re.compile(r"/[A-Za-z0-9/_-]+\Z")
_TAKEN: Final = frozenset({"simple", "packages", "legacy", "pypi", "integrity", "rpc2", "root"})
"""First segments of other URLs of the default index."""


class PypiserverSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How directories are served."""

    roots: tuple[str, ...]
    """Absolute paths, or URLs; the first one takes uploads."""
    authenticate: tuple[Deed, ...] = ("update",)
    """The actions that need a log-in. The others are open to everybody."""
    overwrite: bool = False
    """Whether an upload may take the place of a file."""
    fallback_url: str = ""
    """Where installers are sent for a project that is not there; empty: nowhere."""
    proxy_fallback: bool = False
    """Read such a project through a cache of that index (without a URL, of the `upstream` of the server), without a redirect."""
    health_endpoint: str = "/health"
    cache_control: int | None = None
    """Seconds for which caches may keep a file that is asked for by its name."""
    welcome: str = ""
    """The path of a page that takes the place of the front page."""


def read_settings(table: Mapping[str, Any]) -> PypiserverSettings:
    """Decode and check the table. Everything that is wrong is `Refused`."""
    try:
        settings = msgspec.convert(table, PypiserverSettings)
    except msgspec.ValidationError as error:
        known = ", ".join(PypiserverSettings.__struct_fields__)
        raise Refused(f"[plugins.pypiserver]: {error}", hint=f"known settings: {known}") from error
    problems = []
    if not settings.roots:
        problems.append("no directory is named")
    if settings.fallback_url:
        problems.extend(_problems_of_fallback(settings))
    endpoint = settings.health_endpoint
    if not _ENDPOINT.match(endpoint) or "//" in endpoint:
        problems.append(f"the health endpoint {endpoint!r} is no path of letters, digits, /, _ and -")
    elif endpoint.split("/")[1].lower() in _TAKEN:
        problems.append(f"the health endpoint {endpoint!r} is among the URLs of packages")
    if settings.cache_control is not None and settings.cache_control < 0:
        problems.append("cache_control is a number of seconds from 0 on")
    if problems:
        raise Refused(problems)
    return settings


def place_of_data(home: Path, root: str) -> Path:
    """Where the data of a server lie whose first directory this is: below the user's data directory, and not in that directory."""
    path = os.path.realpath(root)
    return home / "directories" / f"{Path(path).name or 'root'}-{sha256_of(path.encode(errors='surrogateescape'))[:12]}"


def deeds(text: str) -> tuple[Deed, ...]:
    """Read what `-a` takes: a list with commas, in any case, or `.` for nothing."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words == ["."]:
        return ()
    known: tuple[Deed, ...] = get_args(Deed)
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        raise Refused(
            f"{', '.join(map(repr, wrong)) or 'nothing'} cannot need a log-in",
            hint=f"-a takes a list of {', '.join(known)}, or . alone",
        )
    return tuple(deed for deed in known if deed in words)


def _problems_of_fallback(settings: PypiserverSettings) -> Iterator[str]:
    try:
        url, credentials = without_credentials(settings.fallback_url)
    except Refused as error:
        yield f"the fallback URL: {error.message}"
        return
    if urlsplit(url).scheme not in {"http", "https"}:
        yield f"the fallback URL {url!r} is no http or https URL"
    elif credentials and not settings.proxy_fallback:
        yield "the fallback URL has credentials, which a redirect shows to everybody; --proxy-fallback keeps them"
