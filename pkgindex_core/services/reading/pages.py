"""Answers project pages. A page is made once for all who want it.

    resolution -> ETag -> 304 | cached bytes | assembled, rendered, compressed

The ETag is computed from the resolution before the page is read, and is the cache key: a change makes a new key, and the cache is
never purged. Compressed bodies are cached. A repeated request costs a check of currency and a dictionary look-up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, PageFilter, Principal, Renderer
from pkgindex_core.rules.filtering import Fingerprints, Judgement, warnings_of
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.rules.stamping import coded, etag, layer_stamp, matches, recipe
from pkgindex_core.services.reading.applying_filters import ApplyingFilters
from pkgindex_core.services.reading.assembling import QUICK, Assembling, Parts
from pkgindex_core.services.reading.deciding import Decisions
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Holding, Holds
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_BUILD_TURNS = 5
_TAGS = 8192
_log = logging.getLogger(__name__)

Bodies = BoundedCache[tuple[str, str], bytes]
"""Compressed bodies by (ETag, coding), bounded in bytes; pages and lists share one."""


class View(Struct, frozen=True, kw_only=True):
    """The position of a page, on which its links depend."""

    start: IndexName
    root: str
    """The relative URL from the page to the root of the server, such as `../../../../`."""


class PageRequest(Struct, frozen=True, kw_only=True):
    """One request for a project's page."""

    view: View
    project: ProjectName
    principal: Principal
    media_type: str
    coding: str = "identity"
    if_none_match: str | None = None


class PageAnswer(Struct, frozen=True, kw_only=True):
    """A page; `body` None: the client has it already."""

    etag: str
    media_type: str
    coding: str
    serial: Serial
    body: bytes | None
    public: bool
    """Whether all clients get the same, with and without credentials."""
    stale: tuple[tuple[IndexName, str], ...] = ()
    """Mirrors that could not be asked, so that their stored pages are shown, each with the reason."""
    unknown: tuple[tuple[IndexName, str], ...] = ()
    """Mirrors that could not be asked and have nothing stored, each with the reason. Their files or names are missing from the answer."""
    warnings: tuple[str, ...] = ()
    """The warnings of filters (`rules.filtering.warnings_of`), as far as they are still known."""
    partial: tuple[IndexName, ...] = ()
    """Lists only: mirrors that list only the projects that clients have asked for."""


