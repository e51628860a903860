"""Filters of upload times: a window, and a cooldown that keeps out what is too new.

A window has only upload times that the upstream gives. The cooldown takes the time at which the mirror first saw a file if there is no
upload time: such a file is at least as old.

The end of the cooldown is rounded down to whole hours, or from two days on to whole days, and is a part of the fingerprint: within the same
hour or day the same files pass, and then every project is judged again. So a file never passes early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pkgindex_core.clock import Clock, Timestamp, to_rfc3339
from pkgindex_core.models import File
from pkgindex_mirror.filters.fingerprints import fingerprint_of
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

_SECOND: Final = 1_000_000
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class UploadWindow(QuietFilter):
    """Keeps files that were uploaded at or after the one moment, and before the other."""

    def __init__(self, after: Timestamp | None, before: Timestamp | None, *, keep_unknown: bool) -> None:
        super().__init__("uploaded", [after, before, keep_unknown])
        self._after = after
        self._before = before
        self._keep_unknown = keep_unknown

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        return {file.filename: self.refusal(reason) for file in files if (reason := self._reason(file.upload_time))}

    def _reason(self, time: Timestamp | None) -> str:
        if time is None:
            return "" if self._keep_unknown else "its upload time is unknown"
        if self._after is not None and time < self._after:
            return f"it was uploaded on {to_rfc3339(time)}, before {to_rfc3339(self._after)}"
        if self._before is not None and time >= self._before:
            return f"it was uploaded on {to_rfc3339(time)}, not before {to_rfc3339(self._before)}"
        return ""


class Cooldown(QuietFilter):
    """Leaves out files that are younger than some seconds."""

    def __init__(self, seconds: int, clock: Clock, *, keep_unknown: bool) -> None:
        super().__init__("cooldown", None)
        self._seconds = seconds
        self._clock = clock
        self._keep_unknown = keep_unknown
        self._grain = _SECOND * (_DAY if seconds >= 2 * _DAY else _HOUR)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.word, [self._seconds, self._keep_unknown, self._end()])

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        end = self._end()
        return {file.filename: self.refusal(reason) for file in files if (reason := self._reason(file, end))}

    def _end(self) -> Timestamp:
        """The time of the youngest files that pass."""
        return Timestamp((self._clock.now() - self._seconds * _SECOND) // self._grain * self._grain)

    def _reason(self, file: File, end: Timestamp) -> str:
        time = file.shown_time
        if time is None:
            return "" if self._keep_unknown else "its age is unknown"
        if time <= end:
            return ""
        what = "uploaded" if file.upload_time is not None else "first seen"
        return f"it is too new: it was {what} on {to_rfc3339(time)}"
