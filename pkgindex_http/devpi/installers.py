"""Installers on devpi's own paths: `pip install -i http://host/user/index/` gets the simple pages, without `+simple`.

An installer is known by its `User-Agent`, as devpi does it, or by asking for the simple API's JSON. Every other client gets devpi's
documents there.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.names import normalized_or_none
from pkgindex_core.rules.negotiation import JSON_V1
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


def wants_simple_page(ask: Ask) -> bool:
    """The same for a project. A name that is not normalised is sent to the one that is, whoever asks."""
    named = ask.values["project"]
    return normalized_or_none(named) == named and wants_simple_pages(ask)
