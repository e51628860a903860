"""The table `[plugins.advisories]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused


class FeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    feed: str = ""
    """Where advisories come from: the URL of a zip file of OSV records, such as `PyPI/all.zip` of OSV's export, or a local zip file or directory. Empty: none are fetched."""
    every: float = 300.0
    """Seconds between two questions whether the feed has changed. Each is one conditional request."""
    deadline: float = 600.0
    """Seconds for one answer of the feed."""
    limit: int = 2 * 1024**3
    """Bytes of a feed."""
    ca_file: str = ""
    """Certificates (PEM) to trust instead of the system's."""
    proxy: str = ""
    """The URL of an HTTP proxy, in place of those of the environment."""


def read_feed_settings(table: Mapping[str, Any]) -> FeedSettings:
    """Read the table. Raises `Refused`."""
    try:
        settings = msgspec.convert(table, FeedSettings)
    except msgspec.ValidationError as error:
        raise Refused(f"[plugins.advisories]: {error}") from error
    if settings.every < 1 or settings.deadline < 1 or settings.limit < 1:
        raise Refused("[plugins.advisories]: every, deadline and limit are at least 1")
    return settings
