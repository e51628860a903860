"""Project lists: the names that an index shows, its own and those of its mirrors, in one sorted stream.

The tag of a list depends on its content: hosted names are few and are read; a mirror's 886,000 names are represented by the
serial of the stored list. Such a list is written in sections (`long_lists`) and cached in compressed form, so
that it is made once and an upstream's list is never held as Python strings.

Each name has the serial that last changed its project here. A name that is known only from an upstream's list has the serial of
the list, since later changes at the upstream are unknown.

A mirror that fetches no list (`mirror_no_project_list`) has the names that clients have asked for. The answer says that the list
is partial.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import CODINGS, compress, decompress, recoded
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
from pkgindex_core.rules.filtering import applying, fingerprints, withheld
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.services.reading.building import Bodies
from pkgindex_core.services.reading.long_lists import LongList, LongLists, Read
from pkgindex_core.services.reading.pages import PageAnswer
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.name_streams import held, joined, json_array, without
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker

_IN_PLACE: Final = 16 * 1024
"""Bytes of a compressed list that is decompressed in the event loop's thread. It takes less time than a switch of threads, each of which keeps
memory for its largest list."""


class OwnNames(Struct, frozen=True, kw_only=True):
    """The names of an index without its bases, as a stream."""

    pieces: AsyncGenerator[bytes, None]
    """Pieces of one JSON array of normalised names, sorted."""
    stale: str = ""
    """Why the names are outdated: the upstream could not be asked."""
    unknown: Unavailable | None = None
    """Why there are no names: the upstream could not be asked, and no list is stored."""
    partial: bool = False
    """Whether the list has only the names that clients have asked for, because the mirror fetches no list."""


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
        long_lists: LongLists,
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
        self.long_lists = long_lists

    async def projects(
        self, start: IndexName, *, principal: Principal, media_type: str, coding: str, if_none_match: str | None
    ) -> PageAnswer:
        """The names of all projects in an index and its bases.

        A layer without a known list is left out and named in the answer. Raises `Unavailable` when no other layer has names.
        """
        seen = await self._resolving.chain(start, principal)
        filters = applying(self._filters, seen.tree, start)
        # Whether a project is withheld does not depend on the time.
        decisions = fingerprints(filters, seen.tree, start, Timestamp(0))
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
        # The tag hashes the hosted names as this format shows them: an upload to a listed project keeps the tag of a list without serials.
        contents = hashlib.sha256(renderer.list_part(ProjectList(names=ours), first=True)).hexdigest()
        stamps = [(layer, names.stamp or Serial(0)) for layer, names in long]
        named = partial(
            etag,
            tree=seen.tree.serial,
            start=start,
            project=None,
            layers=[(layer, "", stamp) for layer, stamp in stamps],
        )
        made_by = recipe(renderer, self._admission, decisions)
        tag = named(recipe=f"{made_by} {contents}")
        name = coded(tag, coding)
        body: bytes | memoryview | None = None
        if not matches(if_none_match, name):
            # The bytes may contain only what the tag depends on, so not the head: commits elsewhere must not change a list.
            serial = Serial(max([seen.tree.serial, *(stamp for _, stamp in stamps)]))
            wanted = LongList(
                key=named(recipe=made_by),
                tag=tag,
                renderer=renderer,
                serial=serial,
                hosted=ours,
                stored=[_read(names, withheld(filters, seen.tree, start, layer)) for layer, names in long],
            )
            body = await (self._long(wanted, coding) if long else self._short(wanted, coding))
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
        """The names of an index without its bases."""
        config = allowed_index(await self._store.tree(), index, principal, Action.READ)
        found = await self._layers([config])
        if found.unknown:
            return OwnNames(pieces=json_array(held([])), unknown=found.unknown[0][1])
        ((_, names),) = found.known
        stale = found.stale[0][1] if found.stale else ""
        return OwnNames(pieces=json_array(names.read("")), stale=stale, partial=names.is_partial)

    async def _layers(self, configs: Sequence[IndexConfig]) -> _Layers:
        """Ask the layers' sources for their names, one after the other, since a first list is long."""
        found = _Layers([], [])
        for config in configs:
            try:
                found.known.append((config.name, await self._sources.of(config).names(config)))
            except Unavailable as error:
                found.unknown.append((config.name, error))
        return found

    async def _long(self, wanted: LongList, coding: str) -> bytes | memoryview:
        """A list that has the names of mirrors, in another coding than gzip after the step that makes it so."""
        body = await self.long_lists.body(wanted)
        if coding == "gzip":
            return body
        if coding == "identity":
            return await self._plain(body, "gzip")
        again = self._bodies.get((wanted.tag, coding))
        if again is None:
            again = await in_worker(self._workers, recoded, body, coding)
            self._bodies.put((wanted.tag, coding), again)
        return again

    async def _short(self, wanted: LongList, coding: str) -> bytes:
        """A list of hosted names. Only compressed forms are cached."""
        kept = CODINGS[0] if coding == "identity" else coding
        body = self._bodies.get((wanted.tag, kept))
        if body is None:
            body = await self._writing.get((wanted.tag, kept), lambda: self._write(wanted, kept))
            self._bodies.put((wanted.tag, kept), body)
        return body if kept == coding else await self._plain(body, kept)

    async def _plain(self, body: bytes | memoryview, coding: str) -> bytes:
        if len(body) <= _IN_PLACE:
            return decompress(body, coding)
        return await in_worker(self._workers, decompress, body, coding)

    async def _write(self, wanted: LongList, coding: str) -> bytes:
        def write() -> bytes:
            names = ProjectList(names=wanted.hosted)
            pieces = (
                wanted.renderer.list_start(wanted.serial),
                wanted.renderer.list_part(names, first=True),
                wanted.renderer.list_end(wanted.serial),
            )
            return compress(b"".join(pieces), coding)

        return await in_worker(self._workers, write)


def _read(names: Names, is_withheld: Callable[[ProjectName], bool] | None) -> Read:
    return lambda after: without(names.read(after), is_withheld)


class _Layers(Struct):
    """The names of some layers, as their sources gave them."""

    known: list[tuple[IndexName, Names]]
    unknown: list[tuple[IndexName, Unavailable]]

    @property
    def stale(self) -> tuple[tuple[IndexName, str], ...]:
        return tuple((layer, names.freshness.reason) for layer, names in self.known if names.freshness.state == "stale")
