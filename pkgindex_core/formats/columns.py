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
_TIME: Final = b'"upload-time":"'
_Column = TypeVar("_Column")
_SECONDS: Final = len("2026-11-30T00:00:00")


class Columns:
    """The fields that rules look at first."""

    def __init__(
        self,
        objects: Callable[[], Sequence[bytes]],
        spelled: Callable[[], Sequence[str]],
        known: dict[str, Any] | None = None,
    ) -> None:
        """`objects` cuts the files' JSON objects out, as pages show them, perhaps without their ends. `spelled` reads the versions of the files,
        which no page shows. `known`: the columns that were read before, to which more are added.
        """
        self._objects = objects
        self._spelled = spelled
        self._known: dict[str, Any] = {} if known is None else known

    @property
    def times(self) -> Sequence[bytes]:
        """The times that pages show, in UTC and whole seconds: `2026-11-30T00:00:00`; empty where there is none. They sort as the times do."""
        # Faster than one search through all objects, and than decoding them.
        return self._column("times", lambda: [each.partition(_TIME)[2][:_SECONDS] for each in self._objects()])

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes in bytes; -1 where there is none."""
        search = _SIZE.search
        return self._column(
            "sizes", lambda: [int(found[1]) if (found := search(each)) is not None else -1 for each in self._objects()]
        )

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
        return [at for at, each in enumerate(self._objects()) if text in each]

    def _column(self, name: str, read: Callable[[], _Column]) -> _Column:
        if name not in self._known:
            self._known[name] = read()
        found: _Column = self._known[name]
        return found
