"""Project lists: the names an index shows, its own and its mirrors', in one sorted stream.

A list is named by what it holds: the hosted names are few and read, a mirror's 886,000 are named by the serial of its
stored list. It is written part by part in a worker and cached coded, so that no request builds it twice and no list of Python
strings is held per process.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from heapq import merge as merge_sorted

import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Freshness,
    IndexStore,
    Principal,
    ProjectList,
    Refresher,
    Renderer,
)
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.services.access import allowed_index
from pkgindex_core.services.pages import PageAnswer, Pages

_PART = 20_000


class Listings:
    """Answers project lists."""

    def __init__(
        self,
        *,
        store: IndexStore,
        pages: Pages,
        admission: AdmissionPolicy,
        renderers: Mapping[str, Renderer],
        refreshers: Mapping[str, Refresher],
        workers: Executor,
    ) -> None:
        self._store = store
        self._pages = pages
        self._admission = admission
        self._renderers = renderers
        self._refreshers = refreshers
        self._workers = workers
        self._writing: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    async def projects(
        self, start: IndexName, *, principal: Principal, media_type: str, coding: str, if_none_match: str | None
    ) -> PageAnswer:
        """The names of all projects in an index and what it inherits."""
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.READ)
        order = self._pages.order(tree, start).order
        readable = self._pages.readable(tree, order, principal)
        public = self._pages.is_public(tree, order)
        hosted: dict[ProjectName, str] = {}
        mirrors: list[tuple[IndexName, Serial]] = []
        stale: list[tuple[IndexName, str]] = []
        for layer in order:
            if layer not in readable:
                continue
            config = tree.indexes[layer]
            if not config.is_mirror:
                for row in await self._store.projects(layer):
                    hosted.setdefault(row.name, row.display_name)
                continue
            freshness = await self._refreshed(config)
            if freshness.state == "stale":
                stale.append((layer, freshness.reason))
            mirrors.append((layer, (await self._store.listing(layer)).stamp))
        renderer = self._renderers[media_type]
        contents = hashlib.sha256(msgspec.msgpack.encode(sorted(hosted.items()))).hexdigest()
        tag = etag(
            tree=tree.serial,
            start=start,
            project=None,
            layers=[(name, "", stamp) for name, stamp in mirrors],
            recipe=f"{recipe(renderer, self._admission, {}, Timestamp(0))} {contents}",
        )
        name = coded(tag, coding)
        # Only what the tag names may stand in the bytes: a commit elsewhere must not change a list.
        serial = Serial(max([tree.serial, *(stamp for _, stamp in mirrors)]))
        body: bytes | None = None
        if not matches(if_none_match, name):
            body = self._pages.cache.get((tag, coding))
            if body is None:
                body = await self._written(
                    (tag, coding), hosted, [layer for layer, _ in mirrors], renderer, coding, serial
                )
        return PageAnswer(
            etag=name,
            media_type=renderer.media_type,
            coding=coding,
            serial=await self._store.head(),
            body=body,
            public=public,
            mirrored=bool(mirrors) and not hosted,
            stale=tuple(stale),
        )

    async def _refreshed(self, config: IndexConfig) -> Freshness:
        refresher = self._refreshers.get(config.type)
        if refresher is not None:
            return await refresher.refresh_names(config)
        # Nobody here can ask: what is stored counts as it is, and what is not is unknown, never a shorter list.
        if not (await self._store.listing(config.name)).stamp:
            raise Unavailable(
                f"the project list of {config.name} cannot be asked for from here", hint="ask a running server"
            )
        return Freshness(state="stale", reason="nobody here can ask its upstream")

    async def _written(
        self,
        key: tuple[str, str],
        hosted: Mapping[ProjectName, str],
        mirrors: Sequence[IndexName],
        renderer: Renderer,
        coding: str,
        serial: Serial,
    ) -> bytes:
        """Write a list once for all who wait for it."""
        task = self._writing.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._write(hosted, mirrors, renderer, coding, serial))
            self._writing[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        body = await asyncio.shield(task)
        self._pages.cache.put(key, body)
        return body

    def _forget(self, key: tuple[str, str], done: asyncio.Task[bytes]) -> None:
        self._writing.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, even if everybody who waited has gone

    async def _write(
        self,
        hosted: Mapping[ProjectName, str],
        mirrors: Sequence[IndexName],
        renderer: Renderer,
        coding: str,
        serial: Serial,
    ) -> bytes:
        loop = asyncio.get_running_loop()
        pieces = [renderer.list_start(serial)]
        first = True

        async def add(names: list[tuple[ProjectName, str]]) -> None:
            nonlocal first
            part = ProjectList(names=names)
            is_first, first = first, False
            pieces.append(await loop.run_in_executor(self._workers, lambda: renderer.list_part(part, first=is_first)))

        waiting = sorted(hosted.items())
        if len(mirrors) == 1:
            # The common case, in one pass and bounded memory: our names slide into the mirror's sorted stream.
            async for batch in self._store.listed_names(mirrors[0]):
                if not batch:
                    continue
                last = batch[-1].name
                ours = [pair for pair in waiting if pair[0] <= last]
                waiting = waiting[len(ours) :]
                await add(_merged(ours, batch))
        elif mirrors:
            everything: dict[ProjectName, str] = {}
            for mirror in mirrors:
                async for batch in self._store.listed_names(mirror):
                    for row in batch:
                        everything.setdefault(row.name, row.display_name)
            everything.update(hosted)
            waiting = await loop.run_in_executor(self._workers, lambda: sorted(everything.items()))
        for start in range(0, len(waiting), _PART):
            await add(waiting[start : start + _PART])
        pieces.append(renderer.list_end(serial))
        return await loop.run_in_executor(self._workers, lambda: compress(b"".join(pieces), coding))


def _merged(ours: Sequence[tuple[ProjectName, str]], batch: Sequence[ProjectRow]) -> list[tuple[ProjectName, str]]:
    own = {name for name, _ in ours}
    theirs = ((row.name, row.display_name) for row in batch if row.name not in own)
    return list(merge_sorted(ours, theirs))
