"""The settings of the mirror plugin: the table `[plugins.mirror]`. Seconds and bytes.

Defaults suit a team's server in front of a public index.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

import ipaddress
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.quantities import quantity
from pkgindex_mirror.retry import RetryPolicy

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_PROXIES = ("http", "https", "socks4", "socks5")
_PATIENCE = 2.0
"""Longest `Retry-After` in seconds that the mirror waits itself. Clients are told of a longer one."""


class MirrorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wait: float = 10.0
    """Seconds a client waits for a page of which nothing is stored; then it gets a 503. The fetch goes on."""
    offline: bool = False
    """Ask no upstream. Pages of mirrors show only files that were stored when the server started, and lists show only projects with a stored page."""
    stale_wait: float = 2.0
    """Seconds a client waits for news of a page that is stored; then it gets what is stored. The fetch goes on."""
    list_wait: float = 60.0
    """Seconds a client waits for a project list of which nothing is stored yet: PyPI's has hundreds of thousands of names."""
    file_wait: float = 14.0
    """Seconds a client waits for the first bytes of a file that is not stored yet, or for a metadata file; pip gives up after 15."""
    connect_timeout: float = 5.0
    """Seconds to establish a connection."""
    read_timeout: float = 30.0
    """Seconds: the longest silence of an upstream inside an answer."""
    page_deadline: float = 60.0
    """Seconds for one page with all its retries."""
    names_deadline: float = 300.0
    """Seconds for the project list with all its retries."""
    slowest_file: int = 4096
    """Slowest transfer of a file in bytes a second. A transfer may take `file_allowance` longer, and then fails."""
    file_allowance: float = 120.0
    """Seconds that any transfer may take on top of what its size allows."""
    attempts: int = 3
    """How often an upstream is asked before an answer counts as failed."""
    first_pause: float = 0.25
    """Seconds before the second attempt; the pause doubles from there. A `Retry-After` of more than 2 s ends the attempts."""
    page_limit: int = 64 * 1024 * 1024
    """Bytes of a page or project list, decompressed. PyPI's list has 23 MB. Reading one may take four times its size in memory."""
    file_limit: int = 20 * 1024**3
    """Bytes of a file."""
    concurrent_pages: int = 32
    """Pages that are fetched at once from one host."""
    concurrent_files: int = 16
    """Files that are fetched at once from one host; from all hosts together four times as many."""
    concurrent_requests: int = 64
    """Requests that are under way at once to one host: pages, files and metadata. Others wait."""
    pending: int = 4096
    """Upstream requests under way or queued. Beyond that a client whose page is not stored gets a 503."""
    breaker_failures: int = 3
    """Failed operations in a row after which an upstream host is not asked for a while: stored pages are served at once, the others are 503. One failure is enough if the host cannot be reached, or answers 429 with `Retry-After`."""
    breaker_interval: float = 5.0
    """Longest time in seconds between probes of such a host; the first probe comes after 1 s. A longer `Retry-After` of a 429 is respected."""
    least_expiry: float = 300.0
    """Seconds for which a page counts as fresh although the `Cache-Control` of its upstream says less; at most `mirror_cache_expiry`."""
    stale_while_revalidate: float = 0.0
    """Seconds after its expiry in which a stored page is served at once, marked as stale, while its upstream is asked; at most as long as the page was fresh."""
    stale_limit: float = math.inf
    """Seconds after the last good answer for which a stored page or list is served while its upstream cannot be asked; then it is 503. `inf`: without end."""
    absent_expiry: float = 60.0
    """Seconds for which "no such project" is believed, at most as long as a page."""
    remembered: int = 100_000
    """Projects of which the last answer of the upstream is kept in memory."""
    allow_networks: tuple[str, ...] = ()
    """Private networks, such as `10.0.0.0/8`, that links of pages, redirects, pushes, notices of uploads, and upstreams of mirrors may lead to. The upstream of a mirror below `root` needs no entry."""
    hook_timeout: float = 10.0
    """Seconds that a receiver has to answer a notice of an upload."""
    hook_attempts: int = 6
    """How often a receiver is asked before the notice is given up."""
    hook_deadline: float = 120.0
    """Seconds for one notice with all its retries."""
    cache_size: int | str = 0
    """The most bytes of mirrored files that are kept, as a number or a text such as `"20GiB"`. 0: no bound. The files that were used least recently are removed, and are fetched again when a client asks for them. Files that are being read or fetched may exceed the bound. Pages and metadata are not counted."""
    cache_age: float | str = 0.0
    """Seconds, or a text such as `"30d"`, after which a mirrored file is removed if no client has requested it. 0: never."""
    proxy: str = ""
    """URL of an http, https, socks4 or socks5 proxy for pages and files of upstreams; SOCKS needs the extra `socks`. It resolves the names of hosts, so `allow_networks` counts for hosts that are named by an address only. Pushes and notices do without it."""
    ca_file: str = ""
    """File with the certificates (PEM) to trust for upstreams and other servers, instead of the system's."""
    verify_tls: bool = True
    """Whether certificates of upstreams and other servers are checked. If not, everybody between this machine and an upstream may read and change what is sent."""
    user_agent: str = ""
    """Sent instead of `pkgindex-mirror/VERSION`. Public indexes ask for a contact in it."""

    @property
    def cache_bytes(self) -> int:
        return int(_amount(self.cache_size, "bytes", "cache_size"))

    @property
    def cache_seconds(self) -> float:
        return float(_amount(self.cache_age, "seconds", "cache_age"))

    def page_policy(self) -> RetryPolicy:
        return RetryPolicy(
            attempts=self.attempts, first=self.first_pause, deadline=self.page_deadline, patience=_PATIENCE
        )

    def names_policy(self) -> RetryPolicy:
        return RetryPolicy(
            attempts=self.attempts, first=self.first_pause, deadline=self.names_deadline, patience=_PATIENCE
        )

    def hook_policy(self) -> RetryPolicy:
        return RetryPolicy(attempts=self.hook_attempts, first=1.0, longest=30.0, deadline=self.hook_deadline)


