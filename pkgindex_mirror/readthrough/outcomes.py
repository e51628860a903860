"""Turns the outcome of a question to an upstream into the answer for a client.

outcome     something is stored             nothing is stored
current     fresh                           (the upstream is asked again)
absent      stale: gone upstream            absent
failed      stale, until `stale_limit`      `Unavailable`, or `BadUpstream` when waiting does not help
"""

from __future__ import annotations

from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.protocols import Freshness
from pkgindex_mirror.readthrough.checks import Check

ASKED_AGAIN = "its upstream is being asked again"
UNANSWERED = "its upstream has not answered yet"


def told(check: Check, *, what: str, holds: bool) -> Freshness:
    """The freshness of `what`. `holds`: something is stored. Raises `Unavailable` or `BadUpstream` for a failure unless `holds`."""
    match check.outcome:
        case "current":
            return Freshness(state="fresh", checked=check.checked)
        case "absent" if not holds:
            return Freshness(state="absent", checked=check.checked)
        case _ if holds:
            return Freshness(state="stale", reason=check.reason, checked=check.checked)
    raise unknown(check, f"{what} is not known: {check.reason}")


def unknown(check: Check, message: str) -> Unavailable:
    """The error for a failure."""
    return BadUpstream(message) if check.lasting else Unavailable(message)
