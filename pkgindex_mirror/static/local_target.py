"""A static tree in a local directory, for a web server of files.

    ROOT/.pkgindex/lock         held while a publisher works
    ROOT/.pkgindex/new/…        what is being written; moved to its path when it is whole

Files are hard links to the blobs if both lie on one file system, and copies otherwise. A web server runs as another user, so
published files get the mode 0644, and linked blobs with them. The private directory of the blobs still keeps other users out.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import Conflict, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore, Place
from pkgindex_core.tools.emptied_directories import remove_emptied
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.static.targets import Target, copy_checked

Result = TypeVar("Result")

_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS})
_FEW: Final = 256
"""So many new objects are synchronised one by one; of more, the whole system is."""
_AT_ONCE: Final = 16
"""Number of objects that are synchronised at the same time."""
_READABLE: Final = 0o644
_ENTERABLE: Final = 0o755


class LocalTarget:
    """A `Target` in a directory. Construct, then `open`."""

    def __init__(self, root: Path, *, blobs: BlobStore | None, workers: Executor) -> None:
        self._root = root
        self._new = root / ".pkgindex" / "new"
        self._blobs = blobs
        self._workers = workers
        self._operations = FileOperations()
        self._unsettled: list[Path] = []

    async def open(self) -> None:
        """Make the directory. `Refused` when it cannot be one."""

        def make() -> None:
            if self._root.exists() and not self._root.is_dir():
                raise Refused(f"{self._root} is no directory", hint="name a directory for the tree")
            self._new.mkdir(parents=True, exist_ok=True)

        await self._do("making the tree", make)

    async def read(self, path: str) -> bytes | None:
        def read() -> bytes | None:
            with suppress(FileNotFoundError, NotADirectoryError):
                return (self._root / path).read_bytes()
            return None

        return await self._do("reading the tree", read)

    async def write(self, objects: Mapping[str, bytes]) -> None:
        def write() -> (
            None
        ):  # all in one call of a worker: most objects are small, and a call takes longer than writing one
            for path, data in objects.items():
                self._write(path, data)

        await self._do("writing the tree", write)

    async def place(self, path: str, sha256: Sha256, outside: Place | None = None) -> None:
        if outside is not None:
            await self._do("writing the tree", partial(self._copy, path, outside, sha256))
            return
        assert self._blobs is not None
        found = await self._blobs.locate(sha256, filename=path.rpartition("/")[2])
        if isinstance(found, Path):
            await self._do("writing the tree", partial(self._link, path, found, sha256))
            return
        new = self._name()
        file = await self._do("writing the tree", lambda: new.open("xb"))
        try:
            async for chunk in self._blobs.read(sha256):
                await self._do("writing the tree", partial(file.write, chunk))
            await self._do("writing the tree", file.close)  # writes what is buffered, so it fails like a write
            await self._do("writing the tree", partial(self._move, new, path))
        except BaseException:
            with suppress(OSError):
                file.close()
            new.unlink(missing_ok=True)
            raise

    async def remove(self, paths: Iterable[str]) -> None:
        await self._do("tidying the tree", partial(self._remove, tuple(paths)))

    async def walk(self, below: str) -> AbstractSet[str]:
        def walk() -> set[str]:
            return {
                Path(directory, name).relative_to(self._root).as_posix()
                for directory, _, names in os.walk(self._root / below)
                for name in names
            }

        return await self._do("reading the tree", walk)

    async def settle(self) -> None:
        written, self._unsettled = self._unsettled, []
        if len(written) > _FEW:
            await self._do("writing the tree", os.sync)
            return
        # At the same time: a file system synchronises waiting files together.
        places = {*written, *(path.parent for path in written)}
        await side_by_side(places, lambda place: self._do("writing the tree", partial(_sync, place)), at_once=_AT_ONCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        descriptor = await self._do(
            "locking the tree", partial(os.open, self._new.parent / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        )
        try:
            if not self._operations.lock(descriptor, wait=False):
                raise Conflict(f"another publisher writes {self._root} now", hint="wait until it has ended")
            await self._do("tidying the tree", self._sweep)
            yield
        finally:
            os.close(descriptor)

    async def close(self) -> None:
        """Nothing is held open."""

    def _name(self) -> Path:
        return self._new / secrets.token_hex(8)

    def _write(self, path: str, data: bytes) -> None:
        new = self._name()
        try:
            new.write_bytes(data)
            failpoint("publish.written")
            self._move(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        failpoint("publish.moved")

    def _link(self, path: str, blob: Path, sha256: Sha256) -> None:
        new = self._name()
        try:
            try:
                os.link(blob, new)
            except FileNotFoundError as error:
                raise Missing("blob", sha256) from error
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                shutil.copyfile(blob, new)
            self._move(new, path)
        finally:
            new.unlink(missing_ok=True)  # POSIX: renaming a link to another link of the same file leaves both
        failpoint("publish.placed")

    def _copy(self, path: str, outside: Place, sha256: Sha256) -> None:
        new = self._name()
        try:
            with new.open("xb") as file:
                copy_checked(outside, sha256, file)
            self._move(new, path)
        finally:
            new.unlink(missing_ok=True)
        failpoint("publish.placed")

    def _move(self, new: Path, path: str) -> None:
        target = self._root / path
        new.chmod(_READABLE)
        try:
            new.replace(target)
        except FileNotFoundError:
            self._make_parents(target)
            new.replace(target)
        self._unsettled.append(target)

    def _make_parents(self, place: Path) -> None:
        """Make the directories of an object, which a web server may enter whatever the umask is."""
        for directory in reversed(place.relative_to(self._root).parents[:-1]):
            with suppress(FileExistsError):
                (self._root / directory).mkdir()
                (self._root / directory).chmod(_ENTERABLE)

    def _remove(self, paths: tuple[str, ...]) -> None:
        for path in paths:
            place = self._root / path
            place.unlink(missing_ok=True)
            remove_emptied(place, below={self._root})

    def _sweep(self) -> None:
        """Remove what a publisher left that was killed. Called with the lock held."""
        for leftover in self._new.iterdir():
            leftover.unlink(missing_ok=True)

    async def _do(self, doing: str, function: Callable[[], Result]) -> Result:
        return await in_worker(self._workers, doing, function, place="the tree")


def _sync(place: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if TYPE_CHECKING:
    _: type[Target] = LocalTarget
