"""Headers that say what an answer lacks or warns of: mirrors that could not be asked, and files of which policies warn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pkgindex_core.names import IndexName

_LONGEST = 1000


def warning_headers(warnings: tuple[str, ...]) -> dict[str, str]:
    """The header of an answer with files of which policies warn."""
    return {"X-PkgIndex-Warning": _told(warnings)} if warnings else {}


@lru_cache(maxsize=1024)
def _told(warnings: tuple[str, ...]) -> str:
    """The few warnings as the value of a header. It is made once for a page, because it takes as long as half of an answer."""
    told = "; ".join(each[:200] for each in warnings)
    return "".join(each if " " <= each <= "~" else "?" for each in told)


def unasked_headers(
    stale: Sequence[tuple[IndexName, str]], unknown: Sequence[tuple[IndexName, str]] = ()
) -> dict[str, str]:
    """`stale` are mirrors of which stored content is shown; `unknown` are mirrors of which nothing is stored. Each has its reason."""
    headers = {}
    if stale:
        # RFC 9111 retired Warning, but caches and people still read it. The second header names the mirrors with the reason.
        headers["Warning"] = '110 - "Response is Stale"'
        headers["X-PkgIndex-Stale"] = _listed(stale)
    if unknown:
        headers["X-PkgIndex-Unknown"] = _listed(unknown)
    return headers


def unknown_message(unknown: Sequence[tuple[IndexName, str]]) -> str:
    """The `unknown` mirrors as the message of a document; empty when there are none."""
    return f"not known: {_listed(unknown)}" if unknown else ""


def _listed(mirrors: Sequence[tuple[IndexName, str]]) -> str:
    return "; ".join(f"{index}: {reason}" for index, reason in mirrors)[:_LONGEST]
