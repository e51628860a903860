"""Columns of a page: single fields of all its files, read from their JSON objects without decoding these.

A key with its quotes never occurs inside a JSON text, since quotes in texts are escaped. Each column is read when it is first used, and then
kept: rules share it, and so do pages that are made of the same bytes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

_FILENAME: Final = b'"filename":"'
_SIZE: Final = re.compile(rb'"size":([0-9]+)')
_TIME: Final = re.compile(rb'"upload-time":"(.{19})')
_Column = TypeVar("_Column")


class Columns:
    """The fields that rules look at first."""

    def __init__(
        self,
        objects: Callable[[], Sequence[bytes]],
        text: Callable[[], bytes],
        spelled: Callable[[], Sequence[str]],
        known: dict[str, Any] | None = None,
    ) -> None:
        """`objects` cuts the files' JSON objects out, as pages show them, perhaps without their ends; `text` has all of them. `spelled` reads the versions of the files,
        which no page shows. `known`: the columns that were read before, to which more are added.
        """
        self._objects = objects
        self._text = text
        self._spelled = spelled
        self._known: dict[str, Any] = {} if known is None else known

    @property
    def times(self) -> Sequence[bytes]:
        """The times that pages show, in UTC and whole seconds: `2026-11-30T00:00:00`; empty where there is none. They sort as the times do."""
        return self._column("times", lambda: self._each(_TIME, b""))

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes in bytes; -1 where there is none."""
        return self._column("sizes", lambda: [*map(int, self._each(_SIZE, b"-1"))])

    @property
    def names(self) -> Sequence[bytes]:
        """The filenames in lower case, as JSON spells them."""
        return self._column(
            "names", lambda: [each.partition(_FILENAME)[2].partition(b'"')[0].lower() for each in self._objects()]
        )

    @property
    def versions(self) -> Sequence[str]:
        """The versions, as they are spelled."""
        return self._column("versions", self._spelled)

    @property
    def distinct(self) -> Collection[str]:
        """Each spelling of a version once."""
        return self._column("distinct", lambda: dict.fromkeys(self.versions))

    def having(self, text: bytes) -> Sequence[int]:
        """The places of files whose objects have a text anywhere."""
        return [at for at, each in enumerate(self._objects()) if text in each] if text in self._text() else ()

    def _each(self, key: re.Pattern[bytes], missing: bytes) -> Sequence[bytes]:
        """The value of a key in each object, which has it at most once. One search through all takes less time than cutting each, or decoding."""
        found: list[bytes] = key.findall(self._text())
        if len(found) == len(self.versions):
            return found
        return [value[1] if (value := key.search(each)) is not None else missing for each in self._objects()]

    def _column(self, name: str, read: Callable[[], _Column]) -> _Column:
        if name not in self._known:
            self._known[name] = read()
        found: _Column = self._known[name]
        return found
