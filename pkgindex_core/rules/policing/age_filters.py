"""The page filters of the rules `cooldown` and `nothing-after`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.formats.columns import Columns
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.kinds import COOLDOWN, NOTHING_AFTER
from pkgindex_core.rules.policing.policy_filter import Held, PolicyFilter
from pkgindex_core.rules.policing.waiting import CooldownSpan, Waiting, is_after, waits


class CooldownFilter(PolicyFilter):
    """Lets releases wait until they are old enough. In views of the past they are as old as they were then."""

    rule = COOLDOWN
    by_release = by_version = True

    def grain(self, value: Any) -> int:
        return int(value.grain) if value.seconds else 0

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        return newer(value, columns, build.moment)

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return _held(waits(build.release(origin, file), value, build.moment))


class NothingAfterFilter(PolicyFilter):
    """Hides releases that have files from after an instant."""

    rule = NOTHING_AFTER
    by_release = by_version = True

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        return _published_from(columns, value)

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return _held(is_after(build.release(origin, file), value))


def newer(value: CooldownSpan, columns: Columns, moment: Timestamp) -> Iterable[int] | None:
    """The places of files that a cooldown may let wait."""
    if not value.seconds:
        return ()
    if value.by != "upload-time":
        return None  # columns have the time that pages show
    return _published_from(columns, Timestamp(max(0, moment - value.seconds * 1_000_000)))


def _published_from(columns: Columns, instant: Timestamp) -> Iterable[int]:
    """The places of files from the second of an instant on, and of those without a time. The texts of times in UTC sort as the times do."""
    first = to_rfc3339(instant)[:19].encode()
    return [at for at, time in enumerate(columns.times) if time >= first or not time]


def _held(waiting: Waiting | None) -> Held | None:
    return None if waiting is None else Held(waiting.reason, waiting.until)
