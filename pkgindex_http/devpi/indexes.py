"""Indexes, for devpi's client: make, change, show and remove them.

    GET    /{user}/{index}[?no_projects=][&v=2]
    PUT    /{user}/{index}     options: {"bases": "root/pypi", "volatile": "True", "type": "stage" …}
    PATCH  /{user}/{index}     some options, the whole document (with or without its envelope), or a list: ["acl_upload+=anna", "title-="]
    DELETE /{user}/{index}

`rules.index_options` defines and checks the options. The projects of a mirror, which may be all of its upstream, are streamed from
the store. `?v=2` shows options under devpi 7's names (see `result_versions`).
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_http.devpi.envelope import CLIENT, beginning, document, options_given, said, streamed
from pkgindex_http.devpi.installers import VARY, wants_simple_pages
from pkgindex_http.devpi.result_versions import of_devpi_7
from pkgindex_http.requests import Ask
from pkgindex_http.routing import About
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import Reply
from pkgindex_http.wire.unasked import unasked_headers, unknown_message

_log = logging.getLogger(__name__)


def about_shown(ask: Ask) -> About:
    """The whole index if the answer lists projects, or anything if it shows only options or redirects."""
    if wants_simple_pages(ask):
        return "anything" if ask.segments[-1] else "index"
    return "anything" if ask.query("no_projects") is not None else "index"


async def show(ask: Ask) -> Reply | web.StreamResponse:
    """The options of an index, and its own projects without `?no_projects`."""
    options = await ask.engine.overview.index(ask.index, ask.principal, of_devpi_7=of_devpi_7(ask))
    if ask.query("no_projects") is not None:
        return document(options, "indexconfig")
    names = await ask.engine.listings.names(ask.index, principal=ask.principal)
    stale = [(ask.index, names.stale)] if names.stale else []
    unknown: list[tuple[IndexName, str]] = []
    if names.unknown is not None:
        if CLIENT in ask.request.headers.get("User-Agent", ""):
            raise names.unknown  # `devpi list` does not print the message, and would show an empty list
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
    """Check the right to make the index, before the body is read."""
    await ask.engine.indexes.check_new(_name(ask), ask.principal)


async def create(ask: Ask) -> Reply:
    """Make an index."""
    form = of_devpi_7(ask)
    given = await options_given(ask.request, "indexconfig")
    if isinstance(given, list):
        raise Refused("a list of changes cannot make an index", hint="send an object with the options")
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
    """The changed index. A new upstream is checked, and policies for advisories. A problem is the message: with a wrong URL every project would be
    absent, and without advisories every release be harmless.
    """
    examining, problem = ask.engine.examining, ""
    if any(str(option).startswith(("mirror_url", "remote_url")) for option in given) and index.mirrored:
        problem = await examining.index(index)
    elif any(str(option).startswith("policies") for option in given):
        problem = examining.advisories(index)
    if problem:
        _log.warning("%s: %s", index.name, problem)
        problem = f"warning: {index.name}: {problem}"
    return document(ask.engine.overview.options(index, of_devpi_7=of_devpi_7), "indexconfig", message=problem)


async def may_delete(ask: Ask) -> None:
    """Check the right to remove the index, and that it is volatile."""
    await ask.engine.indexes.check_deletion(ask.index, ask.principal)


async def delete(ask: Ask) -> Reply:
    """Remove an index with all its content."""
    await ask.engine.indexes.delete(ask.index, principal=ask.principal)
    return said(f"index {ask.index} deleted", status=201)


def _name(ask: Ask) -> str:
    """The name of a new index, which is not checked yet."""
    return f"{ask.values['user']}/{ask.values['index']}"
