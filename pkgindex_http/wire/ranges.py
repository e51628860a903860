"""Byte ranges (RFC 9110, 14) of files of a known size. Pure.

A single range works, also in the suffix form (poetry asks for the last 10,000 bytes of a wheel). Several ranges, other units and
malformed ranges get the whole file, as the standard allows. A range that cannot be satisfied is 416.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from pkgindex_core.protocols import Span

_RANGE = re.compile(r"\Abytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*\Z", re.ASCII | re.IGNORECASE)


def parse_range(header: str | None, size: int) -> Span | Literal["unsatisfiable"] | None:
    """The requested span; None for the whole file."""
    if header is None:
        return None
    match = _RANGE.match(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        length = min(int(last), size)
        return Span(size - length, size) if length else "unsatisfiable"
    start = int(first)
    if last and int(last) < start:
        return None  # an invalid range is ignored, not unsatisfiable (14.1.1)
    if start >= size:
        return "unsatisfiable"
    return Span(start, min(int(last) + 1, size) if last else size)


def unchanged_since(if_modified_since: str | None, *, modified: float) -> bool:
    """Whether the file has not changed since the date of the client's copy (13.1.3). `If-None-Match` takes precedence over it."""
    seconds = unix_seconds(if_modified_since.strip()) if if_modified_since is not None and modified > 0 else None
    return seconds is not None and int(modified) <= seconds


def range_applies(if_range: str | None, *, etag: str, modified: float) -> bool:
    """Whether `If-Range` matches the file, so that the client may combine the part with its own copy."""
    if if_range is None:
        return True
    value = if_range.strip()
    if value.startswith('"'):
        return value == etag
    if value.startswith("W/"):
        return False  # a weak tag never matches here (13.1.5)
    return modified > 0 and unix_seconds(value) == int(modified)


def unix_seconds(date: str) -> int | None:
    """An HTTP date in seconds since the epoch; None if it is invalid."""
    try:
        moment = parsedate_to_datetime(date)
        # A date with the zone `-0000` is parsed without a zone. It is UTC, not local time.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
