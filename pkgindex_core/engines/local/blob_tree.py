"""The tree of a local blob store, and the order of calls that makes a change durable.

Every part of a path is fixed, or made from a digest, or random:

    ROOT/                               0700; a root that is writable for others is refused
      sha256/
        ab/                             a shard
          abcdef01…                     a blob, whole, 0600: 64 hexadecimal digits that begin with the shard's two
      damaged/
        abcdef01….89abcdef              a blob that was damaged and set aside, for the operator
      owner                             the identity of the index that the blobs belong to: 32 hexadecimal digits
      staging/
        0f3c…(32 digits).part           a spool, locked while it is open; swept when abandoned

Keeping a blob:

    staging/x.part   create (O_EXCL), write, fsync          the bytes survive
    sha256/          mkdir ab, fsync                        once per shard and process
    sha256/ab/       lock, rename x.part to it, fsync       the name survives: acknowledge

A shard is locked while a name in it changes, against threads and other servers on the same disk. So when the last fsync
fails, the name is removed again before any other writer can rely on it. A failed sync is never repeated: the file is
discarded.

If the bytes are stored already, they are compared, synced and given a new time, so that garbage collection treats them as
new. Damaged ones are replaced, so sending a file again repairs it. A name that is not a regular file counts as absent. It
is replaced, and never followed.

Blocking, called in workers. Errors of the operating system leave as OSError; the store translates them.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_core.engines.local.owner_mark import OWNER, owner_of
from pkgindex_core.engines.local.spooling import HOP, LocalSpool
from pkgindex_core.errors import Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob

SHARD_DIGITS: Final = 2
"""The first digits of a key, which name its directory."""
_NOTHING_OF_OURS: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.EMLINK})  # nothing, or a symlink (Linux, BSD)


class BlobTree:
    """The directories under a root. Construct, then `prepare`."""

    def __init__(self, root: Path, operations: FileOperations) -> None:
        self.spools = root / "staging"
        self._root = root
        self._blobs = root / "sha256"
        self._damaged = root / "damaged"
        self._operations = operations
        self._shards: dict[str, Path] = {}  # their paths, by their names
        self._durable: set[str] = set()  # shards whose name this process has synced
        self._doubtful: set[Path] = set()  # directories whose name could not be synced
        self._suspect: set[Sha256] = set()  # blobs with a failed sync: only a new copy can be trusted

    def prepare(self) -> None:
        """Make missing directories; refuse unsafe ones."""
        self._root = self._root.resolve()  # symlinks are allowed above the root, but not below
        self._blobs, self.spools = self._root / "sha256", self._root / "staging"
        self._damaged = self._root / "damaged"
        missing = [path for path in self._root.parents if self._operations.status(path) is None]
        for path in (*reversed(missing), self._root, self._blobs, self.spools):
            self._have_directory(path)
        devices = {self._check_directory(path).st_dev for path in (self._root, self._blobs, self.spools)}
        if len(devices) > 1:
            raise Refused(
                f"parts of the blob store {str(self._root)!r} are on different file systems",
                hint="mount a file system at its root, not below: files cannot be renamed across file systems",
            )

    def keep(self, spool: LocalSpool, modified: float) -> Blob:
        """Store the bytes of a spool under their digest, durably, or raise and change nothing."""
        blob = Blob(spool.sha256(), spool.size, modified)
        there = self._examine(blob.sha256, blob.size)
        if there is not None and there.whole and self._renew(blob, there):
            return blob
        path, descriptor = spool.spill()
        failpoint("blob.written")
        self._operations.touch(descriptor, blob.modified)
        self._operations.sync(descriptor)
        failpoint("blob.file_synced")
        mine = self._operations.opened_status(descriptor).st_ino
        if self._publish(blob, path, mine, None if there is None else there.inode):
            spool.moved(self.path(blob.sha256))
        return blob

    def drop(self, key: Sha256, modified: float | None = None) -> bool:
        """Remove a blob, durably; False when there was none, or when it has another time than `modified`."""
        try:
            with self._locked(key) as directory:
                status = self._operations.status(key, directory)
                if status is not None and modified not in {None, status.st_mtime}:
                    return False
                if status is not None:
                    self._operations.unlink(key, directory)
                # Also when it was not there: the process that removed it may have died before the sync.
                self._operations.sync_directory(directory)
                return status is not None and stat.S_ISREG(status.st_mode)
        except FileNotFoundError:
            return False

    def owner(self) -> str:
        """The identity in the mark; empty when there is no mark."""
        try:
            descriptor = self._operations.open(self._root / OWNER)
        except FileNotFoundError:
            return ""
        try:
            return owner_of(self._operations.read(descriptor, HOP, 0))
        finally:
            self.close(descriptor)

    def claim(self, identity: str, *, instead: bool) -> str:
        """Write the mark unless there is one, durably; return the identity in it afterwards.

        The root is locked meanwhile, against threads and other servers. A draft is synced and renamed, so the mark is always whole.
        """
        root = self._operations.open_directory(self._root)
        try:
            self._operations.lock(root)
            there = self.owner()
            if there and (there == identity or not instead):
                self._operations.sync_directory(root)  # its writer may have died before that
                return there
            self._replace_owner(identity, root)
            return identity
        finally:
            self.close(root)

    def _replace_owner(self, identity: str, root: int) -> None:
        draft = self.spools / f"{secrets.token_hex(16)}.part"
        descriptor = self._operations.create(draft)
        try:
            self._operations.write(descriptor, f"{identity}\n".encode())
            self._operations.sync(descriptor)
            failpoint("owner.written")
            self._operations.rename(draft, OWNER, root)
            failpoint("owner.renamed")
            self._operations.sync_directory(root)
            failpoint("owner.kept")
        except OSError:
            with suppress(OSError):  # a later sweep removes it
                self._operations.unlink(draft)
            raise
        finally:
            self.close(descriptor)

    def set_aside(self, key: Sha256) -> bool:
        """Move a damaged blob to `damaged/`, durably; False when it is not damaged or not there.

        Compares under the lock of its shard, so that bytes that are kept meanwhile are not moved.
        """
        try:
            with self._locked(key) as directory:
                there = self._examine(key, None)
                if there is None or there.whole:
                    return False
                self._have_directory(self._damaged)
                beside = self._operations.open_directory(self._damaged)
                try:
                    name = f"{key}.{secrets.token_hex(4)}"
                    self._operations.rename(self.path(key), name, beside)
                    failpoint("aside.moved")
                    self._operations.sync_directory(beside)
                    self._operations.sync_directory(directory)
                    failpoint("aside.kept")
                finally:
                    self.close(beside)
                return True
        except FileNotFoundError:
            return False

    def find(self, key: Sha256) -> Blob | None:
        try:
            status = self._operations.status(self._place(key))
        except FileNotFoundError:
            return None
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        return Blob(key, status.st_size, status.st_mtime)

    def open(self, key: Sha256) -> tuple[int, int] | None:
        """A descriptor for reading, which the caller must close, and the size; None when there is no such blob."""
        opened = self._opened(key)
        if opened is None:
            return None
        descriptor, status = opened
        if not stat.S_ISREG(status.st_mode):
            self.close(descriptor)
            return None
        return descriptor, status.st_size

    def shards(self, first: str = "") -> list[str]:
        """The directories of blobs whose keys begin with these digits, at most two."""
        if len(first) == SHARD_DIGITS:
            return [first]
        listed = self._operations.list_directory(self._blobs)
        return [name for name, status in listed if stat.S_ISDIR(status.st_mode) and name.startswith(first)]

    def list_shard(self, shard: str) -> list[Blob]:
        try:
            listed = self._operations.list_directory(self._blobs / shard)
        except FileNotFoundError:
            return []
        return [
            Blob(key, status.st_size, status.st_mtime)
            for name, status in listed
            if (key := parse_sha256(name)) == name and name[:SHARD_DIGITS] == shard and stat.S_ISREG(status.st_mode)
        ]

    def path(self, key: Sha256) -> Path:
        return Path(self._place(key))

    def _place(self, key: Sha256) -> str:
        """The path as text: a `Path` takes longer to make than the system to look."""
        if parse_sha256(key) != key:  # only a sha256 may become part of a path
            raise FileNotFoundError(errno.ENOENT, "no sha256")
        return f"{self._blobs}/{key[:SHARD_DIGITS]}/{key}"

    def _shard(self, key: Sha256) -> Path:
        name = key[:SHARD_DIGITS]
        if name not in self._shards:
            self._shards[name] = self.path(key).parent
        return self._shards[name]

    def close(self, descriptor: int) -> None:
        with suppress(OSError):  # durable data was synced before; the descriptor is closed either way
            self._operations.close(descriptor)

    def _check_directory(self, path: Path) -> os.stat_result:
        status = self._operations.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            raise Refused(f"{str(path)!r} is not a directory", hint="move it away; symlinks are not followed")
        if status.st_mode & stat.S_IWOTH:
            raise Refused(f"{str(path)!r} is writable for everybody", hint=f"chmod o-w {str(path)!r}")
        return status

    def _have_directory(self, path: Path) -> None:
        """Make a directory and sync its name, also when it exists: the process that made it may have died before the sync."""
        if path in self._doubtful:
            with suppress(OSError):  # it has content, so its name was synced before
                self._operations.remove_directory(path)
        made = self._operations.make_directory(path)
        try:
            self._sync_names(path.parent)
        except PermissionError:
            if made:
                raise  # otherwise the operator made the root, in a directory that may belong to another user
        except OSError:
            if made or path != self._root:  # remove the new directory, so that the next try makes and syncs it again
                self._doubtful.add(path)
                with suppress(OSError):
                    self._operations.remove_directory(path)
            raise
        self._doubtful.discard(path)

    def _sync_names(self, directory: Path) -> None:
        descriptor = self._operations.open_directory(directory)
        try:
            self._operations.sync_directory(descriptor)
        finally:
            self.close(descriptor)

    def _publish(self, blob: Blob, path: Path, mine: int, unwanted: int | None) -> bool:
        """Give the synced file its name, unless the same bytes have it meanwhile, in another inode than the `unwanted` one."""
        self._make_shard(blob.sha256)
        with self._locked(blob.sha256) as directory:
            current = self._operations.status(blob.sha256, directory)
            if current is not None and current.st_ino != unwanted and _may_be(blob, current):
                self._settle(blob, directory)  # another writer has kept the same bytes meanwhile
                return False
            try:
                self._operations.rename(path, blob.sha256, directory)
                failpoint("blob.renamed")
                self._operations.sync_directory(directory)
                failpoint("blob.directory_synced")
            except OSError:
                self._suspect.add(blob.sha256)  # removing the name may fail as well
                with suppress(OSError):
                    self._take_back(blob, directory, mine)
                raise
            self._suspect.discard(blob.sha256)
            return True

    def _take_back(self, blob: Blob, directory: int, mine: int) -> None:
        # A failed rename may have happened (NFS loses answers). If not, the name belongs to another file.
        current = self._operations.status(blob.sha256, directory)
        if current is not None and current.st_ino == mine:
            self._operations.unlink(blob.sha256, directory)

    def _renew(self, blob: Blob, there: _FileCheck) -> bool:
        """Sync a stored blob and give it a new time; False when it was removed or changed meanwhile."""
        self._make_shard(blob.sha256)
        with self._locked(blob.sha256) as directory:
            current = self._operations.status(blob.sha256, directory)
            if current is None or current.st_ino != there.inode:
                return False
            self._settle(blob, directory)
            return True

    def _settle(self, blob: Blob, directory: int) -> None:
        # Its writer may have been another process, and may have died before its syncs, so sync again.
        descriptor = self._operations.open(blob.sha256, directory)
        try:
            self._operations.touch(descriptor, blob.modified)
            self._operations.sync(descriptor)
            self._operations.sync_directory(directory)
        except OSError:
            self._suspect.add(blob.sha256)
            raise
        finally:
            self.close(descriptor)

    def _examine(self, key: Sha256, size: int | None) -> _FileCheck | None:
        """Examine the file under a blob's name, and compare its bytes."""
        opened = self._opened(key)
        if opened is None:
            return None
        descriptor, status = opened
        try:
            regular = stat.S_ISREG(status.st_mode) and size in {None, status.st_size}
            candidate = regular and key not in self._suspect
            return _FileCheck(status.st_ino, candidate and self._digest(descriptor) == key)
        finally:
            self.close(descriptor)

    def _opened(self, key: Sha256) -> tuple[int, os.stat_result] | None:
        """A descriptor of what is under a blob's name, which the caller must close, and its status; None when there is nothing of ours."""
        try:
            descriptor = self._operations.open(self._place(key))
        except OSError as error:
            if error.errno in _NOTHING_OF_OURS:
                return None
            raise
        try:
            return descriptor, self._operations.opened_status(descriptor)
        except OSError:
            self.close(descriptor)
            raise

    def _digest(self, descriptor: int) -> str | None:
        digest, offset = sha256(), 0
        try:
            while chunk := self._operations.read(descriptor, HOP, offset):
                digest.update(chunk)
                offset += len(chunk)
        except OSError:  # unreadable bytes count as damaged, and are replaced
            return None
        return digest.hexdigest()

    def _make_shard(self, key: Sha256) -> None:
        shard = key[:SHARD_DIGITS]
        if shard in self._durable:
            return
        self._have_directory(self._shard(key))
        self._durable.add(shard)

    @contextmanager
    def _locked(self, key: Sha256) -> Iterator[int]:
        """Lock the directory of a key against other writers."""
        try:
            descriptor = self._operations.open_directory(self._shard(key))
        except FileNotFoundError:
            self._durable.discard(key[:SHARD_DIGITS])  # the directory was removed; the next writer makes it again
            raise
        try:
            self._operations.lock(descriptor)
            yield descriptor
        finally:
            self.close(descriptor)


class _FileCheck(Struct, frozen=True):
    inode: int
    whole: bool


def _may_be(blob: Blob, status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size == blob.size
