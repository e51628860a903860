"""Columns of a page: single fields of all its files, read from their JSON objects without decoding these.

A key with its quotes never occurs inside a JSON text, since quotes in texts are escaped. Each column is read when it is first used. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

_FILENAME: Final = b'"filename":"'
_SIZE: Final = re.compile(rb'"size":([0-9]+)')
_TIME: Final = b'"upload-time":"'
_SECONDS: Final = len("2026-11-30T00:00:00")


class Columns:
    """The fields that rules look at first. `objects` are the files' JSON objects as pages show them, perhaps without their ends."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    @cached_property
    def times(self) -> Sequence[bytes]:
        """The times that pages show, in UTC and whole seconds: `2026-11-30T00:00:00`; empty where there is none. They sort as the times do."""
        first, last = len(_TIME), len(_TIME) + _SECONDS
        return [each[at + first : at + last] if (at := each.find(_TIME)) >= 0 else b"" for each in self._objects]

    @cached_property
    def sizes(self) -> Sequence[int]:
        """The sizes in bytes; -1 where there is none."""
        return [int(found[1]) if (found := _SIZE.search(each)) is not None else -1 for each in self._objects]

    @cached_property
    def names(self) -> Sequence[bytes]:
        """The filenames in lower case, as JSON spells them."""
        found = []
        for each in self._objects:
            start = each.find(_FILENAME) + len(_FILENAME)
            found.append(each[start : each.find(b'"', start)].lower())
        return found

    def having(self, text: bytes) -> Sequence[int]:
        """The places of files whose objects have a text anywhere."""
        return [at for at, each in enumerate(self._objects) if text in each]