class Pages:
    """Answers project pages."""

    def __init__(
        self,
        *,
        resolving: Resolving,
        assembling: Assembling,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        bodies: Bodies,
        decisions: Decisions,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._resolving = resolving
        self._assembling = assembling
        self._admission = admission
        self._filters = ApplyingFilters(filters)
        self._renderers = renderers
        self._bodies = bodies
        self._decisions = decisions
        self._workers = workers
        self._clock = clock
        self._tags: BoundedCache[Hashable, str] = BoundedCache(_TAGS)
        self._warnings: BoundedCache[str, tuple[str, ...]] = BoundedCache(_TAGS)
        self._building: SingleFlight[bytes] = SingleFlight()

    async def project(self, request: PageRequest) -> PageAnswer:
        """One project's page as an index shows it.

        Raises `Missing` when no layer has the project, `Unavailable` when a joining layer that is needed could not be asked and has
        nothing stored, `Denied` when credentials are needed.
        """
        return (await self.holding_project(request))[0]

    async def holding_project(self, request: PageRequest) -> tuple[PageAnswer, Holding]:
        """One project's page, and a function that makes a check whether an equal request would get an equal answer."""
        renderer = self._renderers[request.media_type]
        overtaken: Resolution | None = None
        for _ in range(_BUILD_TURNS):
            resolution = await self._resolving.resolve(
                request.view.start, request.project, request.principal, instead_of=overtaken
            )
            resolution.require_needed()
            resolution.require_some()
            moment = self._clock.now()
            decisions = self._filters.fingerprints(resolution.tree, request.view.start, moment, request.project)
            tag = self._tag(request, resolution, renderer, decisions)
            name = coded(tag, request.coding)
            unchanged = matches(request.if_none_match, name)
            body = None if unchanged else self._bodies.get((tag, request.coding))
            if body is None and not unchanged:
                body = await self._built(request, resolution, renderer, tag, moment)
                if body is None:
                    overtaken = resolution  # the project changed before its page was read: resolve it again
                    continue
            answer = PageAnswer(
                etag=name,
                media_type=renderer.media_type,
                coding=request.coding,
                serial=resolution.serial,
                body=body,
                public=resolution.chain.public,
                stale=resolution.stale,
                unknown=self._named(resolution),
                warnings=self._warnings.get(tag) or (),
            )
            return answer, partial(self._holding, request, resolution, decisions)
        raise Unavailable(f"the page of {request.project} changes faster than it can be read", retry_after=1)

    async def refresh(self, start: IndexName, project: ProjectName, *, principal: Principal) -> None:
        """Ask the upstreams of a page's mirrors now, even if the page is fresh.

        Raises the errors of `project` except `Missing`.
        """
        (await self._resolving.refresh(start, project, principal)).require_whole()

    @staticmethod
    def _named(resolution: Resolution) -> tuple[tuple[IndexName, str], ...]:
        """The layers that are missing from a page, after a line in the log."""
        if resolution.unknown:
            left_out = "; ".join(f"{index}: {reason}" for index, reason in resolution.unknown)
            _log.warning("the page of %s in %s is not whole: %s", resolution.project, resolution.start, left_out)
        return resolution.unknown

    def _holding(self, request: PageRequest, resolution: Resolution, decisions: Fingerprints) -> Holds | None:
        """A check whether the resolution and the decisions of filters are still these. The tag depends on nothing else."""
        holds = self._resolving.holding(resolution, request.principal)
        if holds is None or not decisions:
            return holds
        decided = self._filters.holding(resolution.tree, request.view.start, self._clock, request.project, decisions)
        return lambda: holds() and decided()

    def _tag(self, request: PageRequest, resolution: Resolution, renderer: Renderer, decisions: Fingerprints) -> str:
        """The page's ETag, without reading the page."""
        key = (request.media_type, request.view.root, request.view.start, request.project, resolution.key, decisions)
        known = self._tags.get(key)
        if known is not None:
            return known
        tag = etag(
            tree=resolution.tree.serial,
            start=request.view.start,
            project=request.project,
            layers=[layer_stamp(layer.index, layer.standing, request.view.root) for layer in resolution.shown],
            recipe=recipe(renderer, self._admission, decisions),
        )
        self._tags.put(key, tag)
        return tag

    async def _built(
        self, request: PageRequest, resolution: Resolution, renderer: Renderer, tag: str, moment: Timestamp
    ) -> bytes | None:
        """Make the body, a long one once for all who wait for it; None when the layers have changed since the tag was computed."""
        key = (tag, request.coding)

        def write(parts: Parts) -> tuple[bytes, int, Sequence[Judgement]]:
            merged, judgements = self._assembling.merged(parts, request.view.root, moment)
            page = renderer.page(merged)
            return compress(page, request.coding), len(page), judgements

        try:
            # A short page is read first. If it is also written quickly, it is made here, which costs less than a task.
            parts = await self._read(resolution) if resolution.file_count <= QUICK else None
            body = self._bodies.get(key)
            if body is None and parts is not None and parts.is_quick:
                body, _, judgements = write(parts)
                self._hear(request.project, tag, judgements)
            elif body is None:
                body = await self._building.get(key, lambda: self._build(resolution, parts, tag, write))
        except _LayerChanged:
            return None
        if len(body) < LARGE:  # clients take such a page compressed
            self._bodies.put(key, body)
        return body

    async def _build(
        self,
        resolution: Resolution,
        parts: Parts | None,
        tag: str,
        write: Callable[[Parts], tuple[bytes, int, Sequence[Judgement]]],
    ) -> bytes:
        parts = parts or await self._read(resolution)
        body, size, judgements = await in_worker(self._workers, partial(write, parts))
        self._hear(resolution.project, tag, judgements)
        if size >= LARGE:
            del parts
            await in_worker(self._workers, give_back)
        return body

    def _hear(self, project: ProjectName, tag: str, judgements: Sequence[Judgement]) -> None:
        self._decisions.hear(project, judgements)
        if warnings := warnings_of(judgements):
            self._warnings.put(tag, warnings)

    async def _read(self, resolution: Resolution) -> Parts:
        parts = await self._assembling.read(resolution)
        if parts is None:
            raise _LayerChanged(f"{resolution.project} changed")
        return parts


class _LayerChanged(PkgIndexError):
    """A layer has changed since the resolution was made."""
