"""Lets the processes that share a data directory fetch a file once: one process fetches it, and the others read its bytes meanwhile.

Each fetch has a note file in the data directory. The process that fetches has a lock on it, which ends with the process.

    this process has the lock     ─► it fetches. It writes the path of the arriving bytes into the note file (`Turn.tell`), and in the end
                                     their sha256 (`Turn.stored`)
    another process has the lock  ─► this process reads the bytes at that path, as they arrive. When the lock ends:
                                     the note file has a sha256 ─► the blob is stored
                                     it has none                ─► the fetch failed. This process fetches, unless its readers have bytes

Bytes of two fetches are never mixed: each fetch has a spool of its own, which its note file names. A killed process leaves the note file of its
fetch. The next fetch of the same file uses it, and the first fetch of a process removes note files that are not locked.

The process that fetches verifies the bytes. Until then every process holds the last ones back. A process on another machine fetches for
itself, and so does each process where files cannot be locked.

The note file is opened, locked and read in the event loop: it lies beside the database, on a local disk, and has a hundred bytes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Unavailable
from pkgindex_core.tools.reading_locks import mark_as_read
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.readthrough.files.cold_files import ArrivingFile

POLL: Final = 0.01
"""Seconds between two looks at the fetch of another process."""
_PIECE: Final = 256 * 1024
_TOLD_LIMIT: Final = 16 * 1024

_log = logging.getLogger(__name__)


class _Told(Struct, frozen=True, array_like=True):
    """The content of a note file."""

    spool: str = ""
    """The local file with the bytes so far; empty when there is none."""
    size: int | None = None
    sha256: Sha256 | None = None
    """The key of the blob, once it is stored."""


_NOTHING = _Told()
_decoder = msgspec.json.Decoder(_Told)


class Turn:
    """The turn of this process to fetch a file."""

    def __init__(self, place: _FetchFile | None = None) -> None:
        self._place = place
        self._spool = ""

    def tell(self, spool: Path, size: int | None) -> None:
        """Tell the other processes that the bytes so far can be read from `spool`. `size`: of the whole file, None when it is not known."""
        self._spool = str(spool)
        if self._place is not None:
            self._place.write(_Told(self._spool, size))

    def stored(self, sha256: Sha256) -> None:
        """Tell the other processes that the file is stored."""
        if self._place is not None:
            self._place.write(_Told(self._spool, sha256=sha256))


class SharedFetches:
    """Shares fetches with the other processes that have their note files in `directory`, which is made when it is missing."""

    def __init__(self, directory: Path, workers: Executor) -> None:
        self._directory = directory
        self._workers = workers
        self._is_swept = False

    @asynccontextmanager
    async def turn(self, key: str, arriving: ArrivingFile) -> AsyncIterator[Turn | Sha256]:
        """Wait until this process may fetch the file named `key`, or until another process has stored it: then return its sha256.

        Meanwhile `arriving` gets the bytes of the other process. Raises `Unavailable` if that process fails after readers may have got some.
        """
        path = self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}.fetch"
        following = _Following(arriving, self._workers)
        self._sweep()
        try:
            while True:
                try:
                    place = _FetchFile(path)
                except OSError as error:
                    _log.debug("fetches are not shared with other processes: %s", error.strerror)
                    yield Turn()
                    return
                try:
                    while not place.lock():
                        await following.read_on(place.read())
                        await asyncio.sleep(POLL)
                    if not place.is_over():
                        following.require("")
                        place.write(_NOTHING)
                        try:
                            yield Turn(place)
                        finally:
                            place.end()
                        return
                    told = place.read()
                    following.require(told.spool if told.sha256 else "")
                    if told.sha256 is not None:
                        yield told.sha256
                        return
                finally:
                    place.close()
        finally:
            following.close()

    def _sweep(self) -> None:
        """Remove the note files that killed processes left, once."""
        if self._is_swept:
            return
        self._is_swept = True
        with suppress(OSError):
            for path in self._directory.glob("*.fetch"):
                place = _FetchFile(path)
                if place.lock() and not place.is_over():
                    place.end()
                place.close()


class _FetchFile:
    """The note file of one fetch."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be opened."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def lock(self) -> bool:
        """Try to lock the file. True: this process has the lock, or files cannot be locked here."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            _log.debug("fetches are not shared with other processes: %s", error.strerror)
        return True

    def is_over(self) -> bool:
        """Whether another process has ended the fetch: it removed the name of the file, whose content is the result."""
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self._path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return True

    def read(self) -> _Told:
        try:
            return _decoder.decode(os.pread(self._descriptor, _TOLD_LIMIT, 0))
        except (OSError, msgspec.DecodeError):  # empty, or written just now
            return _NOTHING

    def write(self, told: _Told) -> None:
        with suppress(OSError):  # a full disk: the others wait until the fetch has ended
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, msgspec.json.encode(told), 0)

    def end(self) -> None:
        """Remove the name, so that the next fetch has a file of its own."""
        with suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        os.close(self._descriptor)


class _Following:
    """Hands the bytes of another process's fetch to the readers of this process."""

    def __init__(self, arriving: ArrivingFile, workers: Executor) -> None:
        self._arriving = arriving
        self._workers = workers
        self._descriptor: int | None = None
        self._offset = 0
        self._spool = ""

    async def read_on(self, told: _Told) -> None:
        """Hand on the bytes that have arrived since the last call. Raises `Unavailable` if they are of another fetch than before."""
        if not told.spool:
            return
        self.require(told.spool)
        if self._descriptor is None:
            try:
                self._descriptor = os.open(told.spool, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:  # just moved to the blobs
                return
            self._spool = told.spool
            self._arriving.open(told.size)
        # The other process may store the bytes as a blob and remove that, while this process still reads.
        mark_as_read(self._descriptor)
        with suppress(OSError):  # a failing disk fails the other process too, which ends the fetch
            while data := await in_worker(self._workers, os.pread, self._descriptor, _PIECE, self._offset):
                self._offset += len(data)
                if self._arriving.append(data):
                    self._arriving.flushed(Path(told.spool))

    def require(self, spool: str) -> None:
        """Raise `Unavailable` if readers may have bytes, or a size, of another fetch than that with `spool`: those could differ."""
        if self._spool not in {"", spool}:
            raise Unavailable("the process that fetched the file has failed or ended")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
