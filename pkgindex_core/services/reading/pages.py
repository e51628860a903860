"""Answers project pages. A page is made once for all who want it.

    resolution -> ETag -> 304 | cached bytes | assembled, rendered, compressed

The ETag is computed from the resolution before the page is read, and is the cache key: a change makes a new key, and the cache is
never purged. Compressed bodies are cached. A repeated request costs a check of currency and a dictionary look-up.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from functools import partial

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, PageFilter, Principal, Renderer
from pkgindex_core.rules.filtering import Fingerprints
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.rules.stamping import coded, etag, layer_stamp, matches, recipe
from pkgindex_core.services.reading.applying_filters import ApplyingFilters
from pkgindex_core.services.reading.building import Bodies, Building
from pkgindex_core.services.reading.long_pages import PageForm
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Holding, Holds

_BUILD_TURNS = 5
_TAGS = 8192
_log = logging.getLogger(__name__)


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
    long_coding: str = ""
    """The coding of a page that is made in sections, which are compressed with gzip; empty: the same."""
    if_none_match: str | None = None


class PageAnswer(Struct, frozen=True, kw_only=True):
    """A page; `body` None: the client has it already."""

    etag: str
    media_type: str
    coding: str
    serial: Serial
    body: bytes | memoryview | None
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
        building: Building,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        bodies: Bodies,
        clock: Clock,
    ) -> None:
        self._resolving = resolving
        self.building = building
        self._admission = admission
        self.filters = ApplyingFilters(filters)
        self._renderers = renderers
        self._bodies = bodies
        self._clock = clock
        self.tags: BoundedCache[Hashable, str] = BoundedCache(_TAGS)

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
            decisions = self.filters.fingerprints(resolution.tree, request.view.start, moment, request.project)
            tag = self._tag(request, resolution, renderer, decisions)
            is_long = not decisions and self.building.long_pages.takes(resolution, request.media_type)
            coding = (is_long and request.long_coding) or request.coding
            name = coded(tag, coding)
            unchanged = matches(request.if_none_match, name)
            body = None if unchanged else self._bodies.get((tag, coding))
            if body is None and not unchanged:
                form = PageForm(
                    tag=tag, media_type=request.media_type, root=request.view.root, coding=coding, moment=moment
                )
                body = await self.building.body(resolution, form, is_long=is_long)
                if body is None:
                    overtaken = resolution  # the project changed before its page was read: resolve it again
                    continue
            answer = PageAnswer(
                etag=name,
                media_type=renderer.media_type,
                coding=coding,
                serial=resolution.serial,
                body=body,
                public=resolution.chain.public,
                stale=resolution.stale,
                unknown=self._named(resolution),
                warnings=self.building.warnings(tag),
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
        decided = self.filters.holding(resolution.tree, request.view.start, self._clock, request.project, decisions)
        return lambda: holds() and decided()

    def _tag(self, request: PageRequest, resolution: Resolution, renderer: Renderer, decisions: Fingerprints) -> str:
        """The page's ETag, without reading the page."""
        key = (request.media_type, request.view.root, request.view.start, request.project, resolution.key, decisions)
        known = self.tags.get(key)
        if known is not None:
            return known
        tag = etag(
            tree=resolution.tree.serial,
            start=request.view.start,
            project=request.project,
            layers=[layer_stamp(layer.index, layer.standing, request.view.root) for layer in resolution.shown],
            recipe=recipe(renderer, self._admission, decisions),
        )
        self.tags.put(key, tag)
        return tag
