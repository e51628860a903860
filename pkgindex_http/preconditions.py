"""Preconditions of requests (RFC 9110, 13): pure. What they are compared with are the validators of the resource that the URL names.

    If-Match             only if this is what there is: `*` for anything, else entity tags, compared strongly
    If-Unmodified-Since  only if it has not changed since then; passed over where If-Match stands
    If-None-Match        of a change: only if this is not what there is. Of a GET it means 304, which the handlers answer

What has neither tag nor date cannot be compared. RFC 9110 13.1.4 says of a date that is not there that the condition is ignored; a change
would then be made that its author wanted only under a condition. It is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from pkgindex_core.rules.stamping import matches
from pkgindex_http.ranges import unix_seconds

_TAG = re.compile(r'[ \t,]*(W/)?("[^"]*")[ \t]*(?:,|\Z)')
_CONDITIONS = ("If-Match", "If-Unmodified-Since", "If-None-Match")


class Validators(Struct, frozen=True):
    """By what a resource is told from what it was; empty when it has none."""

    etag: str = ""
    modified: float = 0.0
    """Seconds since the epoch."""


def is_conditional(headers: Mapping[str, str]) -> bool:
    """Whether a request has preconditions at all."""
    return any(name in headers for name in _CONDITIONS)


def failed_read(headers: Mapping[str, str], validators: Validators) -> str:
    """The condition of a GET or HEAD that does not hold; empty when all do."""
    if "If-Match" in headers:
        return "" if _names(headers["If-Match"], validators.etag) else "If-Match"
    moment = unix_seconds(headers.get("If-Unmodified-Since", ""))
    if moment is not None and validators.modified and int(validators.modified) > moment:
        return "If-Unmodified-Since"
    return ""


def failed_change(headers: Mapping[str, str], validators: Validators, *, creates: bool) -> str:
    """The condition of a change that does not hold, or that cannot be compared; `creates` changes nothing that is there already."""
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
    """Whether `If-Match` names this tag, by the strong comparison (RFC 9110 8.8.3.2: two weak tags never match)."""
    if tags.strip(" \t") == "*":
        return True
    place = 0
    while found := _TAG.match(tags, place):
        if etag and not found[1] and found[2] == etag:
            return True
        place = found.end()
    return False
