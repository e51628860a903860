"""Uploads into roots and deletions from them: the disk and the store change together.

    write a hidden file, sync ─► rename it ─► commit ─► remove the previous file
                                    └ the commit is refused ─► undo the rename

A process that dies before the commit leaves a whole file, which the index finds later, or a hidden one, which is swept. No file is visible in
part, and nothing that was acknowledged is lost. The first root takes uploads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Protocol

from pkgindex_core.changes import Change, Commit, DropFile, DropProject, FileAbsent, PutFile, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory.listing import Entry
from pkgindex_core.engines.directory.local_moves import copy_file, write_blob
from pkgindex_core.engines.directory.root import FileMove, NewFile, Root
from pkgindex_core.engines.directory.settling import copies_of, files_of
from pkgindex_core.errors import Corrupt, FileTaken, PkgIndexError, RequirementFailed
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.protocols import BlobStore, IndexWriter, Projects
from pkgindex_core.rules.change_rules import failed

_log = logging.getLogger(__name__)


class _Store(Projects, IndexWriter, Protocol): ...


class Placing:
    """`is_damaged` says whether a file in a root was read and could not be listed."""

    def __init__(
        self, *, store: _Store, blobs: BlobStore, workers: Executor, is_damaged: Callable[[Entry], bool]
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers
        self._is_damaged = is_damaged

    async def put(
        self,
        roots: Sequence[Root],
        changes: Sequence[Change],
        *,
        who: str,
        require: Sequence[Requirement],
        spooled: Mapping[Sha256, Path],
    ) -> Commit | None:
        """Make the changes in the roots and commit them, or do neither. `spooled` as in `Source.put`."""
        moved: list[tuple[Change, FileMove]] = []
        try:
            for change in changes:
                await self._move(roots, change, require, spooled, moved)
            commit = await self._store.apply(changes, who=who, require=require)
        except BaseException:
            for change, each in reversed(moved):
                await (each.keep() if await self._is_found(change) else each.undo())
            raise
        failpoint("directory.committed")
        for _, each in moved:
            try:
                await each.keep()
            except (OSError, PkgIndexError) as error:
                _log.warning("a hidden copy of a file cannot be removed: %s", error)
        return commit

    async def _is_found(self, change: Change) -> bool:
        """Whether another server has found in the root what was done there, and has committed it. Then it stays done."""
        match change:
            case PutFile(index, project, file):
                stored = await self._store.file(index, project, file.filename)
                return stored is not None and stored.sha256 == file.sha256
            case DropFile(index, project, filename):
                return await self._store.file(index, project, filename) is None
        return False

    async def _move(
        self,
        roots: Sequence[Root],
        change: Change,
        require: Sequence[Requirement],
        spooled: Mapping[Sha256, Path],
        moved: list[tuple[Change, FileMove]],
    ) -> None:
        match change:
            case PutFile(index, project, file):
                guard = FileAbsent(index, file.filename)
                root, entry = files_of(roots, project).get(file.filename, (roots[0], None))
                new = await self._new(file, spooled)
                if entry is not None and guard in require:
                    if self._is_damaged(entry):
                        raise FileTaken(
                            f"{file.filename} lies in the directory, and is damaged or not copied whole yet",
                            hint="remove it from the directory and upload again",
                        )
                    raise failed(guard)
                try:
                    moved.append((change, await root.put(new, file.filename, replaces=entry)))
                except FileExistsError as error:  # another process put it there meanwhile
                    raise RequirementFailed(f"{file.filename} is in the directory already", guard) from error
            case DropFile(_, project, filename):
                # All copies are removed: otherwise the next copy would be listed instead.
                for root, entry in copies_of(roots, project):
                    if entry.filename == filename:
                        moved.append((change, await root.remove(entry)))
            case DropProject(_, project):
                for root, entry in copies_of(roots, project):
                    moved.append((change, await root.remove(entry)))

    async def _new(self, file: File, spooled: Mapping[Sha256, Path]) -> NewFile:
        """The bytes of an upload, which are spooled, or of a push, which are in the blob store."""
        sha256 = file.sha256
        if sha256 is not None and sha256 in spooled:
            return NewFile(sha256, partial(copy_file, self._workers, spooled[sha256]))
        if sha256 is None or await self._blobs.stat(sha256) is None:
            raise Corrupt(f"the bytes of {file.filename} are not in the blob store", hint="upload it again")
        return NewFile(sha256, partial(write_blob, self._workers, self._blobs, sha256))
