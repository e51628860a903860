"""The account of the files that mirrors keep, as a value: the bytes that are kept, the files that arrive, and the files that leave.

    arrive ─► the file is stored ─► arrived        bytes are reserved before a file is kept
    leave  ─► the file is removed ─► left          a removal is written down before it is done

One `Ledger` is the whole account. It is replaced by compare-and-set, so of several processes one decides at a time, and a file has at
most one removal. Each step has a time (`until`) at which it is overdue. Then its process seems to have died, and another one finishes the step.

Pure: knows neither notes nor blobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256


class Reservation(Struct, frozen=True, array_like=True):
    """A file that is being fetched."""

    size: int
    sha256: str
    """Empty until it is known."""
    until: Timestamp


class Removal(Struct, frozen=True, array_like=True):
    """A file that is being removed."""

    size: int
    until: Timestamp


class Ledger(Struct, frozen=True, kw_only=True):
    """The account."""

    era: str
    """A random name of this account. Records with another era are those of an earlier account, and do not count."""
    kept: int = 0
    """Bytes of all counted files, also of those that are leaving."""
    arriving: Mapping[str, Reservation] = {}
    """By a random token."""
    leaving: Mapping[str, Removal] = {}
    """By sha256."""


class FileRecord(Struct, frozen=True, array_like=True):
    """A file that is kept and counted."""

    size: int
    place: Timestamp
    """Its place in the order: a time at which the file was used. It may have been used since."""
    token: str
    """The token of the arrival that made the record. Only that arrival counts the file."""
    era: str
    is_pinned: bool = False
    """A pinned file has no place in the order."""


def arrive(ledger: Ledger, token: str, arrival: Reservation) -> Ledger | None:
    """Add or replace an arrival. None while the same file is leaving: try again later."""
    if arrival.sha256 in ledger.leaving:
        return None
    return replace(ledger, arriving={**ledger.arriving, token: arrival})


def arrived(ledger: Ledger, token: str, *, counting: int) -> Ledger:
    """End an arrival, and count `counting` bytes: the size of the file if this arrival made its record, otherwise 0."""
    arriving = {key: value for key, value in ledger.arriving.items() if key != token}
    return replace(ledger, kept=ledger.kept + counting, arriving=arriving)


def leave(ledger: Ledger, sizes: Mapping[Sha256, int], *, until: Timestamp) -> Ledger:
    """Begin the removal of files. `sizes`: bytes by sha256."""
    return replace(ledger, leaving={**ledger.leaving, **{key: Removal(size, until) for key, size in sizes.items()}})


def left(ledger: Ledger, keys: Iterable[str]) -> Ledger:
    """End the removals of files that are removed."""
    gone = [key for key in keys if key in ledger.leaving]
    return replace(
        ledger,
        kept=ledger.kept - sum(ledger.leaving[key].size for key in gone),
        leaving={key: value for key, value in ledger.leaving.items() if key not in gone},
    )


def excess(ledger: Ledger, bound: int) -> int:
    """The bytes to remove, so that kept and arriving files are within the bound. 0 or less: there is room.

    No room is made for a file that is larger than the bound. It is stored, has the first place, and is removed after its last reader.
    """
    return ledger.kept + _coming(ledger, bound) - _going(ledger) - bound


def lack(ledger: Ledger, *, free: int, spare: int) -> int:
    """The bytes to remove, so that arriving files find room on a disk with `free` bytes, of which `spare` are left to others. 0 or less: there is room.

    What has arrived of a file counts twice. No room is made for a file for which the removal of all others is not enough.
    """
    coming = _coming(ledger, ledger.kept + free - spare)
    return coming + spare - _going(ledger) - free if coming else 0


def _coming(ledger: Ledger, most: int) -> int:
    """The bytes of the arriving files with at most so many each."""
    # A file that arrives twice is kept once. After a kill its first arrival stays until it is overdue.
    return sum(
        {each.sha256 or token: each.size for token, each in ledger.arriving.items() if each.size <= most}.values()
    )


def _going(ledger: Ledger) -> int:
    return sum(each.size for each in ledger.leaving.values())


def overdue(ledger: Ledger, now: Timestamp) -> tuple[Mapping[str, Reservation], list[str]]:
    """The overdue arrivals by token, and the sha256 of each overdue removal."""
    return (
        {token: arrival for token, arrival in ledger.arriving.items() if arrival.until <= now},
        [key for key, departure in ledger.leaving.items() if departure.until <= now],
    )


Judgement = Literal["forget", "move", "stay", "leave"]


def judge(
    place: Timestamp,
    record: FileRecord | None,
    ledger: Ledger,
    key: Sha256,
    *,
    used: Timestamp,
    pinned: bool,
    bound: int,
) -> Judgement:
    """Decide what happens to an entry at the front of the order, which has this `place`.

    forget   the entry is dropped: its file has another place, is pinned, or was removed
    move     the file gets the place `used`, since it was used after it got this one; or none, since it is pinned
    stay     nothing: the file is arriving again, or is being removed already
    leave    the file is removed: of all files in the order it was used least recently
    """
    if record is None or record.era != ledger.era or record.place != place or record.is_pinned:
        return "forget"
    if key in ledger.leaving or any(arrival.sha256 == key for arrival in ledger.arriving.values()):
        return "stay"
    return "move" if pinned or (used > place and record.size <= bound) else "leave"


def place_of(size: int, now: Timestamp, *, bound: int) -> Timestamp:
    """The place of a new file in the order. A file that is larger than the bound has the first place, however recently it is used."""
    return now if size <= bound else Timestamp(0)
