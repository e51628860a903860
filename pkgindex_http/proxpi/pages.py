"""proxpi's URLs: pages and files below `/index/`, and those that make the next request ask the upstreams again.

Links of a page lead to `/index/NAME/USER/INDEX/+f/…`, which fixes the bytes of a file, so that a lock file never gets others. The URL of
proxpi, `/index/NAME/FILE`, leads to the file that has the name now.
"""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Source
from pkgindex_core.protocols.sources import Doubting
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.negotiation import SIMPLE_FORMATS, NotAcceptable, choose_format
from pkgindex_core.rules.permissions import Action
from pkgindex_http.handlers import files, simple
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.wire.replies import Reply, json_reply

_SUCCESS = {"status": "success", "data": None}
_REVALIDATED = "no-cache"
"""For URLs that do not fix the bytes of a file."""


async def may_read(ask: Ask) -> None:
    """Raise unless anonymous clients may read the index of the URL. Credentials may be those of a proxy in front, and are not looked at."""
    allowed_index(await ask.engine.store.tree(), ask.index, ask.principal, Action.READ)


async def project_list(ask: Ask) -> Reply:
    return await simple.list_in(ask, _media_type(ask))


async def project_page(ask: Ask) -> Reply:
    return await simple.page_with_links(ask, "", _media_type(ask))


async def file(ask: Ask) -> Reply | web.StreamResponse:
    """The file that the project's page has under this name, or its sidecar."""
    filename = ask.values["filename"]
    index, _ = await ask.engine.locating.locate(
        ask.index, filename.removesuffix(SIDECAR), principal=ask.principal, project=ask.project
    )
    return await files.download_by_name(ask, filename, caching=_REVALIDATED, index=index)


async def forget_list(ask: Ask) -> Reply:
    """Ask the upstreams for their lists of projects at the next request."""
    await _doubt(ask, listed=True)
    return json_reply(_SUCCESS, headers={"Cache-Control": "no-store"})


async def forget_project(ask: Ask) -> Reply:
    """Ask the upstreams for a project at the next request."""
    await _doubt(ask, listed=False)
    return json_reply(_SUCCESS, headers={"Cache-Control": "no-store"})


async def healthy(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    return json_reply(_SUCCESS, headers={"Cache-Control": "no-store"})


async def _doubt(ask: Ask, *, listed: bool) -> None:
    project = None if listed else ask.project
    tree = await ask.engine.store.tree()
    for name in tree.indexes[ask.index].bases:
        config = tree.indexes[name]
        source = ask.engine.sources.of(config)
        if not isinstance(source, Doubting):
            continue
        source.doubt(config, project)
        if ask.settings.workers > 1:
            # The next request may reach another worker. It shows what is stored, so the upstream is asked here and now.
            with suppress(Unavailable):  # then this worker asks again
                await _ask_again(ask, source, config, project)


async def _ask_again(ask: Ask, source: Source, config: IndexConfig, project: ProjectName | None) -> None:
    if project is None:
        await source.names(config)
        return
    (standing,) = await ask.engine.store.standings(project, [config.name])
    await source.refresh(config, project, standing)
    await ask.engine.settle()


def _media_type(ask: Ask) -> str | NotAcceptable:
    """The media type of the answer. As in proxpi an unknown `format` in the query is ignored, and `Accept` decides."""
    named = ask.query("format")
    chosen = choose_format(None, named.replace(" ", "+")) if named else None
    return chosen if chosen in SIMPLE_FORMATS else choose_format(ask.request.headers.get("Accept"))
