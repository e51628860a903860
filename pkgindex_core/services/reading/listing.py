"""Project lists: the names an index shows, its own and its mirrors', in one sorted stream.

A list is named by what it holds: the hosted names are few and read, a mirror's 886,000 are named by the serial of its
stored list. It is written part by part in a worker (`name_streams`) and cached coded, so that no request builds it twice and no
upstream's list is held as Python strings, however many mirrors there are.

Each name has the serial that last changed its project here. Of a name that is known from an upstream's list alone that is the serial
of the list: what changed at the upstream since is not known here.

A mirror that fetches no list (`mirror_no_project_list`) has the names that somebody asked for; the answer says that there are others.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import CODINGS, Compressor, decompress
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    AdmissionPolicy,
    ChangeLog,
    Names,
    PageFilter,
    Principal,
    ProjectList,
    Renderer,
    Trees,
)
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import applying, withheld
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.services.reading.pages import Bodies, PageAnswer
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.name_streams import Part, Rows, held, joined, json_array, side_by_side, united, without
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker


class OwnNames(Struct, frozen=True, kw_only=True):
    """The names of an index without what it inherits, on their way."""

    pieces: AsyncGenerator[bytes, None]
    """Together one JSON array of normalised names, sorted."""
    stale: str = ""
    """Why these are the names of some time ago: the upstream could not be asked."""
    unknown: Unavailable | None = None
    """Why there are none: the upstream could not be asked, and no list of it is stored."""
    partial: bool = False
    """Only what somebody asked for: the mirror fetches no list."""


class _Store(Trees, ChangeLog, Protocol): ...


class Listings:
    """Answers project lists."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        sources: Sources,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        bodies: Bodies,
        workers: Executor,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._sources = sources
        self._admission = admission
        self._filters = filters
        self._renderers = renderers
        self._bodies = bodies
        self._workers = workers
        self._writing: SingleFlight[bytes] = SingleFlight()

    async def projects(
        self, start: IndexName, *, principal: Principal, media_type: str, coding: str, if_none_match: str | None
    ) -> PageAnswer:
        """The names of all projects in an index and what it inherits.

        A layer of which no list is known is left out and named in the answer. Raises `Unavailable` when nothing else is known.
        """
        seen = await self._resolving.chain(start, principal)
        filters = applying(self._filters, seen.tree, start)
        found = await self._layers(seen.layers)
        own: dict[ProjectName, ProjectRow] = {}
        long: list[tuple[IndexName, Names]] = []
        for layer, names in found.known:
            if names.stamp is not None:
                long.append((layer, names))
                continue
            async for rows in without(names.read(""), withheld(filters, seen.tree, start, layer)):
                for row in rows:
                    own[row.name] = joined(own.get(row.name), row)
        if found.unknown and not own and not long:
            raise found.unknown[0][1]
        renderer = self._renderers[media_type]
        ours = [own[name] for name in sorted(own)]
        # Of our own names the tag takes what this format shows: a list without serials outlives an upload to a listed project.
        contents = hashlib.sha256(renderer.list_part(ProjectList(names=ours), first=True)).hexdigest()
        stamps = [(layer, names.stamp or Serial(0)) for layer, names in long]
        tag = etag(
            tree=seen.tree.serial,
            start=start,
            project=None,
            layers=[(layer, "", stamp) for layer, stamp in stamps],
            recipe=f"{recipe(renderer, self._admission, filters, Timestamp(0))} {contents}",
        )
        name = coded(tag, coding)
        body: bytes | None = None
        if not matches(if_none_match, name):
            # Only what the tag names may stand in the bytes: a commit elsewhere must not change a list.
            serial = Serial(max([seen.tree.serial, *(stamp for _, stamp in stamps)]))
            streams = [without(names.read(""), withheld(filters, seen.tree, start, layer)) for layer, names in long]
            body = await self._body(tag, coding, renderer, serial, [held(ours), *streams])
        return PageAnswer(
            etag=name,
            media_type=renderer.media_type,
            coding=coding,
            serial=self._store.seen(),
            body=body,
            public=seen.public,
            stale=found.stale,
            unknown=tuple((layer, error.message) for layer, error in found.unknown),
            partial=tuple(layer for layer, names in found.known if names.is_partial),
        )

    async def names(self, index: IndexName, *, principal: Principal) -> OwnNames:
        """The names of an index itself."""
        config = allowed_index(await self._store.tree(), index, principal, Action.READ)
        found = await self._layers([config])
        if found.unknown:
            return OwnNames(pieces=json_array(held([])), unknown=found.unknown[0][1])
        ((_, names),) = found.known
        stale = found.stale[0][1] if found.stale else ""
        return OwnNames(pieces=json_array(names.read("")), stale=stale, partial=names.is_partial)

    async def _layers(self, configs: Sequence[IndexConfig]) -> _Layers:
        """What each layer's source knows of its names, one after the other: a first list is long, and is stored piece by piece."""
        found = _Layers([], [])
        for config in configs:
            try:
                found.known.append((config.name, await self._sources.of(config).names(config)))
            except Unavailable as error:
                found.unknown.append((config.name, error))
        return found

    async def _body(
        self, tag: str, coding: str, renderer: Renderer, serial: Serial, streams: Sequence[AsyncIterator[Rows]]
    ) -> bytes:
        """A list's bytes, written once for all who wait for it.

        Kept in its coded forms only: the plain one of a million names would push every page out of the cache.
        """
        kept = CODINGS[0] if coding == "identity" else coding
        body = self._bodies.get((tag, kept))
        if body is None:
            body = await self._writing.get((tag, kept), lambda: self._write(streams, renderer, kept, serial))
            self._bodies.put((tag, kept), body)
        if kept == coding:
            return body
        return await in_worker(self._workers, decompress, body, kept)

    async def _write(
        self, streams: Sequence[AsyncIterator[Rows]], renderer: Renderer, coding: str, serial: Serial
    ) -> bytes:
        body = Compressor(coding)
        body.add(renderer.list_start(serial))
        first = True

        def add(part: Part) -> None:
            nonlocal first
            body.add(renderer.list_part(ProjectList(names=united(part)), first=first))
            first = False

        # Ours first: a name that we have too is spelled as we spell it.
        async for part in side_by_side(streams):
            await in_worker(self._workers, add, part)
        body.add(renderer.list_end(serial))
        return await in_worker(self._workers, body.finish)


class _Layers(Struct):
    """What was said of the names of some layers."""

    known: list[tuple[IndexName, Names]]
    unknown: list[tuple[IndexName, Unavailable]]

    @property
    def stale(self) -> tuple[tuple[IndexName, str], ...]:
        return tuple((layer, names.freshness.reason) for layer, names in self.known if names.freshness.state == "stale")
