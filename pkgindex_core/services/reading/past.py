"""Answers pages and lists of an index as it was at a moment.

    moment -> serial -> tree and rights -> resolution of then -> pages of then -> cut and compared with those of now -> the page

What an index has of its own is known for every serial. A mirrored page is as its past says, if one is kept (`mirror_history`), and
otherwise the present page; in both cases the files that were published later are left out, and those whose upload time is not known.

The past shows nothing that the present does not give: who may read a layer, the filters, the statuses of projects and the bytes of
files are those of today. So a file that was deleted or replaced since is left out, and each link leads to the file's present URL. The order of
the layers, the names that guard others, the versions and the yanks are those of then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from hashlib import blake2b
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.errors import Missing, Refused, Unavailable
from pkgindex_core.models import Page, ProjectRow, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, PageFilter, Principal, ProjectList, Projects, Renderer, Trees
from pkgindex_core.rules.filtering import applying, withheld
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.moments import NamedMoment
from pkgindex_core.rules.resolution import Layer, Resolution, chain
from pkgindex_core.rules.stamping import coded, matches
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.services.reading.pages import PageAnswer, View
from pkgindex_core.services.reading.past_pages import as_itself, cut, still_there
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker


class PastRequest(Struct, frozen=True, kw_only=True):
    """One request for a page or a list of a past moment."""

    moment: NamedMoment
    view: View
    principal: Principal
    media_type: str
    coding: str = "identity"
    if_none_match: str | None = None


class _Then(Struct, frozen=True):
    """A moment that has passed."""

    serial: Serial
    """The last commit that counts."""
    time: Timestamp
    """The last upload time that counts."""


class _Store(Trees, Projects, ChangeLog, Protocol): ...


class Past:
    """Answers pages and lists as of a moment."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._filters = filters
        self._renderers = renderers
        self._workers = workers
        self._clock = clock

    async def project(self, request: PastRequest, project: ProjectName) -> PageAnswer:
        """One project's page.

        Raises `Refused` for a moment that has not passed, `Missing` if the index or the project was not there, `Unavailable` if a
        mirror that would give files cannot be asked and has nothing stored, and the errors of missing permissions.
        """
        then = await self._passed(request.moment)
        # Mirrors are asked by the rules of now: a name that is private by now is not told to an upstream.
        now = await self._resolving.resolve(request.view.start, project, request.principal)
        tree = await self._tree(then, now.tree, now.start)
        resolution = await self._resolution(then, tree, now, request.principal)
        parts = await self._parts(then, resolution, now)
        if not parts:
            raise Missing("project", project, hint="it had no files here at that moment, or they were deleted since")
        renderer = self._renderers[request.media_type]
        # Filters judge by the options of now. What they let wait is measured at the time of the view.
        shown = Parts(replace(resolution, chain=replace(resolution.chain, tree=now.tree)), tuple(parts))

        def write() -> bytes:
            return renderer.page(self._assembling.merged(shown, request.view.root, then.time, now=self._clock.now())[0])

        stale = tuple(each for each in now.stale if each[0] in {layer.index for layer, _ in parts})
        public = resolution.chain.public and now.chain.public
        serial = max(page.stamp for _, page in parts)
        return await self._answer(request, renderer, write, serial=serial, public=public, stale=stale)

    async def projects(self, request: PastRequest) -> PageAnswer:
        """The names of the projects. Mirrors, whose lists have no past, give those of which a page is stored."""
        then = await self._passed(request.moment)
        now = await self._resolving.chain(request.view.start, request.principal)
        tree = await self._tree(then, now.tree, now.start)
        seen = chain(tree, now.start, lineage(tree, now.start), request.principal, None)
        names: dict[ProjectName, ProjectRow] = {}
        for layer in seen.layers:
            # An index that is inherited no more is filtered by its own rules.
            start = now.start if layer.name in now.order else layer.name
            is_withheld = withheld(applying(self._filters, now.tree, start), now.tree, start, layer.name)
            rows = await self._store.projects(layer.name, at=None if layer.mirrored else then.serial)
            kept = {row.name for row in await self._store.projects(layer.name)}
            shown = [row for row in rows if row.name in kept and not (is_withheld and is_withheld(row.name))]
            names = {row.name: row for row in shown} | names
        renderer = self._renderers[request.media_type]

        def write() -> bytes:
            part = ProjectList(names=[names[name] for name in sorted(names)])
            return (
                renderer.list_start(tree.serial) + renderer.list_part(part, first=True) + renderer.list_end(tree.serial)
            )

        partial_lists = tuple(layer.name for layer in seen.layers if layer.mirrored)
        return await self._answer(
            request, renderer, write, serial=then.serial, public=seen.public and now.public, partial_lists=partial_lists
        )

    async def _passed(self, moment: NamedMoment) -> _Then:
        """The serial and the time of a moment. Raises `Refused` if it has not passed."""
        if moment.serial is not None:
            if moment.serial > await self._store.head():
                raise Refused(f"there is no serial {moment.serial} yet", hint="X-PyPI-Last-Serial of a page is one")
            commits = await self._store.commits(Serial(moment.serial - 1), limit=1) if moment.serial else ()
            return _Then(moment.serial, commits[0].at if commits else Timestamp(0))
        assert moment.time is not None, "a named moment has one of the two"
        if moment.time >= self._clock.now():
            raise Refused("this moment has not passed", hint="a day has passed when it is over in UTC")
        return _Then(await self._store.serial_at(moment.time), moment.time)

    async def _tree(self, then: _Then, now: Tree, start: IndexName) -> Tree:
        """The indexes of then that still exist, with the readers of now. Raises `Missing` if `start` is none of them."""
        old = await self._store.tree(at=then.serial)
        indexes = {
            name: replace(config, acl_read=now.indexes[name].acl_read)
            for name, config in old.indexes.items()
            if name in now.indexes and now.indexes[name].mirrored == config.mirrored
        }
        if start not in indexes:
            raise Missing("index", start, hint="it was not there at that moment")
        return Tree(serial=old.serial, indexes=indexes)

    async def _resolution(self, then: _Then, tree: Tree, now: Resolution, principal: Principal) -> Resolution:
        seen = chain(tree, now.start, lineage(tree, now.start), principal, now.project)
        known = await self._store.standings(now.project, seen.order)
        past = await self._store.standings(now.project, seen.order, at=then.serial)
        standings = [
            present if tree.indexes[name].mirrored else replace(standing, status=present.status)
            for name, present, standing in zip(seen.order, known, past, strict=True)
        ]
        resolution = self._resolving.admitted(seen, now.project, standings)
        failures = {layer.index: layer.failure for layer in now.layers if layer.failure is not None}
        for layer in resolution.layers:
            failure: Unavailable | None = failures.get(layer.index)
            if failure is not None and layer.verdict.joins and layer.readable:
                raise failure
        return resolution

    async def _parts(self, then: _Then, resolution: Resolution, present: Resolution) -> list[tuple[Layer, Page]]:
        """The pages of the layers; a mirror that had no file of the project then is left out."""
        found: dict[IndexName, Page] = {}

        async def read(layer: Layer) -> None:
            now = await self._store.page(layer.index, resolution.project)
            past = await self._store.page(layer.index, resolution.project, at=then.serial)
            if now is None or (past is None and not layer.config.mirrored):
                return
            if layer.config.mirrored:
                page = await in_worker(self._workers, partial(cut, past or now, then.time))
                if not page.rows:
                    return
            else:
                assert past is not None, "asked above"
                page = await in_worker(self._workers, partial(still_there, past, now))
            if layer.index not in present.chain.order:
                page = as_itself(self._filters, page, present.chain.tree, then.time, self._clock.now())
                if not page.rows:
                    return
            status, reason = now.head.status, now.head.status_reason
            found[layer.index] = replace(page, head=replace(page.head, status=status, status_reason=reason))

        await side_by_side(resolution.shown, read, at_once=len(resolution.shown) or 1)
        return [(layer, found[layer.index]) for layer in resolution.shown if layer.index in found]

    async def _answer(
        self,
        request: PastRequest,
        renderer: Renderer,
        write: Callable[[], bytes],
        *,
        serial: Serial,
        public: bool,
        stale: tuple[tuple[IndexName, str], ...] = (),
        partial_lists: tuple[IndexName, ...] = (),
    ) -> PageAnswer:
        """Write the body, and name it by its content."""

        def made() -> tuple[str, bytes]:
            plain = write()
            return f'"{blake2b(plain, digest_size=16).hexdigest()}"', compress(plain, request.coding)

        tag, body = await in_worker(self._workers, made)
        name = coded(tag, request.coding)
        return PageAnswer(
            etag=name,
            media_type=renderer.media_type,
            coding=request.coding,
            serial=serial,
            body=None if matches(request.if_none_match, name) else body,
            public=public,
            stale=stale,
            partial=partial_lists,
        )
