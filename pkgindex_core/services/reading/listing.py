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

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import CODINGS, Compressor, decompress
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import (
    AdmissionPolicy,
    IndexStore,
    Names,
    PageFilter,
    Principal,
    ProjectList,
    Renderer,
)
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import applying
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.resolution import Chain
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.services.reading.pages import Bodies, PageAnswer
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.building import Building
from pkgindex_core.tools.name_streams import Part, Rows, held, joined, json_array, side_by_side, united, without
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


class FoundNames(Struct, frozen=True, kw_only=True):
    """What a person who looks for a project is shown."""

    own: tuple[str, ...]
    """Display names of hosted projects."""
    mirrored: tuple[ProjectName, ...]
    """Names of mirrored projects that are not among our own."""
    more: bool
    """Whether there are others that did not fit."""
    mirrors: tuple[IndexName, ...]
    """The mirrors that were looked at."""
    unknown: tuple[IndexName, ...]
    """Those of them whose list is not known here (yet): they may have any name."""


class Listings:
    """Answers project lists."""

    def __init__(
        self,
        *,
        store: IndexStore,
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
        self._writing: Building[bytes] = Building()

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
            async for rows in _shown(names.read(""), seen, layer, filters):
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
            streams = [_shown(names.read(""), seen, layer, filters) for layer, names in long]
            body = await self._body(tag, coding, renderer, serial, [held(ours), *streams])
        return PageAnswer(
            etag=name,
            media_type=renderer.media_type,
            coding=coding,
            serial=await self._store.head(),
            body=body,
            public=seen.public,
            stale=found.stale,
            unknown=tuple((layer, error.message) for layer, error in found.unknown),
            partial=tuple(layer for layer, names in found.known if names.is_partial),
        )

    async def search(self, start: IndexName, text: str, *, principal: Principal, limit: int) -> FoundNames:
        """The names for a person who looks for some: our own that contain a text, and mirrored ones that begin with it.

        No upstream is asked. Without a text no mirrored name is found: there are too many for a page.
        """
        seen = await self._resolving.chain(start, principal)
        filters = applying(self._filters, seen.tree, start)
        wanted, prefix = text.lower(), normalized_or_none(text)
        own: dict[ProjectName, str] = {}
        mirrored: set[ProjectName] = set()
        mirrors: list[IndexName] = []
        unknown: list[IndexName] = []
        for config in seen.layers:
            names = await self._sources.of(config).names(config, ask=False)
            if not config.mirrored:
                async for rows in _shown(names.read(""), seen, config.name, filters):
                    for row in rows:
                        if wanted in row.name or wanted in row.display_name.lower():
                            own.setdefault(row.name, row.display_name)
                continue
            mirrors.append(config.name)
            if not names.is_whole or names.is_partial:
                unknown.append(config.name)
            if prefix is not None:
                # Nothing sorts between this and the name that is the text itself: a name has no character as high as DEL.
                before = f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}\x7f"
                stream = _shown(names.read(before), seen, config.name, filters)
                mirrored.update(await _beginning(stream, prefix, limit + 1))
        return FoundNames(
            own=tuple(sorted(own.values(), key=str.lower)[:limit]),
            mirrored=tuple(sorted(mirrored - own.keys())[:limit]),
            more=max(len(own), len(mirrored)) > limit,
            mirrors=tuple(mirrors),
            unknown=tuple(unknown),
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


def _shown(
    stream: AsyncIterator[Rows], seen: Chain, layer: IndexName, filters: Mapping[str, PageFilter]
) -> AsyncIterator[Rows]:
    """A layer's names less those that a filter withholds as a whole."""
    if not filters:
        return stream

    def withheld(project: ProjectName) -> bool:
        return any(each.withheld(seen.tree, seen.start, layer, project) is not None for each in filters.values())

    return without(stream, withheld)


async def _beginning(stream: AsyncIterator[Rows], prefix: ProjectName, limit: int) -> list[ProjectName]:
    """The first names of a sorted stream that begin with a text."""
    found: list[ProjectName] = []
    async for rows in stream:
        found += [row.name for row in rows if row.name.startswith(prefix)]
        if len(found) >= limit or (rows[-1].name > prefix and not rows[-1].name.startswith(prefix)):
            break
    return found[:limit]
