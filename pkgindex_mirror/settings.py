"""The settings of the mirror plugin: the table `[plugins.mirror]`. Seconds and bytes.

Defaults suit a team's server in front of a public index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_mirror.retry import RetryPolicy

_PATIENCE = 2.0
"""Seconds: a longer `Retry-After` of an upstream is the client's to wait, which asks again after 2 s anyway."""


class MirrorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wait: float = 10.0
    """Seconds a client waits for a page of which nothing is stored; then it gets a 503. The fetch goes on."""
    stale_wait: float = 2.0
    """Seconds a client waits for news of a page that is stored; then it gets what is stored. The fetch goes on."""
    list_wait: float = 60.0
    """Seconds a client waits for a project list of which nothing is stored yet: PyPI's has hundreds of thousands of names."""
    file_wait: float = 14.0
    """Seconds a client waits for the first bytes of a file that is not stored yet, or for a metadata file; pip hangs up after 15."""
    connect_timeout: float = 5.0
    """Seconds to establish a connection."""
    read_timeout: float = 30.0
    """Seconds: the longest silence of an upstream inside an answer."""
    page_deadline: float = 60.0
    """Seconds for one page with all its retries."""
    names_deadline: float = 300.0
    """Seconds for the project list with all its retries."""
    slowest_file: int = 4096
    """Bytes a second below which the transfer of a file is given up; `file_allowance` comes on top."""
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
    """Files that are fetched at once, from all hosts together."""
    pending: int = 4096
    """Upstream requests under way or queued; beyond that clients are told to come back."""
    breaker_failures: int = 3
    """After so many failed operations in a row an upstream host is left alone: what is stored is served at once, the rest is 503. One is enough when the host cannot be reached, or says 429 with `Retry-After`."""
    breaker_interval: float = 5.0
    """Seconds between the probes by which a host that was left alone is tried again; the first comes after 1 s. A 429 with `Retry-After` is respected beyond it."""
    absent_expiry: float = 60.0
    """Seconds for which "no such project" is believed, at most as long as a page."""
    remembered: int = 100_000
    """Projects whose checking time is kept in memory."""
    allow_networks: tuple[str, ...] = ()
    """Private networks into which links of pages and redirects, pushes and notices of uploads may lead, such as `10.0.0.0/8`; upstreams of other users' mirrors too. The upstream of a mirror below `root` needs no entry."""
    hook_timeout: float = 10.0
    """Seconds that a receiver has to answer a notice of an upload."""
    hook_attempts: int = 6
    """How often a receiver is asked before the notice is given up."""
    hook_deadline: float = 120.0
    """Seconds for one notice with all its retries."""
    ca_file: str = ""
    """File with the certificates (PEM) to trust for upstreams and other servers, instead of the system's."""
    user_agent: str = ""
    """Sent instead of `pkgindex-mirror/VERSION`. Public indexes ask for a contact in it."""

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
    """Decode the table; a wrong type or an unknown key is refused with its name."""
    try:
        return msgspec.convert(table, MirrorSettings)
    except msgspec.ValidationError as error:
        known = ", ".join(MirrorSettings.__struct_fields__)
        raise Refused(f"[plugins.mirror]: {error}", hint=f"known settings: {known}") from error
