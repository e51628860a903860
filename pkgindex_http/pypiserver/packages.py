"""`/packages/`: every file by its name, in directories or not, as pypiserver has it.

A file has another URL that pins its bytes, and pages name that one. Under its name alone its bytes may change, so caches ask again, unless
`--cache-control` says how long they need not.
"""

from __future__ import annotations

from pkgindex_core.names import ProjectName
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_http.handlers import findlinks
from pkgindex_http.handlers.files import download_by_name
from pkgindex_http.handlers.pypi_layout import PINNED, may_locate, package
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import Reply


class Packages:
    """Answers for the files of the default index. `max_age` is in seconds."""

    def __init__(self, max_age: int | None) -> None:
        self._caching = "max-age=0, must-revalidate" if max_age is None else f"max-age={max_age}"

    async def may_fetch(self, ask: Ask) -> None:
        """For a token that is limited to projects the file decides."""
        if _is_pinned(ask):
            await may_locate(ask)
            return
        tree = await ask.engine.store.tree()
        allowed_index(tree, ask.index, ask.principal, Action.READ, some_project=True, files=True)
        if ask.principal.scope is not None and ask.principal.scope.projects:
            name = ask.segments[-1].removesuffix(SIDECAR)
            await ask.engine.files.open(ask.index, None, name, sidecar=False, principal=ask.principal)

    async def listed(self, ask: Ask) -> Reply | web.StreamResponse:
        """Every file of the index on one page. Projects that were dropped into a directory and not read yet are read first."""
        config = await ask.engine.indexes.config(ask.index)
        source = ask.engine.sources.of(config)
        stored = {row.name for row in await ask.engine.store.projects(ask.index)}
        names = await source.names(config)
        new = [row.name async for rows in names.read("") for row in rows if row.name not in stored]

        async def read(project: ProjectName) -> None:
            (standing,) = await ask.engine.store.standings(project, [ask.index])
            await source.refresh(config, project, standing)

        await side_by_side(new, read)
        return await findlinks.page(ask)

    async def fetch(self, ask: Ask) -> Reply | web.StreamResponse:
        """The file that has the name of the path's last segment. PyPI's path of a digest leads on to the file's own URL."""
        if _is_pinned(ask):
            return await package(ask)
        return await download_by_name(ask, ask.segments[-1], caching=self._caching)


def _is_pinned(ask: Ask) -> bool:
    return "c" in ask.values and PINNED.match(ask.values["c"]) is not None
