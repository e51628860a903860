"""Project lists: the names an index shows, its own and its mirrors', in one sorted stream.

A list is named by what it holds: the hosted names are few and read, a mirror's 886,000 are named by the serial of its
stored list. It is written part by part in a worker (`name_streams`) and cached coded, so that no request builds it twice and no
upstream's list is held as Python strings, however many mirrors there are.

Each name has the serial that last changed its project here. Of a name that is known from an upstream's list alone that is the serial
of the list: what changed at the upstream since is not known here.

A mirror that fetches no list (`mirror_no_project_list`) has the names that somebody asked for; the answer says that there are others.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import CODINGS, Compressor, decompress
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Freshness,
    IndexStore,
    PageFilter,
    Principal,
    ProjectList,
    Refresher,
    Renderer,
)
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import applying
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.services.reading.name_streams import Names, Part, held, joined, listed, side_by_side, united, without
from pkgindex_core.services.reading.pages import PageAnswer, Pages
from pkgindex_core.tools.building import Building
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
        pages: Pages,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        refreshers: Mapping[str, Refresher],
        workers: Executor,
    ) -> None:
        self._store = store
        self._pages = pages
        self._admission = admission
        self._filters = filters
        self._renderers = renderers
        self._refreshers = refreshers
        self._workers = workers
        self._writing: Building[bytes] = Building()

    async def projects(
        self, start: IndexName, *, principal: Principal, media_type: str, coding: str, if_none_match: str | None
    ) -> PageAnswer:
        """The names of all projects in an index and what it inherits.

        A mirror of which no list is known is left out and named in the answer. Raises `Unavailable` when nothing else is known.
        """
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.READ)
        order = self._pages.order(tree, start).order
        readable = self._pages.readable(tree, order, principal)
        public = self._pages.is_public(tree, order)
        filters = applying(self._filters, tree, start)

        def withheld(layer: IndexName, project: ProjectName) -> bool:
            return any(each.withheld(tree, start, layer, project) is not None for each in filters.values())

        hosted: dict[ProjectName, ProjectRow] = {}
        mirrors: list[tuple[IndexName, Serial]] = []
        stale: list[tuple[IndexName, str]] = []
        unknown: list[tuple[IndexName, Unavailable]] = []
        partial: list[IndexName] = []
        for layer in order:
            if layer not in readable:
                continue
            config = tree.indexes[layer]
            unlisted = config.mirrored and mirror_options(config).no_project_list
            if unlisted:
                partial.append(layer)
            if unlisted or not config.mirrored:
                for row in await self._store.projects(layer):
                    if not withheld(layer, row.name):
                        hosted[row.name] = joined(hosted.get(row.name), row)
                continue
            try:
                freshness = await self._refreshed(config)
            except Unavailable as error:
                unknown.append((layer, error))
                continue
            if freshness.state == "stale":
                stale.append((layer, freshness.reason))
            mirrors.append((layer, (await self._store.listing(layer)).stamp))
        if unknown and not hosted and not mirrors:
            raise unknown[0][1]
        renderer = self._renderers[media_type]
        own = [hosted[name] for name in sorted(hosted)]
        # Of our own names the tag takes what this format shows: a list without serials outlives an upload to a listed project.
        contents = hashlib.sha256(renderer.list_part(ProjectList(names=own), first=True)).hexdigest()
        tag = etag(
            tree=tree.serial,
            start=start,
            project=None,
            layers=[(name, "", stamp) for name, stamp in mirrors],
            recipe=f"{recipe(renderer, self._admission, filters, Timestamp(0))} {contents}",
        )
        name = coded(tag, coding)
        # Only what the tag names may stand in the bytes: a commit elsewhere must not change a list.
        serial = Serial(max([tree.serial, *(stamp for _, stamp in mirrors)]))
        body: bytes | None = None
        if not matches(if_none_match, name):
            # Kept in its coded forms only: the plain one of a million names would push every page out of the cache.
            kept = CODINGS[0] if coding == "identity" else coding
            body = self._pages.cache.get((tag, kept))
            if body is None:
                streams = [listed(self._store, layer) for layer, _ in mirrors]
                if filters:
                    streams = [
                        without(stream, functools.partial(withheld, layer))
                        for stream, (layer, _) in zip(streams, mirrors, strict=True)
                    ]
                body = await self._written((tag, kept), own, streams, renderer, kept, serial)
            if kept != coding:
                decode = functools.partial(decompress, body, kept)
                body = await in_worker(self._workers, decode)
        return PageAnswer(
            etag=name,
            media_type=renderer.media_type,
            coding=coding,
            serial=await self._store.head(),
            body=body,
            public=public,
            stale=tuple(stale),
            unknown=tuple((layer, error.message) for layer, error in unknown),
            partial=tuple(partial),
        )

    async def search(self, start: IndexName, text: str, *, principal: Principal, limit: int) -> FoundNames:
        """The names for a person who looks for some: our own that contain a text, and mirrored ones that begin with it.

        No upstream is asked. Without a text no mirrored name is found: there are too many for a page.
        """
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.READ)
        order = self._pages.order(tree, start).order
        readable = self._pages.readable(tree, order, principal)
        filters = applying(self._filters, tree, start)
        wanted = text.lower()
        own: dict[ProjectName, str] = {}
        mirrored: set[ProjectName] = set()
        mirrors: list[IndexName] = []
        unknown: list[IndexName] = []

        def shown(layer: IndexName, row: ProjectRow) -> bool:
            return not any(each.withheld(tree, start, layer, row.name) for each in filters.values())

        for layer in order:
            if layer not in readable:
                continue
            if not tree.indexes[layer].mirrored:
                for row in await self._store.projects(layer):
                    if (wanted in row.name or wanted in row.display_name.lower()) and shown(layer, row):
                        own.setdefault(row.name, row.display_name)
                continue
            mirrors.append(layer)
            if not (await self._store.listing(layer)).is_whole:
                unknown.append(layer)
            prefix = normalized_or_none(text)
            found = [] if prefix is None else await self._beginning(layer, prefix, limit + 1)
            mirrored.update(row.name for row in found if shown(layer, row))
        return FoundNames(
            own=tuple(sorted(own.values(), key=str.lower)[:limit]),
            mirrored=tuple(sorted(mirrored - own.keys())[:limit]),
            more=max(len(own), len(mirrored)) > limit,
            mirrors=tuple(mirrors),
            unknown=tuple(unknown),
        )

    async def _beginning(self, index: IndexName, prefix: ProjectName, limit: int) -> list[ProjectRow]:
        """The first names of a mirror that begin with a text."""
        found: list[ProjectRow] = []
        # The name that is the text itself sorts behind the text without its last character.
        async for rows in self._store.listed_names(index, after=prefix[:-1]):
            found += [row for row in rows if row.name.startswith(prefix)]
            if len(found) >= limit or (rows[-1].name > prefix and not rows[-1].name.startswith(prefix)):
                break
        return found[:limit]

    async def names(self, index: IndexName, *, principal: Principal) -> OwnNames:
        """The names of an index itself."""
        config = allowed_index(await self._store.tree(), index, principal, Action.READ)
        if not config.mirrored or mirror_options(config).no_project_list:
            rows = await self._store.projects(index)
            stream = held(rows)
            return OwnNames(pieces=_json_array(stream), partial=config.mirrored)
        try:
            freshness = await self._refreshed(config)
        except Unavailable as error:
            return OwnNames(pieces=_json_array(held([])), unknown=error)
        stale = freshness.reason if freshness.state == "stale" else ""
        return OwnNames(pieces=_json_array(listed(self._store, index)), stale=stale)

    async def _refreshed(self, config: IndexConfig) -> Freshness:
        refresher = self._refreshers.get(config.type)
        if refresher is not None:
            return await refresher.refresh_names(config)
        # Nobody here can ask: what is stored counts as it is, and what is not is unknown, never a shorter list.
        if not (await self._store.listing(config.name)).is_whole:
            raise Unavailable(
                f"the project list of {config.name} cannot be asked for from here", hint="ask a running server"
            )
        return Freshness(state="stale", reason="nobody here can ask its upstream")

    async def _written(
        self,
        key: tuple[str, str],
        own: Sequence[ProjectRow],
        mirrored: Sequence[AsyncIterator[Names]],
        renderer: Renderer,
        coding: str,
        serial: Serial,
    ) -> bytes:
        """Write a list once for all who wait for it."""
        body = await self._writing.get(key, lambda: self._write(own, mirrored, renderer, coding, serial))
        self._pages.cache.put(key, body)
        return body

    async def _write(
        self,
        own: Sequence[ProjectRow],
        mirrored: Sequence[AsyncIterator[Names]],
        renderer: Renderer,
        coding: str,
        serial: Serial,
    ) -> bytes:
        body = Compressor(coding)
        body.add(renderer.list_start(serial))
        first = True

        def add(part: Part) -> None:
            nonlocal first
            body.add(renderer.list_part(ProjectList(names=united(part)), first=first))
            first = False

        # Ours first: a name that we have too is spelled as we spell it.
        streams = [held(own), *mirrored]
        async for part in side_by_side(streams):
            await in_worker(self._workers, add, part)
        body.add(renderer.list_end(serial))
        return await in_worker(self._workers, body.finish)


async def _json_array(stream: AsyncIterator[Names]) -> AsyncGenerator[bytes, None]:
    yield b"["
    first = True
    async for names in stream:
        if names:
            encoded = msgspec.json.encode([row.name for row in names])[1:-1]
            yield encoded if first else b"," + encoded
            first = False
    yield b"]"
