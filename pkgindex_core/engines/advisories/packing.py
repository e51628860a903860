"""The format of a book: written once from all records, then read in place.

    magic | length of the head | head (msgpack) | keys of projects, sorted | places of frames | keys of identifiers, sorted | their projects | frames

A key is 8 bytes of BLAKE2b. The projects with one key have two frames: their advisories, and the records of those whose first project that is. Frames are compressed
alone, with one dictionary for each kind, so a lookup reads and decodes one frame. Only the numbers are mapped into memory.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Corrupt
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory, FeedState

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC: Final = b"pkgindex advisories 1\n\0\0"
_LENGTH: Final = struct.Struct("<Q")
_U64: Final = 8
_DICTIONARY_BYTES: Final = 64 << 10
_SAMPLES: Final = 2_000
_LEVEL: Final = 9
_FEWEST_SAMPLES: Final = 100
"""A dictionary of fewer records is not worth its bytes."""


class Item(Struct, frozen=True):
    """An advisory and, in the group that has it, its record."""

    advisory: Advisory
    record: bytes = b""


class _BookHead(Struct, frozen=True):
    state: FeedState
    revision: str
    projects: int
    identifiers: int
    dictionaries: tuple[bytes, bytes]
    """For the frames of advisories and those of records; empty ones for a small book."""


_advisories: Final = msgspec.msgpack.Decoder(tuple[Advisory, ...])
_records: Final = msgspec.msgpack.Decoder(tuple[bytes, ...])


def key_of(name: str) -> int:
    """The key of a project or an identifier."""
    return int.from_bytes(blake2b(name.encode(), digest_size=_U64).digest(), "little")


def write_book(
    target: Path,
    groups: Sequence[tuple[int, Sequence[str]]],
    items: Callable[[int, Sequence[str]], Sequence[Item]],
    state: FeedState,
) -> None:
    """Write a book and synchronise it to disk.

    `groups`: the keys of projects in their order, each with the identifiers of its advisories (see `grouped`). `items` reads those of one group.
    """
    step = max(1, len(groups) // _SAMPLES)
    samples = list(zip(*(_frames(items(*group)) for group in groups[::step]), strict=True))
    dictionaries = [_trained(each) for each in samples]
    compressors = [zstd.ZstdCompressor(_LEVEL, zstd_dict=each) for each in dictionaries]
    places: list[int] = []
    identifiers: list[tuple[int, int]] = []
    content = blake2b(digest_size=12)
    frames = target.with_name(f"{target.name}.frames")
    try:
        offset = 0
        with frames.open("wb") as out:
            for number, group in enumerate(groups):
                found = items(*group)
                identifiers += [(key_of(each.advisory.id), number) for each in found if each.record]
                for body, compressor in zip(_frames(found), compressors, strict=True):
                    content.update(body)
                    places.append(offset)
                    offset += out.write(compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME))
        places.append(offset)
        identifiers.sort()
        said = [b"" if each is None else bytes(each.dict_content) for each in dictionaries]
        head = msgspec.msgpack.encode(
            _BookHead(state, content.hexdigest(), len(groups), len(identifiers), (said[0], said[1]))
        )
        with target.open("wb") as out, frames.open("rb") as body_of:
            out.write(_MAGIC + _LENGTH.pack(len(head)) + head + bytes(-len(head) % _U64))
            for numbers in ([key for key, _ in groups], places, [key for key, _ in identifiers]):
                out.write(struct.pack(f"<{len(numbers)}Q", *numbers))
            out.write(struct.pack(f"<{len(identifiers)}Q", *(number for _, number in identifiers)))
            while data := body_of.read(1 << 20):
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
    finally:
        frames.unlink(missing_ok=True)


def _frames(items: Sequence[Item]) -> tuple[bytes, bytes]:
    encode = msgspec.msgpack.encode
    return encode([each.advisory for each in items]), encode([each.record for each in items])


def _trained(samples: Sequence[bytes]) -> zstd.ZstdDict | None:
    return zstd.train_dict(samples, _DICTIONARY_BYTES) if len(samples) >= _FEWEST_SAMPLES else None


class Book:
    """A book in a file. The file stays open, so a new one in its place does not matter."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)  # a reader may still use a book that was replaced
        try:
            self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            start = len(_MAGIC) + _LENGTH.size
            if self._map[: len(_MAGIC)] != _MAGIC:
                raise ValueError("it does not begin as a book does")
            (size,) = _LENGTH.unpack(self._map[len(_MAGIC) : start])
            head = msgspec.msgpack.decode(self._map[start : start + size], type=_BookHead)
            self._numbers(start + size + -size % _U64, head)
        except (ValueError, struct.error, msgspec.DecodeError) as error:
            raise Corrupt(f"{path} is no whole book of advisories: {error}", hint="take the feed in again") from error
        self.state: Final = head.state
        self.revision: Final = head.revision
        self._dictionaries = [zstd.ZstdDict(each) if each else None for each in head.dictionaries]

    def _numbers(self, start: int, head: _BookHead) -> None:
        view = memoryview(self._map)

        def numbers(count: int) -> memoryview[Any]:
            nonlocal start
            found = view[start : start + count * _U64].cast("Q")
            start += count * _U64
            if len(found) != count:
                raise ValueError("it is cut off")
            return found

        self._keys = numbers(head.projects)
        self._places = numbers(2 * head.projects + 1)
        self._identifiers = numbers(head.identifiers)
        self._owners = numbers(head.identifiers)
        self._start = start
        if len(self._map) != start + self._places[2 * head.projects]:
            raise ValueError("it is cut off")

    def about(self, project: ProjectName) -> tuple[Advisory, ...]:
        """The advisories that name a project, in the order of their identifiers."""
        at = _found(self._keys, key_of(project))
        if at is None:
            return ()
        advisories = _advisories.decode(self._frame(at, 0))
        return tuple(each for each in advisories if any(affected.project == project for affected in each.affected))

    def record(self, identifier: str) -> bytes | None:
        """The record with an identifier."""
        key = key_of(identifier)
        at = _found(self._identifiers, key)
        while at is not None and at < len(self._identifiers) and self._identifiers[at] == key:
            owner = self._owners[at]
            for advisory, record in zip(
                _advisories.decode(self._frame(owner, 0)), _records.decode(self._frame(owner, 1)), strict=True
            ):
                if advisory.id == identifier and record:
                    return record
            at += 1
        return None

    def _frame(self, project: int, kind: int) -> bytes:
        place = 2 * project + kind
        start, stop = self._places[place], self._places[place + 1]
        # Read and not mapped: what was read once would stay in the memory of each process.
        frame = os.pread(self._descriptor, stop - start, self._start + start)
        return zstd.decompress(frame, zstd_dict=self._dictionaries[kind])


def grouped(names: Iterable[tuple[ProjectName, str]]) -> list[tuple[int, list[str]]]:
    """Identifiers by the key of their projects, all in order."""
    found: dict[int, set[str]] = {}
    for project, identifier in names:
        found.setdefault(key_of(project), set()).add(identifier)
    return [(key, sorted(found[key])) for key in sorted(found)]


def _found(keys: memoryview[Any], key: int) -> int | None:
    at = bisect_left(keys, key)
    return at if at < len(keys) and keys[at] == key else None
