"""The tree of a local blob store, and the order of calls that makes a change to it survive.

Every part of a path is ours, from a digest or random:

    ROOT/                               0700; a root that everybody may write to is refused
      sha256/
        ab/                             a shard
          abcdef01…                     a blob, whole, 0600: 64 hexadecimal digits that begin with the shard's two
      damaged/
        abcdef01….89abcdef              what had a blob's name and other bytes than its own; for the operator
      owner                             the identity of the index that the blobs belong to: 32 hexadecimal digits
      staging/
        0f3c…(32 digits).part           bytes on their way, locked while their stage lives; swept when abandoned

Keeping a blob:

    staging/x.part   create (O_EXCL), write, fsync          the bytes survive
    sha256/          mkdir ab, fsync                        once per shard and process
    sha256/ab/       lock, rename x.part to it, fsync       the name survives: acknowledge

A shard is locked while a name in it changes, against threads and other servers on the same disk. So when the last
fsync fails the name can be taken back, and nobody has built an acknowledgement on it meanwhile. A sync that
failed is never asked for again: the file is thrown away.

Equal bytes that are there already are compared, synced and given a new time (they are as good as new to whoever
collects garbage), not trusted blindly: damaged ones are replaced, so sending a file again repairs it. What is no
regular file counts as absent, and is replaced, never followed.

Blocking, called in workers. What the system refuses leaves as OSError, for the store to translate.
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
from pkgindex_core.engines.local.spooling import HOP, SpooledStage
from pkgindex_core.errors import Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob

_NOTHING_OF_OURS: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.EMLINK})  # nothing, or a symlink (Linux, BSD)


class BlobTree:
    """The directories under a root. Construct, then `prepare`."""

    def __init__(self, root: Path, operations: FileOperations) -> None:
        self.staging = root / "staging"
        self._root = root
        self._blobs = root / "sha256"
        self._damaged = root / "damaged"
        self._operations = operations
        self._durable: set[str] = set()  # shards whose own name was synced by this process
        self._doubtful: set[Path] = set()  # directories whose name a sync failed on
        self._suspect: set[Sha256] = set()  # blobs that a sync failed on: only a new copy can be trusted

    def prepare(self) -> None:
        """Make what is missing; refuse what is not safe."""
        self._root = self._root.resolve()  # the way to the root may lead over symlinks; nothing below it does
        self._blobs, self.staging = self._root / "sha256", self._root / "staging"
        self._damaged = self._root / "damaged"
        missing = [path for path in self._root.parents if self._operations.status(path) is None]
        for path in (*reversed(missing), self._root, self._blobs, self.staging):
            self._have_directory(path)
        devices = {self._check_directory(path).st_dev for path in (self._root, self._blobs, self.staging)}
        if len(devices) > 1:
            raise Refused(
                f"parts of the blob store {str(self._root)!r} are on different file systems",
                hint="mount a file system at its root, not below: a rename cannot cross",
            )

    def keep(self, stage: SpooledStage, modified: float) -> Blob:
        """Have the bytes of a stage under their digest, durably, or raise and have changed nothing."""
        blob = Blob(stage.sha256(), stage.size, modified)
        there = self._examine(blob.sha256, blob.size)
        if there is not None and there.whole and self._renew(blob, there):
            return blob
        path, descriptor = stage.spill()
        failpoint("blob.written")
        self._operations.touch(descriptor, blob.modified)
        self._operations.sync(descriptor)
        failpoint("blob.file_synced")
        mine = self._operations.opened_status(descriptor).st_ino
        if self._publish(blob, path, mine, None if there is None else there.inode):
            stage.moved(self.path(blob.sha256))
        return blob

    def drop(self, key: Sha256) -> bool:
        """Remove a blob, durably; False when there was none."""
        try:
            with self._locked(key) as directory:
                status = self._operations.status(key, directory)
                if status is not None:
                    self._operations.unlink(key, directory)
                # Also when it was not there: whoever removed it may have died before the sync.
                self._operations.sync_directory(directory)
                return status is not None and stat.S_ISREG(status.st_mode)
        except FileNotFoundError:
            return False

    def owner(self) -> str:
        """The identity of the index that the blobs belong to; empty when there is no mark."""
        try:
            descriptor = self._operations.open(self._root / OWNER)
        except FileNotFoundError:
            return ""
        try:
            return owner_of(self._operations.read(descriptor, HOP, 0))
        finally:
            self.close(descriptor)

    def claim(self, identity: str, *, instead: bool) -> str:
        """Write the mark unless there is one, durably; return what it says afterwards.

        The root is locked meanwhile, against threads and other servers. The mark appears whole: a draft is synced and renamed.
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
        draft = self.staging / f"{secrets.token_hex(16)}.part"
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
            with suppress(OSError):  # what cannot be removed is swept later
                self._operations.unlink(draft)
            raise
        finally:
            self.close(descriptor)

    def set_aside(self, key: Sha256) -> bool:
        """Move a blob to `damaged/` if its bytes are not its own, durably; False when there is nothing to move.

        Compared under the lock of its shard: bytes that are kept meanwhile are not moved away.
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
            status = self._operations.status(self.path(key))
        except FileNotFoundError:
            return None
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        return Blob(key, status.st_size, status.st_mtime)

    def open(self, key: Sha256) -> tuple[int, int] | None:
        """A descriptor for reading, which becomes the caller's, and the size; None when there is no such blob."""
        try:
            descriptor = self._operations.open(self.path(key))
        except OSError as error:
            if error.errno in _NOTHING_OF_OURS:
                return None
            raise
        try:
            status = self._operations.opened_status(descriptor)
        except OSError:
            self.close(descriptor)
            raise
        if not stat.S_ISREG(status.st_mode):
            self.close(descriptor)
            return None
        return descriptor, status.st_size

    def shards(self) -> list[str]:
        return [name for name, status in self._operations.list_directory(self._blobs) if stat.S_ISDIR(status.st_mode)]

    def list_shard(self, shard: str) -> list[Blob]:
        try:
            listed = self._operations.list_directory(self._blobs / shard)
        except FileNotFoundError:
            return []
        return [
            Blob(key, status.st_size, status.st_mtime)
            for name, status in listed
            if (key := parse_sha256(name)) == name and name[:2] == shard and stat.S_ISREG(status.st_mode)
        ]

    def path(self, key: Sha256) -> Path:
        if parse_sha256(key) != key:  # nothing else ever becomes part of a path
            raise FileNotFoundError(errno.ENOENT, "no sha256")
        return self._blobs / key[:2] / key

    def close(self, descriptor: int) -> None:
        with suppress(OSError):  # what had to be durable was synced; the descriptor is gone either way
            self._operations.close(descriptor)

    def _check_directory(self, path: Path) -> os.stat_result:
        status = self._operations.status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            raise Refused(f"{str(path)!r} is not a directory", hint="move away what is there; no symlink is followed")
        if status.st_mode & stat.S_IWOTH:
            raise Refused(f"everybody may write to {str(path)!r}", hint=f"chmod o-w {str(path)!r}")
        return status

    def _have_directory(self, path: Path) -> None:
        """Make a directory, or find it, and make its name survive: who made it may have died before that."""
        if path in self._doubtful:
            with suppress(OSError):  # it has content, so an earlier life saw it survive
                self._operations.remove_directory(path)
        made = self._operations.make_directory(path)
        try:
            self._sync_names(path.parent)
        except PermissionError:
            if made:
                raise  # else the root is the operator's, in a directory of somebody else
        except OSError:
            if made or path != self._root:  # only a new name can be synced: find none next time
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
        """Give the synced file its name, unless the same bytes have it by now: in another inode than the `unwanted` one."""
        self._make_shard(blob.sha256)
        with self._locked(blob.sha256) as directory:
            current = self._operations.status(blob.sha256, directory)
            if current is not None and current.st_ino != unwanted and _may_be(blob, current):
                self._settle(blob, directory)  # somebody kept the same bytes since we looked
                return False
            try:
                self._operations.rename(path, blob.sha256, directory)
                failpoint("blob.renamed")
                self._operations.sync_directory(directory)
                failpoint("blob.directory_synced")
            except OSError:
                self._suspect.add(blob.sha256)  # taking the name back may fail as well
                with suppress(OSError):
                    self._take_back(blob, directory, mine)
                raise
            self._suspect.discard(blob.sha256)
            return True

    def _take_back(self, blob: Blob, directory: int, mine: int) -> None:
        # A rename may have happened although it failed (NFS loses answers), or not: then the name is another's.
        current = self._operations.status(blob.sha256, directory)
        if current is not None and current.st_ino == mine:
            self._operations.unlink(blob.sha256, directory)

    def _renew(self, blob: Blob, there: _Found) -> bool:
        """Make a whole blob that is there as good as a new one; False when it went away or changed meanwhile."""
        self._make_shard(blob.sha256)
        with self._locked(blob.sha256) as directory:
            current = self._operations.status(blob.sha256, directory)
            if current is None or current.st_ino != there.inode:
                return False
            self._settle(blob, directory)
            return True

    def _settle(self, blob: Blob, directory: int) -> None:
        # Its writer may have died before its syncs, and may not have been us: only our own prove anything.
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

    def _examine(self, key: Sha256, size: int | None) -> _Found | None:
        """What has a blob's name, and whether it is the blob."""
        try:
            descriptor = self._operations.open(self.path(key))
        except OSError as error:
            if error.errno in _NOTHING_OF_OURS:
                return None
            raise
        try:
            status = self._operations.opened_status(descriptor)
            regular = stat.S_ISREG(status.st_mode) and size in {None, status.st_size}
            candidate = regular and key not in self._suspect
            return _Found(status.st_ino, candidate and self._digest(descriptor) == key)
        finally:
            self.close(descriptor)

    def _digest(self, descriptor: int) -> str | None:
        digest, offset = sha256(), 0
        try:
            while chunk := self._operations.read(descriptor, HOP, offset):
                digest.update(chunk)
                offset += len(chunk)
        except OSError:  # unreadable is damaged, and about to be replaced
            return None
        return digest.hexdigest()

    def _make_shard(self, key: Sha256) -> None:
        shard = self.path(key).parent
        if shard.name in self._durable:
            return
        self._have_directory(shard)
        self._durable.add(shard.name)

    @contextmanager
    def _locked(self, key: Sha256) -> Iterator[int]:
        """The directory of a key, held against every other writer."""
        shard = self.path(key).parent
        try:
            descriptor = self._operations.open_directory(shard)
        except FileNotFoundError:
            self._durable.discard(shard.name)  # somebody removed it under us; the next writer makes it anew
            raise
        try:
            self._operations.lock(descriptor)
            yield descriptor
        finally:
            self.close(descriptor)


class _Found(Struct, frozen=True):
    inode: int
    whole: bool


def _may_be(blob: Blob, status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size == blob.size
