"""What is known, in memory, of when and how upstreams last answered: the dictionary behind `is_fresh`.

Lost at a restart on purpose: `PageHead.fetched` then says what still counts as fresh, and everything else is asked
again, mostly for a 304. Bounded; the projects that were asked about least recently are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName


class Check(Struct, frozen=True, kw_only=True):
    """How an upstream last answered for one project, or (project "") for its project list."""

    url: str
    """The upstream that was asked; an answer means nothing once the index is pointed elsewhere."""
    outcome: Literal["current", "absent", "failed"]
    since: float
    """Monotonic: when the upstream was asked, or what is stored was."""
    pause: float = 0.0
    """For `failed`: seconds for which nothing is asked."""
    checked: Timestamp | None = None
    """When the upstream last answered `current` or `absent`."""
    reason: str = ""
    validators: Mapping[str, str] = {}
    """Newer than the stored ones when an answer brought nothing else that is new."""
    backwards: int = 0
    """How often in a row the upstream's serial was below the one we have."""


class Checks:
    """`absent_expiry`: seconds for which "no such project" is believed, at most as long as a page."""

    def __init__(self, limit: int, *, absent_expiry: float = 60.0) -> None:
        self._limit = limit
        self._absent_expiry = absent_expiry
        self._checks: OrderedDict[tuple[IndexName, str], Check] = OrderedDict()

    def __len__(self) -> int:
        return len(self._checks)

    def get(self, index: IndexName, project: str, url: str) -> Check | None:
        check = self._checks.get((index, project))
        return check if check is not None and check.url == url else None

    def until(self, check: Check, index: IndexConfig) -> float:
        """Monotonic: as long the outcome stands and nothing is asked.

        Goes by the expiry that the index has now, so that one which was changed counts at once.
        """
        match check.outcome:
            case "failed":
                lasting = check.pause
            case "absent":
                lasting = min(float(index.mirror_cache_expiry), self._absent_expiry)
            case "current":
                lasting = float(index.mirror_cache_expiry)
        return check.since + lasting

    def put(self, index: IndexName, project: str, check: Check) -> None:
        self._checks[index, project] = check
        self._checks.move_to_end((index, project))
        if len(self._checks) > self._limit:
            self._checks.popitem(last=False)
