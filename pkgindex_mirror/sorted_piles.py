"""Long lists of values that are sorted by a name, as bytes: what a million names take as strings would not fit.

add ─► buffer ─ full ─► sorted, and encoded in blocks ─► runs ─ merged while they are read
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar

_BUFFER: Final = 16_384
"""Values that are sorted together."""
_BLOCK: Final = 512
"""Values that are encoded and decoded together."""

Named = TypeVar("Named", bound=tuple[Any, ...])
_name_of = itemgetter(0)


class SortedPile(Generic[Named]):
    """Tuples in the order of their first item, a text. Filled with `add`, then iterated any number of times.

    Values with one name keep the order in which they were added. A name and the other items may not contain a line feed.
    """

    def __init__(self, write: Callable[[Named], str], read: Callable[[str], Named]) -> None:
        """`write` makes one line of a value, and `read` the value of a line."""
        self._write = write
        self._read = read
        self._runs: list[list[bytes]] = []
        self._last = ""
        self._buffer: list[Named] = []

    def __bool__(self) -> bool:
        return bool(self._buffer or self._runs)

    def add(self, value: Named) -> None:
        self._buffer.append(value)
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def clear(self) -> None:
        """Forget all values."""
        self._runs.clear()
        self._buffer.clear()

    def __iter__(self) -> Iterator[Named]:
        self._flush()
        if len(self._runs) == 1:
            return self._values(self._runs[0])
        # `merge` is stable: of equal names, that of the earlier run comes first.
        return merge(*map(self._values, self._runs), key=_name_of)

    def _flush(self) -> None:
        if not self._buffer:
            return
        self._buffer.sort(key=_name_of)
        if not self._runs or self._buffer[0][0] < self._last:
            self._runs.append([])
        self._last = self._buffer[-1][0]
        for start in range(0, len(self._buffer), _BLOCK):
            self._runs[-1].append("\n".join(map(self._write, self._buffer[start : start + _BLOCK])).encode())
        self._buffer.clear()

    def _values(self, run: list[bytes]) -> Iterator[Named]:
        for block in run:
            yield from map(self._read, block.decode().split("\n"))
