"""When a release is old enough: after a cooldown, or if it was published before an instant. Pure.

A release is old enough when each of its files is, so that a wheel that is added late does not open it. The age of a file is the time since
its upload, also if this mirror saw it for the first time just now. Only a file without an upload time is as old as the time at which it was
first seen, if the mirror keeps that. By choice (`7d by first-seen`) only the time of first seeing counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_core.rules.moments import named_moment

_SHOWN: Final = 80
_SECOND: Final = 1_000_000
_HOUR: Final = 3600
_DAY: Final = 86_400
_UNITS: Final = {"s": 1, "m": 60, "h": _HOUR, "d": _DAY, "w": 7 * _DAY}
_SHORT: Final = re.compile(r"(\d{1,9})([smhdw])")
_ISO: Final = re.compile(
    r"P(?=.)(?:(\d{1,5})W)?(?:(\d{1,6})D)?(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?"
)
_LONGEST: Final = 3650 * _DAY

By = Literal["upload-time", "first-seen"]


class CooldownSpan(Struct, frozen=True):
    """The value of a rule `cooldown`."""

    seconds: int
    by: By = "upload-time"

    @property
    def grain(self) -> int:
        """Microseconds to which the time is rounded down: pages are made anew at most once in it."""
        return _SECOND * (_HOUR if self.seconds >= _DAY else 60)


class Waiting(Struct, frozen=True):
    """Why a release waits."""

    reason: str
    until: Timestamp | None = None


def parse_cooldown(text: str) -> CooldownSpan:
    """Read `7d`, `P7D`, `PT36H`, or `7d by first-seen`.

    >>> parse_cooldown("P7D").seconds
    604800
    """
    span, _, by = text.partition(" by ")
    by = by.strip() or "upload-time"
    if by not in {"upload-time", "first-seen"}:
        raise Refused(f"{by[:_SHOWN]!r} is no time of a file", hint="write `by upload-time` or `by first-seen`")
    seconds = _span(span.strip())
    if seconds is None or seconds > _LONGEST:
        raise Refused(
            f"{span[:_SHOWN]!r} is no length of time",
            hint="write 7d, 36h or P7D, at most ten years; 0d lets all through",
        )
    return CooldownSpan(seconds, "first-seen" if by == "first-seen" else "upload-time")


def parse_instant(text: str) -> Timestamp:
    """Read a day, which means its end in UTC, or a time."""
    moment = named_moment(text).time
    if moment is None:
        raise Refused(f"{text[:_SHOWN]!r} is no instant", hint="write 2026-11-01 or 2026-11-01T10:00:00Z")
    return moment


def waits(release: Sequence[File], cooldown: CooldownSpan, moment: Timestamp) -> Waiting | None:
    """Why a release waits at a moment; None when it is old enough. Versions without files are."""
    if not cooldown.seconds:
        return None
    seen = cooldown.by == "first-seen"
    newest, youngest = Timestamp(0), ""
    for file in release:
        if not file.filename:
            continue
        time = file.first_seen if seen else file.shown_time
        if time is None:
            return Waiting(_untold(file, seen=seen))
        if time > newest:
            newest, youngest = time, file.filename
    until = Timestamp(newest + cooldown.seconds * _SECOND)
    if not youngest or until <= moment:
        return None
    until = Timestamp(-(-until // cooldown.grain) * cooldown.grain)  # pages show it then
    verb = "first seen" if seen else "published"
    return Waiting(
        f"{youngest} was {verb} {to_rfc3339(newest)[:19]}Z, and new releases wait {_said(cooldown.seconds)}", until
    )


def is_after(release: Sequence[File], instant: Timestamp) -> Waiting | None:
    """Why a release with a file that was published after an instant is hidden; None when it has none."""
    for file in release:
        if file.filename and (time := file.shown_time) is None:
            return Waiting(_untold(file, seen=False))
        if file.filename and time is not None and time > instant:
            return Waiting(f"{file.filename} was published {to_rfc3339(time)}, after {to_rfc3339(instant)}")
    return None


def _untold(file: File, *, seen: bool) -> str:
    if seen:
        return f"it is not known when {file.filename} was first seen"
    return f"it is not known when {file.filename} was published (the mirror's option upload_time=first-seen counts from now on)"


def _span(text: str) -> int | None:
    short = _SHORT.fullmatch(text.lower())
    if short:
        return int(short[1]) * _UNITS[short[2]]
    iso = _ISO.fullmatch(text.upper())
    if iso is None:
        return None
    weeks, days, hours, minutes, seconds = (int(each or 0) for each in iso.groups())
    return (weeks * 7 + days) * _DAY + hours * _HOUR + minutes * 60 + seconds


def _said(seconds: int) -> str:
    for unit, length in (("days", _DAY), ("hours", _HOUR), ("minutes", 60)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit if count != 1 else unit[:-1]}"
    return f"{seconds} seconds"
