"""Preconditions of requests (RFC 9110, 13), compared with the validators of the resource of the URL. Pure.

    If-Match             holds if the resource has one of the entity tags (compared strongly); `*` matches any resource
    If-Unmodified-Since  holds if the resource has not changed since then; ignored beside If-Match
    If-None-Match        for a change: holds if the resource has none of the tags. For a GET the handlers answer 304

A resource without tag and date cannot be compared. RFC 9110 13.1.4 ignores the condition when there is no date. Here such a
change is refused, because its author wanted it only under that condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from pkgindex_core.rules.stamping import matches
from pkgindex_http.wire.ranges import unix_seconds

_TAG = re.compile(r'[ \t,]*(W/)?("[^"]*")[ \t]*(?:,|\Z)')
_CONDITIONS = ("If-Match", "If-Unmodified-Since", "If-None-Match")


class Validators(Struct, frozen=True):
    """The entity tag and the date of a resource; empty when it has none."""

    etag: str = ""
    modified: float = 0.0
    """Seconds since the epoch."""


def is_conditional(headers: Mapping[str, str]) -> bool:
    """Whether a request has preconditions."""
    return any(name in headers for name in _CONDITIONS)


def failed_read(headers: Mapping[str, str], validators: Validators) -> str:
    """The condition of a GET or HEAD that does not hold; empty when all hold."""
    if "If-Match" in headers:
        return "" if _names(headers["If-Match"], validators.etag) else "If-Match"
    moment = unix_seconds(headers.get("If-Unmodified-Since", ""))
    if moment is not None and validators.modified and int(validators.modified) > moment:
        return "If-Unmodified-Since"
    return ""


def failed_change(headers: Mapping[str, str], validators: Validators, *, creates: bool) -> str:
    """The condition of a change that does not hold or cannot be compared. `creates`: the change never replaces a resource."""
    if "If-Match" in headers:
        if creates or not _names(headers["If-Match"], validators.etag):
            return "If-Match"
    elif "If-Unmodified-Since" in headers:
        moment = unix_seconds(headers["If-Unmodified-Since"])
        if moment is None or not validators.modified or int(validators.modified) > moment:
            return "If-Unmodified-Since"
    if not creates and matches(headers.get("If-None-Match"), validators.etag):
        return "If-None-Match"
    return ""


def _names(tags: str, etag: str) -> bool:
    """Whether `If-Match` has this tag by strong comparison (RFC 9110 8.8.3.2: weak tags never match)."""
    if tags.strip(" \t") == "*":
        return True
    place = 0
    while found := _TAG.match(tags, place):
        if etag and not found[1] and found[2] == etag:
            return True
        place = found.end()
    return False
