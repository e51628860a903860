"""How an answer says which mirrors could not be asked: the headers beside it."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.names import IndexName

_LONGEST = 1000


def unasked_headers(
    stale: Sequence[tuple[IndexName, str]], unknown: Sequence[tuple[IndexName, str]] = ()
) -> dict[str, str]:
    """`stale`: mirrors of which what was stored is shown; `unknown`: those of which nothing is, since nothing was stored."""
    headers = {}
    if stale:
        # RFC 9111 retired Warning, but caches and people still read it; ours says which mirror and why.
        headers["Warning"] = '110 - "Response is Stale"'
        headers["X-PkgIndex-Stale"] = _listed(stale)
    if unknown:
        headers["X-PkgIndex-Unknown"] = _listed(unknown)
    return headers


def unknown_message(unknown: Sequence[tuple[IndexName, str]]) -> str:
    """The same for a document; empty when everything is known."""
    return f"not known: {_listed(unknown)}" if unknown else ""


def _listed(mirrors: Sequence[tuple[IndexName, str]]) -> str:
    return "; ".join(f"{index}: {reason}" for index, reason in mirrors)[:_LONGEST]
