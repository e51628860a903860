"""When and how upstreams last answered, in memory: the dictionary behind `is_current`.

After a restart, `PageHead.fetched` and the notes of `noted_checks` say which pages are still fresh. The other pages are asked for again.
Bounded: the least recently used projects are forgotten first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror.settings import MirrorSettings

NAMES = ""
"""Stands for the project list where a project's name stands."""
Stage = Literal["fresh", "ending", "late", "over"]
"""The age of an outcome. `fresh`: it stands. `ending`: it stands, in the last fifth of its lifetime. `late`: it has expired, and
`stale_while_revalidate` still permits what is stored. `over`: it has expired."""
GONE = "gone upstream"
"""The reason of a check whose upstream has no such project or list."""
_ENDING = 0.8
"""The part of its lifetime after which a request makes the server ask for a page ahead of its expiry, so that no client waits for it."""
_FAILED_PAUSE = 1.0
"""Seconds for which a failed project is not asked for again. Shorter than a client waits, so a waiting client sees a recovery."""

_log = logging.getLogger(__name__)


class Check(Struct, frozen=True, kw_only=True):
    """How an upstream last answered for one project, or (project `NAMES`) for its project list."""

    url: str
    """The upstream that was asked. The check is void when the index gets another upstream."""
    outcome: Literal["current", "absent", "failed"]
    since: float
    """Monotonic time of the question that the outcome answers."""
    lasting: bool = False
    """For `failed`: asking again will not help until the configuration or the upstream is corrected."""
    checked: Timestamp | None = None
    """When the upstream last answered `current` or `absent`."""
    reason: str = ""
    validators: Mapping[str, str] = {}
    """Validators to ask with. Newer than the stored ones after an answer in which nothing else was new."""
    about: str = ""
    """The stored page or list to which the validators belong, named by the function `about`."""
    backwards: int = 0
    """How often in a row the upstream's serial was below the stored one."""
    backwards_since: float = 0.0
    """Monotonic time of the first of these answers."""
    is_asked_ahead: bool = False
    """Whether the upstream was asked ahead of the expiry of this outcome. It is asked ahead once."""


def about(stamp: Serial, content: str = "") -> str:
    """Name a stored page or list. Validators belong to one such name and are not sent for another."""
    return f"{stamp}:{content[:16]}"


class Checks:
    """Remembers outcomes. The settings say how many, and for how long each stands."""

    def __init__(self, settings: MirrorSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._checks: BoundedCache[tuple[IndexName, str], Check] = BoundedCache(settings.remembered)

    def __len__(self) -> int:
        return len(self._checks)

    def get(self, index: IndexConfig, project: str) -> Check | None:
        """The last check; None unless it is of the upstream that the index has now."""
        check = self._checks.get((index.name, project))
        return check if check is not None and check.url == mirror_options(index).url else None

    def stage(self, check: Check, index: IndexConfig) -> Stage:
        """The age of an outcome, by the expiry that the index has now: a changed expiry has effect at once."""
        passed = self._clock.monotonic() - check.since
        if check.outcome == "failed":
            return "fresh" if passed < _FAILED_PAUSE else "over"
        expiry = float(mirror_options(index).cache_expiry)
        if check.outcome == "absent":
            return "fresh" if passed < min(expiry, self._settings.absent_expiry) else "over"
        lasting = self.lifetime(check.validators, expiry)
        if passed < lasting:
            return "fresh" if passed < _ENDING * lasting else "ending"
        return "late" if passed < lasting + min(lasting, self._settings.stale_while_revalidate) else "over"

    def lifetime(self, validators: Mapping[str, str], expiry: float) -> float:
        """Seconds for which an answer counts as fresh: what the upstream says, but at least `least_expiry` and at most the index's own `expiry`."""
        stated = validators.get("lifetime")
        return expiry if stated is None else min(expiry, max(float(stated), self._settings.least_expiry))

    def current(
        self,
        index: IndexConfig,
        project: str,
        validators: Mapping[str, str],
        *,
        about: str,
        checked: Timestamp | None = None,
        age: float = 0.0,
    ) -> Check:
        """Record that the stored page or list, named by `about`, is what the upstream had `age` seconds ago."""
        check = Check(
            url=mirror_options(index).url,
            outcome="current",
            since=self._clock.monotonic() - age,
            checked=self._clock.now() if checked is None else checked,
            validators=validators,
            about=about,
        )
        return self.put(index.name, project, check)

    def absent(self, index: IndexConfig, project: str, *, checked: Timestamp | None = None) -> Check:
        """Record that the upstream has no such project or list. `checked`: when it said so, if that was before."""
        check = Check(
            url=mirror_options(index).url,
            outcome="absent",
            since=self._clock.monotonic(),
            checked=self._clock.now() if checked is None else checked,
            reason=GONE,
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
        backwards_since: float = 0.0,
    ) -> Check:
        """Record that the upstream could not be asked, or that its answer was unusable. Validators are kept.

        `asked` is False if the host's circuit breaker was open; the failure that opened it is in the log already.
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
            about=known.about if known else "",
            backwards=backwards,
            backwards_since=backwards_since,
        )
        return self.put(index.name, project, check)

    def forget(self, index: IndexName, project: str) -> None:
        """Ask the upstream again: what it answered did not become what is stored."""
        self._checks.drop((index, project))

    def put(self, index: IndexName, project: str, check: Check) -> Check:
        """Remember an outcome."""
        self._checks.put((index, project), check)
        return check
