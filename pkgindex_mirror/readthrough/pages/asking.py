"""Asks upstreams for pages and lists, and waits for the answers as long as the settings say.

    check of the last answer ─► it stands: answer from what is stored
                             ─► it does not: begin a flight or join one, and wait ─► the outcome (`outcomes`)

A flight is one question to an upstream. All callers with the same question share it, and a cancelled caller does not end it.

Unknown is not absent: a project is absent only if nothing is stored and its upstream says so (`absent_statuses`, usually 404 and 410). After
any other failure a stored page is served and marked stale. If nothing is stored, `Unavailable` is raised, or `BadUpstream` when waiting does
not help. Callers wait for a silent host once, not once per project (`UpstreamClient.patience`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Freshness, Listing
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror.readthrough.checks import NAMES, Check, Checks, about
from pkgindex_mirror.readthrough.outcomes import ASKED_AGAIN, UNANSWERED, told
from pkgindex_mirror.readthrough.pages.doubts import Doubt, Doubts
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import usable_site

if TYPE_CHECKING:
    from pkgindex_mirror.readthrough.pages.refreshing import Refreshing
    from pkgindex_mirror.readthrough.pages.refreshing_names import RefreshingNames
    from pkgindex_mirror.readthrough.stale_limit import StaleLimit
    from pkgindex_mirror.upstreams.upstream import UpstreamClient

_STALE_LEAST = 0.25
"""Shortest wait for a host in seconds, if a page is stored. Other callers may have waited in vain before."""


class Asking:
    """Makes pages and lists fresh. `client` and the callables after it return objects that are made at their first use."""

    def __init__(
        self,
        *,
        client: Callable[[], UpstreamClient],
        refreshing: Callable[[], Refreshing],
        refreshing_names: Callable[[], RefreshingNames],
        stale_limit: Callable[[], StaleLimit],
        checks: Checks,
        tasks: Tasks,
        clock: Clock,
        settings: MirrorSettings,
    ) -> None:
        self._client = client
        self._refreshing = refreshing
        self._refreshing_names = refreshing_names
        self._stale_limit = stale_limit
        self._checks = checks
        self._clock = clock
        self._settings = settings
        self._doubts = Doubts(settings.remembered)
        self._flights: SingleFlight[Check] = SingleFlight(tasks)

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        """Whether the stored page may be served without a question. See `Source.is_current`."""
        check = self._checks.get(index, project)
        if check is None or check.outcome != ("current" if standing.holds else "absent"):
            return False
        if self._doubts.of(index.name, project) is not None:
            return False
        stage = self._checks.stage(check, index)
        if stage == "ending" and not check.is_asked_ahead:
            self._ask_ahead(index, project, standing, check)
        return stage in {"fresh", "ending"}

    def doubt(self, index: IndexConfig, project: ProjectName | None) -> None:
        """Ask again at the next request. None: for the project list."""
        self._doubts.add(index.name, project or NAMES)

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        """Ask for a page, unless the last answer stands. `again`: ask in any case."""
        check, holds = self._checks.get(index, project), standing.holds
        doubt = self._doubts.of(index.name, project)
        doubted = again or (check is not None and self._is_doubted(check, doubt))
        if not doubted and holds and check is not None and self._checks.stage(check, index) == "late":
            with suppress(Unavailable):  # then a later request asks
                self._flight(index, project, standing)
            return Freshness(state="stale", reason=ASKED_AGAIN, checked=check.checked)
        if doubted or check is None or not self._stands(check, index, holds=holds):
            url = usable_site(index).asked_url(project)
            flight = partial(self._flight, index, project, standing, again=again or doubt is not None)
            check = await self._outcome(index, flight, url, self._settings.wait, holds=holds)
            self._settle(index, project, doubt, check)
        stored = about(standing.stamp, standing.content) if holds else ""
        return await self._told(check, index, project, stored=stored)

    def _flight(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Flight[Check]:
        site = usable_site(index)
        # The upstream is part of the key, since an index may get another one while a flight is under way.
        return self._flights.join(
            (index.name, project, site.base, again),
            lambda: self._refreshing().page(index, site, project, standing=standing, again=again),
            name=f"refresh {project}",
        )

    def _ask_ahead(self, index: IndexConfig, project: ProjectName, standing: Standing, check: Check) -> None:
        """Ask for a page before it expires, once, so that no client waits for it. If that fails the page stays fresh until its expiry."""
        asked = self._checks.put(index.name, project, replace(check, is_asked_ahead=True))

        async def ahead() -> Check:
            found = await self._refreshing().page(index, usable_site(index), project, standing=standing, again=True)
            return found if found.outcome != "failed" else self._checks.put(index.name, project, asked)

        with suppress(Unavailable):  # the client asks when the page has expired
            self._flights.join((index.name, project, check.url, "ahead"), ahead, name=f"refresh {project} ahead")

    async def refresh_names(self, index: IndexConfig, listing: Listing) -> Freshness:
        """Ask for the project list, unless the last answer stands. `listing`: the stored list."""
        holds = listing.is_whole
        check, doubt = self._checks.get(index, NAMES), self._doubts.of(index.name, NAMES)
        if check is None or self._is_doubted(check, doubt) or not self._stands(check, index, holds=holds):
            site, again = usable_site(index), doubt is not None
            flight = partial(
                self._flights.join,
                (index.name, NAMES, site.base, again),
                lambda: self._refreshing_names().names(index, site, again=again),
                name="refresh project list",
            )
            # Installers never ask for the list, and the first one takes long to arrive and to be stored.
            wait = max(self._settings.wait, self._settings.list_wait)
            check = await self._outcome(index, flight, site.base, wait, holds=holds)
            self._settle(index, NAMES, doubt, check)
        return await self._told(check, index, NAMES, stored=about(listing.stamp) if holds else "")

    @staticmethod
    def _is_doubted(check: Check, doubt: Doubt | None) -> bool:
        """Whether an outcome is doubted. A failure is asked about again soon anyway."""
        return doubt is not None and check.outcome != "failed"

    def _settle(self, index: IndexConfig, project: str, doubt: Doubt | None, check: Check) -> None:
        """End a doubt, if the upstream has answered."""
        if check.outcome != "failed":
            self._doubts.settle(index.name, project, doubt)

    def _stands(self, check: Check, index: IndexConfig, *, holds: bool) -> bool:
        """Whether an outcome is recent enough to be used again. A `current` one is not if what was stored is gone."""
        if check.outcome == "current" and not holds:
            return False
        return self._checks.stage(check, index) in {"fresh", "ending"}

    async def _outcome(
        self, index: IndexConfig, begin: Callable[[], Flight[Check]], url: str, wait: float, *, holds: bool
    ) -> Check:
        """Begin or join a flight and wait for it, only briefly if `holds`. Raises `Unavailable` if it cannot begin, unless `holds`."""
        seconds = min(wait, self._settings.stale_wait) if holds else wait
        begun = self._clock.monotonic()
        patience = self._client().hosts.patience
        try:
            flight = begin()
            check = await flight.wait(patience(url, seconds, least=_STALE_LEAST) if holds else patience(url, seconds))
        except Unavailable as error:
            # Too many requests are under way, or the server is stopping. What is stored can still be served.
            if not holds:
                raise
            return self._unanswered(index, error.message)
        if check is None:
            self._client().hosts.waited_in_vain(url, seconds, begun)
            return self._unanswered(index, UNANSWERED)
        return check

    def _unanswered(self, index: IndexConfig, reason: str) -> Check:
        return Check(url=mirror_options(index).url, outcome="failed", since=self._clock.monotonic(), reason=reason)

    async def _told(self, check: Check, index: IndexConfig, project: str, *, stored: str) -> Freshness:
        """Turn an outcome into freshness. `stored`: the name of the stored page or list (`checks.about`); empty: nothing is stored."""
        what = f"{project} in {index.name}" if project else f"the project list of {index.name}"
        if stored and check.outcome == "failed" and self._settings.stale_limit < math.inf:
            await self._stale_limit().check(check, index, project, stored=stored, what=what)
        return told(check, what=what, holds=bool(stored))
