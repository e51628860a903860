"""The limit of staleness: how long stored content is served after the last good answer of its upstream."""

from __future__ import annotations

import math
from typing import Protocol

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import ListedNames, Projects
from pkgindex_mirror.readthrough.checks import Check
from pkgindex_mirror.readthrough.noted_checks import NotedChecks
from pkgindex_mirror.readthrough.outcomes import unknown
from pkgindex_mirror.readthrough.pages.refreshing import age
from pkgindex_mirror.upstreams.sites import usable_site


class _Store(Projects, ListedNames, Protocol): ...


class StaleLimit:
    """Checks the limit. `seconds`: the setting `stale_limit`."""

    def __init__(self, seconds: float, *, store: _Store, noted: NotedChecks, clock: Clock) -> None:
        self._seconds = seconds
        self._store = store
        self._noted = noted
        self._clock = clock

    async def check(self, failed: Check, index: IndexConfig, project: str, *, stored: str, what: str) -> None:
        """Raise the error of a failure if the stored page or list is too old.

        `stored`: the name that `checks.about` gives it. `project`: as in `Check`. `what`: its name in messages.
        """
        old = await self._seconds_since_answer(failed, index, project, stored)
        if old > self._seconds:
            raise unknown(
                failed,
                f"{what} is not known: {failed.reason}, and what is stored is older than stale_limit ({self._seconds:g} s)",
            )

    async def _seconds_since_answer(self, failed: Check, index: IndexConfig, project: str, stored: str) -> float:
        """Seconds since the upstream answered with what is stored. Infinite if the index had another upstream then."""
        if failed.checked is not None:
            return (self._clock.now() - failed.checked) / 1_000_000
        # No answer is remembered since the start: the store has the time of the last one.
        site = usable_site(index)
        url = site.project_url(ProjectName(project)) if project else site.base
        noted = await self._noted.read(index.name, project, about=stored)
        if noted is not None:
            return age(self._clock, noted.checked, noted.validators.get("url"), url)
        if project:
            page = await self._store.page(index.name, ProjectName(project))
            return age(self._clock, page.head.fetched, page.head.validators.get("url"), url) if page else math.inf
        validators = (await self._store.listing(index.name)).validators
        fetched = validators.get("fetched")
        return age(self._clock, Timestamp(int(fetched)) if fetched else None, validators.get("url"), url)
