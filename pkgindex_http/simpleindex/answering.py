"""Answers a path as its route says. The path is that of a project's page, or of a file below it.

    /{project}/             the page of an index │ 302 │ a page as it is │ a plugin
    /{project}/{filename}   a file of that project

Names are normalised before they are matched, so that another spelling of a claimed name does not reach the next route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Missing
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.route_patterns import Template, parse_pattern, parse_template
from pkgindex_core.rules.routing import FirstMatch
from pkgindex_http.handlers import simple
from pkgindex_http.handlers.files import download_by_name
from pkgindex_http.requests import SIDECAR, Ask, wants_document
from pkgindex_http.simpleindex import verbatim
from pkgindex_http.simpleindex.providers import Provided, load_provider
from pkgindex_http.simpleindex.settings import RouteSettings, RoutesSettings, index_of
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply, redirect

_REVALIDATED: Final = "max-age=0, must-revalidate"
_SAFE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\Z")
"""Segments of a path, as parameters before the project may have."""


class _RouteTarget(Struct, frozen=True):
    route: RouteSettings
    template: Template | None
    provided: Provided | None


class Found(Struct, frozen=True):
    """The route that a path matches, with the values of its parameters."""

    target: _RouteTarget
    values: Mapping[str, str]
    prefix: str
    project: ProjectName

    @property
    def route(self) -> RouteSettings:
        return self.target.route

    @property
    def filled(self) -> str:
        """The target of the route for these values."""
        assert self.target.template is not None
        return self.target.template.filled(self.values)


class Answering:
    """Answers for all routes of a file. Made once; patterns are compiled and plugins are loaded then."""

    def __init__(self, settings: RoutesSettings) -> None:
        self._settings = settings
        self._first = FirstMatch((parse_pattern(route.pattern), _target(route, settings)) for route in settings.routes)
        self._literal = frozenset(settings.prefixes)

    def routes_page(self, ask: Ask) -> bool:
        """Whether a route has the page of this path, or the page above this file. For paths that native routes have too."""
        segments = ask.segments
        if wants_document(ask):
            return False
        if segments[-1] == "":
            return self._find(segments[:-1]) is not None
        return self._find(segments) is not None or ("." in segments[-1] and self._find(segments[:-1]) is not None)

    def routes_simple(self, ask: Ask) -> bool:
        """Whether a route answers `/simple/{project}/`, the standard URL of the index. Not if the project comes from an index, which then answers."""
        if self.routes_page(ask):
            return True
        found = self._find(ask.segments[1:2])
        return found is not None and not found.route.is_indexed

    @staticmethod
    def is_for_installers(ask: Ask) -> bool:
        """Whether the request is for a page, and not for devpi's document of a user."""
        return not wants_document(ask)

    async def answer(self, ask: Ask) -> Reply | web.StreamResponse:
        """The page or file of a path; 404 if no route matches."""
        segments = ask.segments
        if segments[-1] == "":
            return await self._page(ask, segments[:-1])
        found = self._find(segments[:-1]) if len(segments) > 1 else None
        if found is not None:
            return await self._file(ask, found, segments[-1])
        if self._find(segments) is None:
            raise self._missing(segments)
        return redirect(f"{normalized_or_none(segments[-1])}/{ask.query_suffix}")

    async def simple(self, ask: Ask) -> Reply | web.StreamResponse:
        """The answer for a path below `/simple/`, which is a path of the file or the standard URL of the index."""
        if self.routes_page(ask):
            return await self.answer(ask)
        segments = ask.segments[1:]
        if segments[-1]:
            return await simple.add_slash(ask)
        return await self._page(ask, segments[:-1])

    async def _page(self, ask: Ask, segments: tuple[str, ...]) -> Reply | web.StreamResponse:
        found = self._find(segments)
        if found is None:
            raise self._missing(segments)
        if segments[-1] != found.project:
            return redirect(f"../{found.project}/{ask.query_suffix}")
        index = index_of(found.prefix, ask.default_index)
        if found.route.is_indexed:
            return await simple.project_page(_about(ask, index, found.project))
        await self._may_read(ask, found)
        if found.route.kind == "redirect":
            headers = {"Location": self._location(found), "Cache-Control": "no-store", **SECURITY_HEADERS}
            return Reply(status=302, headers=headers)
        if found.target.provided is not None:
            return await found.target.provided.page(found.values)
        if found.route.kind == "page":
            return await verbatim.page(ask, found.filled, found.project)
        return await verbatim.folder(ask, found.filled, found.project)

    async def _file(self, ask: Ask, found: Found, filename: str) -> Reply | web.StreamResponse:
        if found.route.kind == "path":
            index = index_of(found.prefix, ask.default_index)
            if found.project not in candidate_projects(filename.removesuffix(SIDECAR)):
                raise Missing("file", filename[:160])
            return await download_by_name(_about(ask, index, found.project), filename, caching=_REVALIDATED)
        await self._may_read(ask, found, files=True)
        if found.target.provided is not None:
            return await found.target.provided.file(found.values, filename)
        if found.route.kind == "whole_folder":
            return await verbatim.file(ask, found.filled, filename)
        raise Missing("file", filename[:160])

    def _find(self, segments: tuple[str, ...]) -> Found | None:
        project = normalized_or_none(segments[-1]) if segments else None
        above = segments[:-1]
        if project is None or not all(map(_SAFE.match, above)):
            return None
        prefix = "/".join(above)
        found = self._first.find(f"{prefix}/{project}" if prefix else project)
        if found is None or (found[0].route.is_indexed and prefix not in self._literal):
            return None
        return Found(found[0], found[1], prefix, project)

    @staticmethod
    def _location(found: Found) -> str:
        assert found.target.template is not None
        values = {name: quote(value, safe="/") for name, value in found.values.items()}
        return quote(found.target.template.filled(values), safe="%/:?#[]@!$&'()*+,;=~")

    async def _may_read(self, ask: Ask, found: Found, *, files: bool = False) -> None:
        """Answers without an index need the right to read that of their path too. A path with parameters has none but that of the root."""
        index = index_of(found.prefix if found.prefix in self._literal else "", ask.default_index)
        tree = await ask.engine.store.tree()
        allowed_index(tree, index, ask.principal, Action.READ, project=found.project, files=files)

    def _missing(self, segments: tuple[str, ...]) -> Missing:
        name = segments[-1][:160] if segments else ""
        return Missing("project", name, hint=f"no route of {self._settings.file} matches /{'/'.join(segments)[:160]}/")


def _target(route: RouteSettings, settings: RoutesSettings) -> _RouteTarget:
    if route.kind == "custom":
        return _RouteTarget(route, None, load_provider(route.provider, settings.directory, route.to, route.place))
    if route.is_indexed:
        return _RouteTarget(route, None, None)
    return _RouteTarget(route, parse_template(route.to, parse_pattern(route.pattern).parameters), None)


def _about(ask: Ask, index: IndexName, project: ProjectName) -> Ask:
    return replace(ask, values={"project": project}, known_index=index)
