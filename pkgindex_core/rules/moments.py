"""Reads the past moments that clients name: a serial, a day, or a time. Pure."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.models import Serial

_DAY_MICROSECONDS: Final = 86_400 * 1_000_000
_SERIAL: Final = re.compile(r"[0-9]{1,15}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_HINT: Final = "write a serial such as 1234, a day such as 2026-11-29, or a time such as 2026-11-29T10:00:00Z"


class NamedMoment(Struct, frozen=True):
    """A moment as a client names it: one of the two."""

    serial: Serial | None = None
    time: Timestamp | None = None
    """The last microsecond that counts."""


def named_moment(text: str) -> NamedMoment:
    """Read a moment. Raises `Refused`.

    A day means its end in UTC, as with uv's `--exclude-newer`, and a time without a zone is UTC.
    """
    if _SERIAL.fullmatch(text):
        return NamedMoment(serial=Serial(int(text)))
    if _DAY.fullmatch(text):
        try:
            days = date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()
        except ValueError:
            raise Refused(f"there is no day {text}", hint=_HINT) from None
        return NamedMoment(time=Timestamp((days + 1) * _DAY_MICROSECONDS - 1))
    moment = from_rfc3339(text) if _TIME.fullmatch(text) else None
    if moment is None:
        raise Refused(f"{text[:40]!r} is no moment", hint=_HINT)
    return NamedMoment(time=moment)
