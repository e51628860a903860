"""The table `[plugins.proxpi]`, which `pkgindex-mirror proxy` makes of its options and of proxpi's variables.

[[plugins.proxpi.upstreams]]
url = "https://pypi.org/simple/"
expiry = 1800
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.urls import masked, without_credentials

INDEX: Final = "root/proxy"
"""The index that is served: the upstreams are its bases."""
PORT: Final = 5000
"""proxpi's."""
EXPIRY: Final = 1800
"""Seconds for which a page of an upstream counts as fresh; proxpi's for its first index."""
FIRST: Final = "first_mirror"
UNION: Final = "available_mirrors"
"""The admission policies of the two ways to merge."""
_PYPI: Final = "https://pypi.org/simple/"
_NAME_BYTES: Final = 50
_NO_NAME: Final = re.compile(r"[^a-z0-9.-]+")


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream. Its repr shows no secret."""

    url: str
    """The URL of a simple index, perhaps with `user:password@`."""
    expiry: int = EXPIRY
    """Seconds for which a page counts as fresh."""
    find_links: bool = False
    """Whether the URL is one page with links to files of any projects."""

    @property
    def shown(self) -> str:
        """The URL without credentials; of a simple index with a slash at its end."""
        plain = without_credentials(self.url)[0]
        return plain if self.find_links else plain.rstrip("/") + "/"

    @property
    def index(self) -> str:
        """The mirror of this upstream. The name depends on the URL alone, so that the order and number of upstreams may change."""
        if self.shown == _PYPI:
            return "root/pypi"
        parts = urlsplit(self.shown)
        name = _NO_NAME.sub("-", f"{parts.netloc}{parts.path}".lower())[:_NAME_BYTES].strip("-.")
        return f"root/{name}-{sha256_of(self.shown.encode())[:8]}"

    def __repr__(self) -> str:
        return f"UpstreamSettings({masked(self.url)!r})"


class ProxySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How upstreams are served."""

    upstreams: tuple[UpstreamSettings, ...]
    """In the order in which they are preferred."""
    absent_statuses: tuple[int, ...] = (404, 410)
    """The statuses of upstreams that mean "no such project"."""
    sizes: int = 20
    """Of how many files of a page without sizes upstreams are asked for the size."""
    redirect: bool = False
    """Send clients to the upstream for files, and keep none."""


def read_settings(table: Mapping[str, Any]) -> ProxySettings:
    """Decode and check the table. Raises `Refused` for everything that is wrong; its message has no credentials."""
    try:
        settings = msgspec.convert(table, ProxySettings)
    except msgspec.ValidationError as error:
        known = ", ".join(ProxySettings.__struct_fields__)
        each = ", ".join(UpstreamSettings.__struct_fields__)
        hint = f"known settings: {known}; of an upstream: {each}"
        raise Refused(f"[plugins.proxpi]: {error}", hint=hint) from error
    problems = [problem for each in settings.upstreams if (problem := _problem(each))]
    if not settings.upstreams:
        problems.append("no upstream is named")
    if problems:
        raise Refused(problems, hint="write an upstream as https://host/simple/")
    names = [each.index for each in settings.upstreams]
    twice = [each.shown for each, name in zip(settings.upstreams, names, strict=True) if names.count(name) > 1]
    if twice:
        raise Refused(f"the upstream {twice[0]} is named twice", hint="name each upstream once")
    return settings


def _problem(upstream: UpstreamSettings) -> str:
    shown = masked(upstream.url)
    try:
        plain, _ = without_credentials(upstream.url)
    except Refused as error:
        return f"the upstream {shown!r}: {error.message}"
    if urlsplit(plain).scheme not in {"http", "https"} or not plain.isprintable() or " " in plain:
        return f"the upstream {shown!r} is no http or https URL"
    if "?" in plain or "#" in plain:
        return f"the upstream {shown!r} has a query or a fragment"
    return f"the upstream {shown!r}: the expiry is a number of seconds from 0 on" if upstream.expiry < 0 else ""
