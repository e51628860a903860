"""The entries of a JSON list of projects: from their bytes to a pile. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.names import normalized_or_none, normalized_or_unknown
from pkgindex_mirror.documents.page_fields import ReadingRemarks
from pkgindex_mirror.syncing.listed_piles import ListedPile

_SERIAL_LIMIT: Final = 10**18


class _ListEntry(Struct, gc=False):
    name: Any = None
    serial: Any = msgspec.field(name="_last-serial", default=None)


_decoder = msgspec.json.Decoder(list[_ListEntry])


def decode_entries(items: bytes) -> list[Any] | None:
    """The entries of a part of the array, without its brackets; None when it is not JSON."""
    text = b"[" + items + b"]"
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError:  # something in it is no object
        found: list[Any] = msgspec.json.decode(text)
        return [
            _ListEntry(item.get("name"), item.get("_last-serial")) if isinstance(item, dict) else None for item in found
        ]
    except (msgspec.DecodeError, RecursionError):
        return None


class EntryTaking:
    """Puts entries into a pile. Those without a valid name are noted, and left out."""

    def __init__(self, pile: ListedPile, notes: ReadingRemarks) -> None:
        self._pile = pile
        self._notes = notes
        self.highest = -1
        """The highest serial of a project."""
        self.without_serial = 0
        """The number of projects without a serial."""

    def add(self, entries: list[Any]) -> None:
        """Add what `decode_entries` returned."""
        if not self._add_together(entries):
            self._add_one_by_one(entries)

    def _add_together(self, entries: list[Any]) -> bool:
        """Add the entries if all of them are plain, as nearly all are."""
        try:
            raws = [entry.name for entry in entries]
            serials = [entry.serial for entry in entries]
        except AttributeError:
            return False
        if {*map(type, raws)} != {str} or {*map(type, serials)} != {int}:
            return False
        names, lowest, highest = normalized_or_unknown(raws), min(serials), max(serials)
        if names is None or lowest < 0 or highest >= _SERIAL_LIMIT:
            return False
        self.highest = max(self.highest, highest)
        self._pile.extend(names, raws, serials)
        return True

    def _add_one_by_one(self, entries: list[Any]) -> None:
        for entry in entries:
            spelled = entry.name if isinstance(entry, _ListEntry) else None
            name = normalized_or_none(spelled) if isinstance(spelled, str) else None
            if name is None or spelled is None:
                self._notes.add(f"the project name {str(spelled)[:80]!r} was left out")
                continue
            serial = parse_serial(entry.serial)
            if serial is None:
                self.without_serial += 1
            elif serial > self.highest:
                self.highest = serial
            self._pile.add(name, spelled, serial)


def parse_serial(value: Any) -> int | None:
    """A serial; bandersnatch writes it as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(_SERIAL_LIMIT)):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SERIAL_LIMIT else None
