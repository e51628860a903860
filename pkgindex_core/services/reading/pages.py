"""Answers a project's page: named before it exists, and made once for all who want it.

    resolution -> ETag -> 304 | cached bytes | assembled, rendered, compressed

The ETag is computed from the resolution before anything of the page is read, and is the cache key: nothing is ever purged, another
resolution is another key. What is cached is the compressed body. A warm answer costs a look at what was touched and a dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, PageFilter, Principal, Renderer
from pkgindex_core.rules.filtering import applying
from pkgindex_core.rules.resolution import Layer, Resolution
from pkgindex_core.rules.stamping import LayerStamp, coded, etag, matches, recipe
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_BUILD_TURNS = 5
_TAGS = 8192

Bodies = BoundedCache[tuple[str, str], bytes]
"""Compressed bodies by (ETag, coding), bounded in bytes; pages and lists share one."""


class View(Struct, frozen=True, kw_only=True):
    """From where a page is looked at, as far as its links depend on it."""

    start: IndexName
    root: str
    """The relative URL from the page to the root of the server, such as `../../../../`."""


class PageRequest(Struct, frozen=True, kw_only=True):
    """What one request wants of a project's page."""

    view: View
    project: ProjectName
    principal: Principal
    media_type: str
    coding: str = "identity"
    if_none_match: str | None = None


class PageAnswer(Struct, frozen=True, kw_only=True):
    """A page, or (`body` None) the news that the client has it already."""

    etag: str
    media_type: str
    coding: str
    serial: Serial
    body: bytes | None
    public: bool
    """Whether everybody gets the same, with and without credentials."""
    stale: tuple[tuple[IndexName, str], ...] = ()
    """Mirrors that could not be asked, with the reason; what is shown of them is what was stored."""
    unknown: tuple[tuple[IndexName, str], ...] = ()
    """Lists only: mirrors that could not be asked and of which nothing is stored, with the reason."""
    partial: tuple[IndexName, ...] = ()
    """Lists only: mirrors of which only the projects are listed that somebody asked for."""


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
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._resolving = resolving
        self._assembling = assembling
        self._admission = admission
        self._filters = filters
        self._renderers = renderers
        self._bodies = bodies
        self._workers = workers
        self._clock = clock
        self._tags: BoundedCache[Hashable, str] = BoundedCache(_TAGS)
        self._building: SingleFlight[bytes] = SingleFlight()

    async def project(self, request: PageRequest) -> PageAnswer:
        """One project's page as an index shows it.

        Raises `Missing` when no layer has the project and every layer could be asked, `Unavailable` when one that would have
        a say could not be asked and nothing of it is stored, `Denied` when credentials are needed.
        """
        renderer = self._renderers[request.media_type]
        overtaken: Resolution | None = None
        for _ in range(_BUILD_TURNS):
            resolution = await self._resolving.resolve(
                request.view.start, request.project, request.principal, instead_of=overtaken
            )
            resolution.require_whole()
            resolution.require_some()
            moment = self._clock.now()
            tag = self._tag(request, resolution, renderer, moment)
            name = coded(tag, request.coding)
            unchanged = matches(request.if_none_match, name)
            body = None if unchanged else self._bodies.get((tag, request.coding))
            if body is None and not unchanged:
                body = await self._built(request, resolution, renderer, tag, moment)
                if body is None:
                    overtaken = resolution  # the project changed before its page was read: name it anew
                    continue
            return PageAnswer(
                etag=name,
                media_type=renderer.media_type,
                coding=request.coding,
                serial=resolution.serial,
                body=body,
                public=resolution.chain.public,
                stale=resolution.stale,
            )
        raise Unavailable(f"the page of {request.project} changes faster than it can be read", retry_after=1)

    async def refresh(self, start: IndexName, project: ProjectName, *, principal: Principal) -> None:
        """Ask the upstreams of a page's mirrors again now, however new it is.

        Raises as `project` does, except that a project which nobody has is no error.
        """
        (await self._resolving.refresh(start, project, principal)).require_whole()

    def _tag(self, request: PageRequest, resolution: Resolution, renderer: Renderer, moment: Timestamp) -> str:
        """The page's ETag, without reading the page."""
        key = (request.media_type, request.view.root, request.view.start, request.project, resolution.key)
        known = self._tags.get(key)
        if known is not None:
            return known
        filters = applying(self._filters, resolution.tree, request.view.start)
        tag = etag(
            tree=resolution.tree.serial,
            start=request.view.start,
            project=request.project,
            layers=[_stamp_of(layer, request.view.root) for layer in resolution.shown],
            recipe=recipe(renderer, self._admission, filters, moment),
        )
        if not any(each.rounding for each in filters.values()):
            self._tags.put(key, tag)
        return tag

    async def _built(
        self, request: PageRequest, resolution: Resolution, renderer: Renderer, tag: str, moment: Timestamp
    ) -> bytes | None:
        """Build the body once for all who wait for it; None when what was read is newer than its name."""
        key = (tag, request.coding)
        try:
            body = await self._building.get(key, lambda: self._build(request, resolution, renderer, moment))
        except _Overtaken:
            return None
        if len(body) < LARGE:  # clients take such a page compressed
            self._bodies.put(key, body)
        return body

    async def _build(
        self, request: PageRequest, resolution: Resolution, renderer: Renderer, moment: Timestamp
    ) -> bytes:
        parts = await self._assembling.read(resolution)
        if parts is None:
            raise _Overtaken(f"{request.project} changed")

        def write() -> tuple[bytes, int]:
            merged, _ = self._assembling.merged(parts, request.view.root, moment)
            page = renderer.page(merged)
            return compress(page, request.coding), len(page)

        body, size = write() if parts.is_quick else await in_worker(self._workers, write)
        if size >= LARGE:
            del parts
            await in_worker(self._workers, give_back)
        return body


def _stamp_of(layer: Layer, root: str) -> LayerStamp:
    """What an ETag takes of a layer."""
    standing = layer.standing
    stamp = (layer.index, f"{root}{layer.index}/", standing.stamp)
    return (*stamp, standing.content) if standing.content else stamp


class _Overtaken(PkgIndexError):
    """A page was read that is newer than the resolution it is to be written for."""
