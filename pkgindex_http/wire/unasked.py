"""Headers that say what an answer lacks or warns of: mirrors that could not be asked, and files of which policies warn."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.names import IndexName

_LONGEST = 1000
_WARNINGS = 5


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """The header of an answer with files of which policies warn; the first few, as far as a header may be long."""
    if not warnings:
        return {}
    more = f"; and {len(warnings) - _WARNINGS} more" if len(warnings) > _WARNINGS else ""
    told = "; ".join(each[:200] for each in warnings[:_WARNINGS]) + more
    return {"X-PkgIndex-Warning": "".join(each if " " <= each <= "~" else "?" for each in told)}


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
