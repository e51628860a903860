"""Long lists of values that are sorted by a name, as bytes: what a million names take as strings would not fit.

add ─► buffer ─ full ─► sorted, and encoded in blocks ─► runs ─ merged while they are read
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar

import msgspec

_BUFFER: Final = 16_384
"""Values that are sorted together."""
_BLOCK: Final = 512
"""Values that are encoded and decoded together."""

Named = TypeVar("Named", bound=tuple[Any, ...])
_encode: Final = msgspec.msgpack.Encoder().encode
_name_of = itemgetter(0)


class SortedPile(Generic[Named]):
    """Tuples in the order of their first item, a text. Filled with `add` and `extend`, then iterated any number of times.

    Values with one name keep the order in which they were added.
    """

    def __init__(self, kind: Any) -> None:
        """`kind`: the type of the tuples, as msgspec decodes it."""
        self._decode = msgspec.msgpack.Decoder(list[kind]).decode
        self._runs: list[list[bytes]] = []
        self._last = ""
        self._buffer: list[Named] = []

    def __bool__(self) -> bool:
        return bool(self._buffer or self._runs)

    def add(self, value: Named) -> None:
        self._buffer.append(value)
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def extend(self, values: Iterable[Named]) -> None:
        self._buffer.extend(values)
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
            self._runs[-1].append(_encode(self._buffer[start : start + _BLOCK]))
        self._buffer.clear()

    def _values(self, run: list[bytes]) -> Iterator[Named]:
        for block in run:
            yield from self._decode(block)
