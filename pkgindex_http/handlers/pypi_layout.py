"""PyPI's URLs that name no index: pages of projects, and files by their PyPI path.

    /project/{project}/[{version}/]                               a page about a project or a version
    /packages/{2 digits}/{2 digits}/{60 digits}/{filename}        a file by its digest
    /packages/{python tag}/{letter}/{project}/{filename}          a file by its name, as packaging recipes write it

All are redirects, since one URL serves each page and file. A redirect needs the same permission as the project's page.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from pkgindex_core.errors import Missing
from pkgindex_core.formats.fragments import file_path
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, normalized_or_none
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.wire.replies import Reply, redirect

PINNED: Final = re.compile(r"[0-9a-f]{60}\Z")
"""The third segment of a path that names bytes."""


async def may_locate(ask: Ask) -> None:
    """Check the right to read the file, whose project matters for a token that is limited to projects."""
    allowed_index(await ask.engine.store.tree(), ask.index, ask.principal, Action.READ, some_project=True)
    scope = ask.principal.scope
    if scope is not None and scope.projects:
        await _located(ask)


async def package(ask: Ask) -> Reply:
    """Redirect to the file, or to its sidecar when `.metadata` follows the name."""
    index, file = await _located(ask)
    suffix = SIDECAR if ask.values["filename"].endswith(SIDECAR) else ""
    return _temporary(f"{ask.root}{index}/{file_path(file)}{suffix}")


async def project(ask: Ask) -> Reply:
    """Redirect to the page of the project, or of the version, in the index that has it for the caller."""
    version = ask.values.get("version")
    index = await ask.engine.permalinks.find(ask.default_index, ask.project, version, principal=ask.principal)
    return _temporary(f"{ask.root}{index}/{ask.project}{'' if version is None else f'/{quote(version)}'}")


async def _located(ask: Ask) -> tuple[IndexName, File]:
    filename = ask.values["filename"].removesuffix(SIDECAR)
    if PINNED.match(ask.values["c"]):
        return await ask.engine.locating.locate(
            ask.index, filename, principal=ask.principal, directory="/".join(ask.segments[:-1])
        )
    project = normalized_or_none(ask.values["c"])
    if project is None:
        raise Missing("file", filename)
    return await ask.engine.locating.locate(ask.index, filename, principal=ask.principal, project=project)


def _temporary(location: str) -> Reply:
    """A redirect that is not cached, because the target may move to another index."""
    reply = redirect(location, status=302)
    return Reply(status=302, headers={**reply.headers, "Cache-Control": "no-store"})