def read_settings(table: Mapping[str, Any]) -> MirrorSettings:
    """Decode the table. Raises `Refused` for a wrong type, an unknown key or a wrong network, which the message names."""
    try:
        settings = msgspec.convert(table, MirrorSettings)
    except msgspec.ValidationError as error:
        known = ", ".join(MirrorSettings.__struct_fields__)
        raise Refused(f"[plugins.mirror]: {error}", hint=f"known settings: {known}") from error
    parse_networks(settings.allow_networks)
    if settings.proxy and urlsplit(settings.proxy).scheme not in _PROXIES:
        raise Refused(
            "[plugins.mirror]: proxy is no URL of a proxy",
            hint=f"it begins with one of {', '.join(f'{each}://' for each in _PROXIES)}",
        )
    _ = settings.cache_bytes, settings.cache_seconds  # refuses amounts that cannot be read
    return settings


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read `allow_networks`: `10.0.0.0/8`, `fd00::/8`, a single address."""
    networks: list[Network] = []
    problems: list[str] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            problems.append(f"allow_networks: {text[:80]!r} is not a network")
    if problems:
        raise Refused(problems, hint="write networks as 10.0.0.0/8 or fd00::/8")
    return tuple(networks)


def _amount(value: float | str, unit: Literal["bytes", "seconds"], name: str) -> float:
    amount = quantity(value, unit) if isinstance(value, str) else value
    if amount is None or amount < 0:
        example = "20GiB" if unit == "bytes" else "30d"
        raise Refused(
            f"[plugins.mirror]: {name} is no amount of {unit}: {str(value)!r}"[:160],
            hint=f'write {name} = "{example}", or a number of {unit}; 0 for no bound',
        )
    return amount
