"""Tells browsers from other clients: browsers name XHTML in `Accept`, and no installer does."""

from __future__ import annotations

from pkgindex_http.requests import Ask


def is_browser(ask: Ask) -> bool:
    """Whether the client is a browser."""
    return names_xhtml(ask.accept)


def names_xhtml(accept: str) -> bool:
    """Whether an `Accept` is that of a browser."""
    return "application/xhtml+xml" in accept.lower()
