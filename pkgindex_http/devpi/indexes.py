"""Indexes, as devpi's client makes, changes, shows and removes them.

    GET    /{user}/{index}[?no_projects=][&v=2]
    PUT    /{user}/{index}     options: {"bases": "root/pypi", "volatile": "True", "type": "stage" …}
    PATCH  /{user}/{index}     some options, the whole document (bare, or in its envelope), or a list: ["acl_upload+=anna", "title-="]
    DELETE /{user}/{index}

What options there are and what is said of wrong ones is the rules' business (`rules.index_options`). A mirror's projects are all that its
upstream has: they are sent as they come out of the store. `?v=2` shows options under devpi 7's names (see `result_versions`).
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from aiohttp import web

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_http.devpi.envelope import CLIENT, beginning, document, options_given, said, streamed
from pkgindex_http.devpi.installers import VARY, wants_simple_pages
from pkgindex_http.devpi.result_versions import of_devpi_7
from pkgindex_http.replies import Reply
from pkgindex_http.requests import Ask
from pkgindex_http.routing import About
from pkgindex_http.unasked import unasked_headers, unknown_message

_log = logging.getLogger(__name__)


def about_shown(ask: Ask) -> About:
    """What is shown: the projects too, or the options alone; a redirect shows nothing."""
    if wants_simple_pages(ask):
        return "anything" if ask.segments[-1] else "index"
    return "anything" if ask.query("no_projects") is not None else "index"


async def show(ask: Ask) -> Reply | web.StreamResponse:
    """The options of an index, and its own projects unless they are not wanted."""
    options = await ask.engine.overview.index(ask.index, ask.principal, of_devpi_7=of_devpi_7(ask))
    if ask.query("no_projects") is not None:
        return document(options, "indexconfig")
    names = await ask.engine.listings.names(ask.index, principal=ask.principal)
    stale = [(ask.index, names.stale)] if names.stale else []
    unknown: list[tuple[IndexName, str]] = []
    if names.unknown is not None:
        if CLIENT in ask.request.headers.get("User-Agent", ""):
            raise names.unknown  # `devpi list` prints the projects and no message: it would say that there are none
        unknown = [(ask.index, names.unknown.message)]
    headers = {"Vary": VARY, **unasked_headers(stale, unknown)}
    start, is_all = await beginning(names.pieces)
    if is_all:
        found = options if unknown else {**options, "projects": msgspec.Raw(start)}
        reply = document(found, "indexconfig", message=unknown_message(unknown))
        return msgspec.structs.replace(reply, headers={**reply.headers, **headers})
    before = b'{"result":' + msgspec.json.encode(options)[:-1] + b',"projects":' + start
    return await streamed(before, names.pieces, b'},"type":"indexconfig"}\n', ask.engine, headers)


async def may_create(ask: Ask) -> None:
    """Before the body is asked for."""
    await ask.engine.indexes.check_new(_name(ask), ask.principal)


async def create(ask: Ask) -> Reply:
    """Make an index."""
    form = of_devpi_7(ask)
    given = await options_given(ask.request, "indexconfig")
    if isinstance(given, list):
        raise Refused("an index is made from an object of options, not from a list")
    made = await ask.engine.indexes.create(_name(ask), given, principal=ask.principal)
    return await _told(ask, made, given, of_devpi_7=form)


async def modify(ask: Ask) -> Reply:
    """Change some options of an index."""
    form = of_devpi_7(ask)
    given = await options_given(ask.request, "indexconfig")
    changed = await ask.engine.indexes.modify(
        ask.index,
        given,
        principal=ask.principal,
        must_change=ask.query("error_on_noop") is not None,
    )
    return await _told(ask, changed, given, of_devpi_7=form)


async def _told(ask: Ask, index: IndexConfig, given: dict[str, Any] | list[Any], *, of_devpi_7: bool) -> Reply:
    """An index as it is now. With a new upstream a warning may stand beside it: a wrong URL makes every project absent."""
    problem = ""
    if any(str(option).startswith(("mirror_url", "remote_url")) for option in given) and index.mirrored:
        problem = await ask.engine.examining.index(index)
    if problem:
        _log.warning("%s: %s", index.name, problem)
        problem = f"warning: {index.name}: {problem}"
    return document(ask.engine.overview.options(index, of_devpi_7=of_devpi_7), "indexconfig", message=problem)


async def may_delete(ask: Ask) -> None:
    """What is not volatile stays."""
    await ask.engine.indexes.check_deletion(ask.index, ask.principal)


async def delete(ask: Ask) -> Reply:
    """Remove an index with all that is in it."""
    await ask.engine.indexes.delete(ask.index, principal=ask.principal)
    return said(f"index {ask.index} deleted", status=201)


def _name(ask: Ask) -> str:
    """A name that no index has yet, and perhaps none can have."""
    return f"{ask.values['user']}/{ask.values['index']}"
