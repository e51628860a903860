"""Recognises installers on devpi's paths, so that `pip install -i http://host/user/index/` works without `+simple`.

Installers have a known `User-Agent`, as in devpi, or ask for the simple API's JSON. Other clients get devpi's documents there.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.names import normalized_or_none
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_http.requests import Ask

VARY: Final = "Accept, User-Agent"
"""The request headers on which the answer depends."""

_INSTALLERS: Final = ("distribute/", "setuptools/", "pip/", "pex/", "uv/")


def is_installer(user_agent: str) -> bool:
    """Whether a word of a `User-Agent` begins with the name of an installer and a slash."""
    return any(word.startswith(_INSTALLERS) for word in user_agent.split(" "))


def wants_simple_pages(ask: Ask) -> bool:
    """Whether a request on one of devpi's paths is for the simple API."""
    headers = ask.request.headers
    return JSON_V1 in headers.get("Accept", "").lower() or is_installer(headers.get("User-Agent", ""))


def wants_simple_page(ask: Ask) -> bool:
    """The same for a project. False for a name that is not normalised, which is redirected for all clients."""
    named = ask.values["project"]
    return normalized_or_none(named) == named and wants_simple_pages(ask)
