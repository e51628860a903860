"""Installers on devpi's own paths: `pip install -i http://host/user/index/` gets the simple pages, without `+simple`.

An installer is known by its `User-Agent`, as devpi does it, or by asking for the simple API's JSON. Every other client gets devpi's
documents there.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_http.replies import Reply
from pkgindex_http.requests import Ask

VARY: Final = "Accept, User-Agent"
"""On what the answer depends besides the path."""

_INSTALLERS: Final = ("distribute/", "setuptools/", "pip/", "pex/", "uv/")


def is_installer(user_agent: str) -> bool:
    """Whether a `User-Agent` is an installer's: one of its words begins with an installer's name and a slash."""
    return any(word.startswith(_INSTALLERS) for word in user_agent.split(" "))


def wants_simple_pages(ask: Ask) -> bool:
    """Whether a request on a path of devpi's means the simple API."""
    headers = ask.request.headers
    return JSON_V1 in headers.get("Accept", "").lower() or is_installer(headers.get("User-Agent", ""))


def for_installers(reply: Reply) -> Reply:
    """A simple page, or a redirect to one, on a path where other clients get something else.

    It is private: a shared cache that does not look at `Vary: User-Agent` (most leave it out of their keys) would hand it to devpi's client.
    """
    vary = reply.headers.get("Vary", "Accept")
    caching = reply.headers.get("Cache-Control", "no-store").replace("public", "private")
    return replace(reply, headers={**reply.headers, "Vary": f"{vary}, User-Agent", "Cache-Control": caching})
