"""Long lists on disk, for the other processes of a host and for the next start.

    length, description (`_Description`), body

A list is named by its key, which means something in one store only, and only as long as that is not set back: a database that was restored
uses its serials again. So the description has the identity of the store and the time of writing, and the list's newest commit must be older than
that.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.compression import GzipPart
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.mapped_files import MappedFile, MappedFiles
from pkgindex_core.tools.workers import in_worker

_FORMAT: Final = 1
"""Increase when the meaning of anything below changes, or the bytes of a list under the same tag."""
_LENGTH: Final = struct.Struct("<I")
_USED_SECONDS: Final = 600.0
"""A file that is in use is marked as used so often."""


class ListSection(Struct, frozen=True):
    """The names behind the section before, up to a name."""

    bound: ProjectName | None
    """None: to the end."""
    hosted: Sha256
    """Names the hosted rows, which would take more memory than the body."""
    part: GzipPart


class KeptList(Struct, frozen=True, kw_only=True):
    """A body, and the sections as views of it."""

    tag: str
    serial: Serial
    sections: Sequence[ListSection]
    first: int
    """Where the sections begin in the body."""
    body: bytes | memoryview
    file: MappedFile | None = None
    """The file that has the body; None: it is in memory."""


class _WrittenSection(Struct, frozen=True, array_like=True):
    bound: ProjectName | None
    hosted: Sha256
    crc: int
    size: int
    length: int


class _Description(Struct, frozen=True, kw_only=True, array_like=True):
    format: int
    store: str
    key: str
    tag: str
    serial: Serial
    written: Timestamp
    first: int
    length: int
    """That of the body."""
    sections: Sequence[_WrittenSection]


class _AnyDescription(Struct, frozen=True, array_like=True):
    """The beginning of a description of any version."""

    format: int


_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder(_AnyDescription).decode
_decode = msgspec.msgpack.Decoder(_Description).decode


class _CommitTimes(Protocol):
    async def serial_at(self, moment: Timestamp) -> Serial: ...


class ListFiles:
    """Keeps the latest list of each key in a directory."""

    def __init__(
        self,
        directory: Path,
        *,
        limit: int,
        store: _CommitTimes,
        identity: Callable[[], Awaitable[str]],
        clock: Clock,
        workers: Executor,
    ) -> None:
        """`limit`: bytes of all files. `identity`: that of the store."""
        self._files = MappedFiles(directory, limit=limit)
        self._store = store
        self._identity_of = identity
        self._identity = ""
        self._clock = clock
        self._workers = workers
        self._used: dict[str, float] = {}

    async def read(self, key: str, former: KeptList | None) -> KeptList | None:
        """The list of this key; `former` if the file is still that one."""
        known = former.file if former is not None else None
        file = await in_worker(self._workers, partial(self._files.read, _name(key), known=known))
        if file is None or (file is known):
            return former
        described = _described(file.content)
        if described is None:
            return former
        description, start = described
        if description.key != key or description.store != await self._store_identity():
            return former
        if await self._store.serial_at(description.written) < description.serial:
            return former
        return _list_of(file, description, start) or former

    async def write(self, key: str, made: KeptList) -> KeptList:
        """The same list in a file, or as it is if that cannot be."""
        description = _Description(
            format=_FORMAT,
            store=await self._store_identity(),
            key=key,
            tag=made.tag,
            serial=made.serial,
            written=self._clock.now(),
            first=made.first,
            length=len(made.body),
            sections=[
                _WrittenSection(each.bound, each.hosted, each.part.crc, each.part.size, len(each.part.data))
                for each in made.sections
            ],
        )
        encoded = _encode(description)
        pieces = (_LENGTH.pack(len(encoded)), encoded, made.body)
        file = await in_worker(self._workers, partial(self._files.write, _name(key), pieces))
        if file is None:
            return made
        return _list_of(file, description, _LENGTH.size + len(encoded)) or made

    def use(self, key: str) -> None:
        """Note that the list of this key was asked for."""
        now = self._clock.monotonic()
        if now - self._used.get(key, now - _USED_SECONDS) >= _USED_SECONDS:
            self._used = {name: at for name, at in self._used.items() if now - at < _USED_SECONDS} | {key: now}
            self._files.touch(_name(key))

    async def _store_identity(self) -> str:
        self._identity = self._identity or await self._identity_of()
        return self._identity


def _name(key: str) -> str:
    return sha256_of(key.encode())


def _described(content: memoryview) -> tuple[_Description, int] | None:
    """The description, and where the body begins. None: of another version."""
    try:
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        if _decode_any(content[_LENGTH.size : start]).format != _FORMAT:
            return None
        return _decode(content[_LENGTH.size : start]), start
    except (struct.error, msgspec.DecodeError):
        return None


def _list_of(file: MappedFile, description: _Description, start: int) -> KeptList | None:
    """The list as views of the file. None: the description does not fit the file."""
    body = file.content[start:]
    ends = [*accumulate((each.length for each in description.sections), initial=description.first)]
    if len(body) != description.length or not 0 <= ends[0] <= ends[-1] <= len(body):
        return None
    sections = [
        ListSection(each.bound, each.hosted, GzipPart(body[place : place + each.length], each.crc, each.size))
        for each, place in zip(description.sections, ends, strict=False)
    ]
    return KeptList(
        tag=description.tag,
        serial=description.serial,
        sections=sections,
        first=description.first,
        body=body,
        file=file,
    )
