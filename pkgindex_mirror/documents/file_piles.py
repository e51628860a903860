"""Files of a page of any length, as bytes: a million `File`s would be a gigabyte.

    add ─► buffer ─ full ─► sorted, encoded ─► blocks of one run … several runs ─ settle ─► one run, each name once

The files of an upstream that sorts them (most do) are one run. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Final

import msgspec

from pkgindex_core.models import File, decode_file, encode_file

_BUFFER: Final = 8192
"""Files that are sorted together."""
_BLOCK: Final = 256
"""Files that are encoded and decoded together."""

_Pair = tuple[str, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes]])
_filename = itemgetter(0)


class FilePile:
    """Files by filename. Filled with `add`, settled once, then read any number of times."""

    def __init__(self, files: Iterable[File] = ()) -> None:
        self._buffer: list[_Pair] = []
        self._runs: list[list[bytes]] = []
        self._last = ""
        self._count = 0
        for file in files:
            self.add(file)

    def __len__(self) -> int:
        """Before `settle`, the number of `add`s; afterwards the number of filenames."""
        return self._count

    def __iter__(self) -> Iterator[File]:
        return (decode_file(body) for _, body in self.bodies())

    def bodies(self) -> Iterator[_Pair]:
        """Each filename with its encoded file (`encode_file`)."""
        for run in self._runs:
            for block in run:
                yield from _decoder.decode(block)

    def add(self, file: File) -> None:
        self._buffer.append((file.filename, encode_file(file)))
        self._count += 1
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def settle(self) -> Iterator[str]:
        """Keep the first file of each name; yield the names that came again with another file. Exhaust this before reading."""
        self._flush()
        runs, self._runs = self._runs, [[]]
        self._count = 0
        block: list[_Pair] = []
        last: _Pair = ("", b"")
        for pair in merge(*(_read(run) for run in runs), key=_filename):
            if pair[0] == last[0]:
                if pair[1] != last[1]:
                    yield pair[0]
                continue
            last = pair
            block.append(pair)
            if len(block) == _BLOCK:
                self._keep(block)
                block = []
        if block:
            self._keep(block)

    def _keep(self, block: list[_Pair]) -> None:
        self._runs[0].append(_encode(block))
        self._count += len(block)

    def _flush(self) -> None:
        if not self._buffer:
            return
        self._buffer.sort(key=_filename)  # stable: the first of a name stays the first
        if not self._runs or self._buffer[0][0] < self._last:
            self._runs.append([])
        self._last = self._buffer[-1][0]
        for start in range(0, len(self._buffer), _BLOCK):
            self._runs[-1].append(_encode(self._buffer[start : start + _BLOCK]))
        self._buffer.clear()


def _read(run: list[bytes]) -> Iterator[_Pair]:
    """Read a run and empty it, so that the pile is not in memory twice while it is settled."""
    run.reverse()
    while run:
        yield from _decoder.decode(run.pop())
