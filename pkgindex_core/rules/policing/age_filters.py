"""The page filters of the rules `cooldown` and `nothing-after`."""

from __future__ import annotations

from typing import Any

from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.kinds import COOLDOWN, NOTHING_AFTER
from pkgindex_core.rules.policing.policy_filter import Held, PolicyFilter
from pkgindex_core.rules.policing.waiting import Waiting, is_after, waits


class CooldownFilter(PolicyFilter):
    """Lets releases wait until they are old enough. In views of the past they are as old as they were then."""

    rule = COOLDOWN
    by_release = True

    def grain(self, value: Any) -> int:
        return int(value.grain) if value.seconds else 0

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return _held(waits(build.release(origin, file), value, build.moment))


class NothingAfterFilter(PolicyFilter):
    """Hides releases that have files from after an instant."""

    rule = NOTHING_AFTER
    by_release = True

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return _held(is_after(build.release(origin, file), value))


def _held(waiting: Waiting | None) -> Held | None:
    return None if waiting is None else Held(waiting.reason, waiting.until)
