"""Settings of a cache from the options of `pkgindex-mirror proxy`, the configuration, and the variables of proxpi, in this order.

Upstreams are not mixed: those of the options, or those of `[plugins.proxpi]` in the configuration, or those of the variables.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_http.commands.common import settings_from
from pkgindex_http.proxpi.credentials import KnownCredentials
from pkgindex_http.proxpi.settings import (
    FIRST,
    INDEX,
    PORT,
    UNION,
    ProxySettings,
    UpstreamSettings,
    read_settings,
)
from pkgindex_http.proxpi.variables import ProxpiVariables, read_variables
from pkgindex_http.settings import ServerSettings

CACHE_SIZE: Final = "20GiB"
"""The bound of the files that are kept, unless another is given."""
TABLE: Final = "proxpi"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_POLICIES: Final = {"first": FIRST, "union": UNION}


class CacheOptions(Struct, frozen=True, kw_only=True):
    """The options about the cache, as they were given."""

    upstreams: Sequence[str] = ()
    flat_pages: Sequence[str] = ()
    """They come before the upstreams."""
    expiries: Sequence[int] = ()
    merge: str | None = None
    absent_statuses: Sequence[int] = ()
    sizes: int | None = None
    networks: Sequence[str] = ()
    """Private networks that links may lead to."""
    cache: str | None = None
    cache_size: str | None = None
    offline: bool = False


def server_settings(
    config: Path | None, options: CacheOptions, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> tuple[ServerSettings, list[str]]:
    """The settings of the server, and lines about what has no effect or is left out. Raises `Refused`; its message has no credentials."""
    pypi = Settings(data=Path()).upstream
    variables = read_variables(environ, upstream=pypi)
    place = options.cache or variables.cache_directory
    flagged = dict(flags)
    defaults: dict[str, Any] = {"port": PORT, "default_index": INDEX, "data": _home(environ), "open_metrics": True}
    if place and "://" in place:
        flagged["blobs"] = place
    elif place:
        (flagged if options.cache else defaults)["data"] = str(Path(place).expanduser().absolute())
    if variables.log_level:
        defaults["log_level"] = variables.log_level
    if options.merge:
        flagged["admission"] = _POLICIES[options.merge]
    settings = settings_from(config, defaults={**defaults, "admission": FIRST}, **flagged)
    configured = settings.plugins.get(TABLE, {})
    if len(variables.upstreams) > 1 and not options.upstreams and "upstreams" not in configured:
        # Users of proxpi get what they had.
        settings = settings_from(config, defaults={**defaults, "admission": UNION}, **flagged)
    if options.cache_size is not None or "cache_size" in settings.plugins.get("mirror", {}):
        variables = replace(variables, cache_size=None)
    table, remarks = _table(options, configured, variables, pypi)
    known = KnownCredentials(environ)
    table = replace(table, upstreams=tuple(replace(each, url=known.put_into(each.url)) for each in table.upstreams))
    plugins = {**settings.plugins, TABLE: msgspec.to_builtins(table)}
    mirror = {
        "cache_size": variables.cache_size or CACHE_SIZE,
        **_certificates(environ),
        **variables.mirror,
        **settings.plugins.get("mirror", {}),
    }
    if options.cache_size is not None:
        mirror["cache_size"] = int(options.cache_size) if options.cache_size.isdecimal() else options.cache_size
    if options.networks:
        mirror["allow_networks"] = [*mirror.get("allow_networks", ()), *options.networks]
    if options.offline:
        mirror["offline"] = True
    plugins["mirror"] = mirror
    if not mirror.get("verify_tls", True):
        remarks.append(
            "WARNING: certificates are not checked: everybody between this machine and an upstream may change packages"
        )
    proxies = [name for name in _PROXIES if environ.get(name) or environ.get(name.lower())]
    if proxies and not mirror.get("proxy"):
        named = ", ".join(proxies)
        remarks.append(
            f"{named}: not used; upstreams are asked directly, unless `proxy` of [plugins.mirror] names a proxy"
        )
    return replace(settings, plugins=plugins), [*variables.remarks, *remarks]


def _certificates(environ: Mapping[str, str]) -> dict[str, str]:
    """The certificates to trust, from the variables that proxpi reads too."""
    place = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""
    return {"ca_file": place} if place and Path(place).is_file() else {}


def _table(
    options: CacheOptions, configured: Mapping[str, Any], variables: ProxpiVariables, pypi: str
) -> tuple[ProxySettings, list[str]]:
    """The upstreams, from the first source that names some, and the other settings of the table."""
    remarks = []
    named: Any = configured.get("upstreams")
    if options.upstreams:
        if variables.upstreams:
            remarks.append("--upstream is given, so the upstreams and times of PROXPI_ variables do not count")
        named = [{"url": url} for url in options.upstreams]
    elif "upstreams" not in configured:
        named = msgspec.to_builtins(variables.upstreams or (UpstreamSettings(url=pypi),))
    elif variables.upstreams:
        remarks.append("[plugins.proxpi] is configured, so the upstreams and times of PROXPI_ variables do not count")
    table = read_settings({**configured, "upstreams": named})
    flat = tuple(UpstreamSettings(url=url, find_links=True) for url in options.flat_pages)
    table = replace(table, upstreams=_with_expiries((*flat, *table.upstreams), options.expiries))
    if options.absent_statuses:
        table = replace(table, absent_statuses=tuple(dict.fromkeys((*table.absent_statuses, *options.absent_statuses))))
    if options.sizes is not None:
        table = replace(table, sizes=options.sizes)
    if variables.cache_size == 0:
        table = replace(table, redirect=True)
        remarks.append("PROXPI_CACHE_SIZE=0: no file is kept; clients are sent to the upstreams for files")
    return read_settings(msgspec.to_builtins(table)), remarks


def _with_expiries(upstreams: Sequence[UpstreamSettings], expiries: Sequence[int]) -> tuple[UpstreamSettings, ...]:
    if len(expiries) not in {0, 1, len(upstreams)}:
        raise Refused(
            f"--ttl is given {len(expiries)} times, and the number of upstreams is {len(upstreams)}",
            hint="give it once for all, or once for each in their order; those of --find-links are first",
        )
    if not expiries:
        return tuple(upstreams)
    times = expiries if len(expiries) == len(upstreams) else [expiries[0]] * len(upstreams)
    return tuple(replace(each, expiry=seconds) for each, seconds in zip(upstreams, times, strict=True))


def _home(environ: Mapping[str, str]) -> str | None:
    """The directory of the cache below the user's cache directory; None without a home directory."""
    named = environ.get("XDG_CACHE_HOME", "")
    try:
        if sys.platform == "darwin":
            base = Path("~/Library/Caches").expanduser()
        elif sys.platform == "win32" and environ.get("LOCALAPPDATA"):
            base = Path(environ["LOCALAPPDATA"])
        else:  # XDG base directories: a relative path in the variable is invalid and must be ignored
            base = Path(named) if Path(named).is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:
        return None
    return str(base / "pkgindex" / "proxy")
