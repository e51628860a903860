"""The files of a dump on a local disk. A power cut leaves a shorter dump, never a wrong one.

A file is written beside its place, synced, renamed, and its directory synced. So every file of a dump is whole, and an
export goes on from the files that are there. Directories are 0700 and files 0600, because dumps contain password hashes.
A lock admits one writing process at a time, and ends with the process. Blocking; called in workers.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from pkgindex_core.changes import Commit
from pkgindex_core.errors import Conflict, PkgIndexError, Refused, StorageFull, Unavailable
from pkgindex_core.formats.store_dump import (
    Manifest,
    MissingBlob,
    Segment,
    SegmentReader,
    contiguous,
    decode_gone,
    encode_gone,
    encode_segment,
    parse_segment,
    read_manifest,
)

_MANIFEST: Final = "dump.json"
_COMMITS: Final = "commits"
_GONE: Final = "gone.jsonl"
_LOCK: Final = ".lock"
BLOBS: Final = "blobs"


class DumpDirectory:
    """One dump. The constructor does not touch the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def blobs_url(self) -> str:
        """The URL of the dump's blobs, for a blob store of local files."""
        return (self.path.absolute() / BLOBS).as_uri()

    def manifest(self) -> Manifest | None:
        """The manifest of the dump; None when there is no dump yet."""
        with _translated(self.path):
            try:
                return read_manifest((self.path / _MANIFEST).read_bytes())
            except FileNotFoundError:
                return None
            except NotADirectoryError as error:
                raise Refused(f"{self.path} is not a directory") from error

    def begin(self, store: str) -> None:
        """Begin a new dump, or go on with one of the same store."""
        manifest = self.manifest()
        if manifest is not None:
            if manifest.store != store:
                raise Conflict(
                    f"{self.path} holds a dump of another store ({manifest.store})",
                    hint="export into another directory",
                )
            return
        with _translated(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            strangers = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if set(strangers) - {_COMMITS, BLOBS}:
                raise Conflict(
                    f"{self.path} is not empty and holds no dump", hint="export into an empty or a new directory"
                )
            self.path.chmod(0o700)
            for directory in (_COMMITS, BLOBS):
                (self.path / directory).mkdir(mode=0o700, exist_ok=True)
            self._write(_MANIFEST, msgspec.json.format(msgspec.json.encode(Manifest(store=store)), indent=2) + b"\n")

    def segments(self) -> tuple[Segment, ...]:
        """The segments of the dump. Checks by their names that none is missing."""
        with _translated(self.path):
            entries = [parse_segment(entry.name) for entry in (self.path / _COMMITS).iterdir()]
        return contiguous(segment for segment in entries if segment is not None)

    def write_segment(self, commits: list[Commit]) -> int:
        """Append commits as a segment; return the number of bytes."""
        segment = Segment(commits[0].serial, commits[-1].serial)
        data = encode_segment(commits)
        with _translated(self.path):
            self._write(f"{_COMMITS}/{segment.filename}", data)
        return len(data)

    def check_segment(self, segment: Segment) -> None:
        """Read a segment and compare it with its digest."""
        with _translated(self.path), self._open(segment) as lines:
            SegmentReader(segment).check(lines)

    def commits(self, segment: Segment) -> Iterator[Commit]:
        """The commits of a checked segment, one in memory at a time."""
        with _translated(self.path), self._open(segment) as lines:
            yield from SegmentReader(segment).commits(lines)

    def last_commit(self) -> Commit | None:
        """The newest commit of the dump."""
        segments = self.segments()
        if not segments:
            return None
        self.check_segment(segments[-1])
        return deque(self.commits(segments[-1]), maxlen=1)[0]

    def gone(self) -> tuple[MissingBlob, ...]:
        """The blobs that the dump lists as missing."""
        with _translated(self.path):
            try:
                return decode_gone((self.path / _GONE).read_bytes())
            except FileNotFoundError:
                return ()

    def write_gone(self, gone: list[MissingBlob]) -> None:
        with _translated(self.path):
            self._write(_GONE, encode_gone(gone))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the dump against other writers."""
        with _translated(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"another export is writing into {self.path}", hint="wait for it, or export elsewhere"
                ) from error
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _open(self, segment: Segment) -> Iterator[Iterator[bytes]]:
        with (self.path / _COMMITS / segment.filename).open("rb") as stream:
            yield stream

    def _write(self, name: str, data: bytes) -> None:
        target = self.path / name
        draft = target.with_name(f".{target.name}.part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(target)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate errors of the operating system. Messages name the path, which the user has given."""
    try:
        yield
    except PkgIndexError:
        raise
    except FileNotFoundError as error:
        raise Refused(
            f"{path} is not a complete dump: {error.filename} is missing", hint="copy the dump again"
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(
                f"no room for the dump in {path}: {reason}",
                hint="free space and run the same command again: it goes on where it stopped",
            ) from error
        raise Unavailable(
            f"the dump in {path} cannot be used: {reason}", hint="check the directory and its disk"
        ) from error
