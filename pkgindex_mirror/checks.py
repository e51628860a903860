"""What is known, in memory, of when and how upstreams last answered: the dictionary behind `is_fresh`.

Lost at a restart on purpose: `PageHead.fetched` then says what still counts as fresh, and everything else is asked
again, mostly for a 304. Bounded; the projects that were asked about least recently are forgotten first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.bounded_cache import BoundedCache

_FAILED_PAUSE = 1.0
"""Seconds for which a failed project is not asked again: less than a client waits, so that the end of a failure is noticed."""

_log = logging.getLogger(__name__)


class Check(Struct, frozen=True, kw_only=True):
    """How an upstream last answered for one project, or (project "") for its project list."""

    url: str
    """The upstream that was asked; an answer means nothing once the index is pointed elsewhere."""
    outcome: Literal["current", "absent", "failed"]
    since: float
    """Monotonic: when the upstream was asked, or what is stored was."""
    lasting: bool = False
    """For `failed`: no waiting mends it."""
    checked: Timestamp | None = None
    """When the upstream last answered `current` or `absent`."""
    reason: str = ""
    validators: Mapping[str, str] = {}
    """Newer than the stored ones when an answer brought nothing else that is new."""
    backwards: int = 0
    """How often in a row the upstream's serial was below the one we have."""


class Checks:
    """`absent_expiry`: seconds for which "no such project" is believed, at most as long as a page."""

    def __init__(self, limit: int, clock: Clock, *, absent_expiry: float) -> None:
        self._clock = clock
        self._absent_expiry = absent_expiry
        self._checks: BoundedCache[tuple[IndexName, str], Check] = BoundedCache(limit)

    def __len__(self) -> int:
        return len(self._checks)

    def get(self, index: IndexConfig, project: str) -> Check | None:
        """What is known of the upstream that the index has now."""
        check = self._checks.get((index.name, project))
        return check if check is not None and check.url == mirror_options(index).url else None

    def until(self, check: Check, index: IndexConfig) -> float:
        """Monotonic: as long the outcome stands and nothing is asked.

        Goes by the expiry that the index has now, so that one which was changed counts at once.
        """
        match check.outcome:
            case "failed":
                lasting = _FAILED_PAUSE
            case "absent":
                lasting = min(float(mirror_options(index).cache_expiry), self._absent_expiry)
            case "current":
                lasting = float(mirror_options(index).cache_expiry)
        return check.since + lasting

    def current(
        self,
        index: IndexConfig,
        project: str,
        validators: Mapping[str, str],
        *,
        checked: Timestamp | None = None,
        age: float = 0.0,
    ) -> Check:
        """What is stored is what the upstream has, or had `age` seconds ago."""
        check = Check(
            url=mirror_options(index).url,
            outcome="current",
            since=self._clock.monotonic() - age,
            checked=self._clock.now() if checked is None else checked,
            validators=validators,
        )
        return self.put(index.name, project, check)

    def absent(self, index: IndexConfig, project: str) -> Check:
        """The upstream says that there is no such thing."""
        check = Check(
            url=mirror_options(index).url,
            outcome="absent",
            since=self._clock.monotonic(),
            checked=self._clock.now(),
            reason="gone upstream",
        )
        return self.put(index.name, project, check)

    def failed(
        self,
        index: IndexConfig,
        project: str,
        reason: str,
        *,
        lasting: bool = False,
        asked: bool = True,
        backwards: int = 0,
    ) -> Check:
        """The upstream could not be asked, or its answer not be used. What was known before is kept.

        `asked` False: its host failed so lately that it was not asked; that host's failure is in the log already.
        """
        known = self.get(index, project)
        level = logging.WARNING if asked else logging.DEBUG
        _log.log(level, "%s: %s is not fresh: %s", index.name, project or "the project list", reason)
        check = Check(
            url=mirror_options(index).url,
            outcome="failed",
            since=self._clock.monotonic(),
            lasting=lasting,
            checked=known.checked if known else None,
            reason=reason,
            validators=known.validators if known else {},
            backwards=backwards,
        )
        return self.put(index.name, project, check)

    def forget(self, index: IndexName, project: str) -> None:
        """What is stored is not what the upstream answered with: ask it again."""
        self._checks.drop((index, project))

    def put(self, index: IndexName, project: str, check: Check) -> Check:
        """Remember an outcome."""
        self._checks.put((index, project), check)
        return check
