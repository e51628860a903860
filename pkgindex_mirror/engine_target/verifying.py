"""Checks the stored files of an index against the digests of its pages and snapshots, and mends them.

    pages and snapshots ─► files of each ─► wrong ones set aside, and fetched again ─► files without an owner let go

Pages are in the database, which has checks of its own (`pkgindex-serve verify`). A file that cannot be fetched is left to the next run, and to the
first client that requests it: wrong bytes are served to none. Files that a policy does not keep need not be there.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.models import File, Serial, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import BlobStore
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.engine_target.index_target import IndexTarget
from pkgindex_mirror.engine_target.sync_notes import SyncNotes
from pkgindex_mirror.engine_target.synced_files import file_keys, sidecar_of, snapshot_serials
from pkgindex_mirror.file_policies import policies_of
from pkgindex_mirror.synced_indexes import is_synced
from pkgindex_mirror.syncing.file_fetching import SIDECAR
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST
from pkgindex_mirror.trees.checking import Problem
from pkgindex_mirror.trees.verifying import FetchFiles, TreeReport, VerifyOrder, WrongFile

_SETTLING: Final = 3600.0
"""Seconds for which a file without an owner stays: its page may be written in a moment."""


class IndexVerifying:
    """One verification. The caller holds the turn of the target. Of the `order` its way to compare does not count: files are hashed."""

    def __init__(self, target: IndexTarget, order: VerifyOrder, fetch: FetchFiles) -> None:
        self._target = target
        self._order = order
        self._fetch = fetch
        self.report = TreeReport()

    async def run(self) -> TreeReport:
        names: set[ProjectName] = set()
        for at in await self._moments():
            names |= {row.name for row in await self._target.store.projects(self._target.name, at=at)}
        for name in sorted(names):
            await self._project(name)
        if self._order.delete:
            await self._unowned()
        if not self._order.dry_run:
            await self._target.settle()
        return self.report

    async def _moments(self) -> Sequence[Serial | None]:
        """The commits as of which pages are looked at: those of snapshots, and now."""
        index = (await self._target.store.tree()).indexes.get(self._target.name)
        return [*(snapshot_serials(index) if index is not None else ()), None]

    async def _project(self, name: ProjectName) -> None:
        policy = self._target.policies.of(name)
        if policy == "streamed":
            return
        files = await self._files_of(name)
        self.report.projects += 1
        wrong: dict[str, tuple[File, Problem]] = {}

        async def check(file: File) -> None:
            problem = await self._problem(file)
            if problem == "missing" and policy != "immediate" and not file.filename.endswith(SIDECAR):
                return
            self.report.files += 1
            self.report.bytes += file.size or 0
            if problem is not None:
                wrong[file.sha256 or ""] = (file, problem)

        await side_by_side(files.values(), check)
        if wrong:
            await self._mend(name, wrong)

    async def _files_of(self, name: ProjectName) -> Mapping[str, File]:
        """The files and metadata files of a project, by sha256. Those without one were never stored."""
        found: dict[str, File] = {}
        for at in await self._moments():
            page = await self._target.store.page(self._target.name, name, at=at)
            for row in page.rows if page is not None else ():
                file = decode_file(row.body)
                for each in (file, sidecar_of(file)):
                    if each is not None and each.sha256 is not None:
                        found[each.sha256] = each
        return found

    async def _problem(self, file: File) -> Problem | None:
        assert file.sha256 is not None
        store = await self._store_of(file)
        blob = await store.stat(file.sha256)
        if blob is None:
            return "missing"
        if file.size not in {None, blob.size}:
            return "wrong size"
        return None if await self._digest(store, file.sha256) == file.sha256 else "wrong bytes"

    async def _store_of(self, file: File) -> BlobStore:
        """Metadata files are among the blobs of the store itself."""
        blobs = self._target.blobs
        return blobs if file.filename.endswith(SIDECAR) else await blobs.copies() or blobs

    async def _digest(self, store: BlobStore, key: Sha256) -> str:
        place = await store.locate(key, filename=key)
        if isinstance(place, Path):
            return await in_worker(self._target.workers, _digest_of, place)
        digest = hashlib.sha256()
        async for data in store.read(key):
            digest.update(data)
        return digest.hexdigest()

    async def _mend(self, name: ProjectName, wrong: Mapping[str, tuple[File, Problem]]) -> None:
        self.report.wrong += [WrongFile(name, file.filename, problem) for file, problem in wrong.values()]
        if self._order.dry_run:
            return
        for file, problem in wrong.values():
            if problem != "missing" and file.sha256 is not None:
                await (await self._store_of(file)).set_aside(file.sha256)
        await self._fetch(name, [file for file, _ in wrong.values()])
        left = [file for file, _ in wrong.values() if await self._problem(file) is not None]
        self.report.fetched += len(wrong) - len(left)
        state = await self._target.state(name)
        if left and state is not None:
            reason = f"{len(left)} of its files were wrong, and could not be fetched: {left[0].filename}"
            row = replace(state, error=reason, failures=state.failures + 1, next_try=self._target.clock.now())
            await self._target.put_states([row])
            await self._target.put_facts(FORGOTTEN_LIST)  # so that the next run works on it

    async def _unowned(self) -> None:
        """Find stored files that no page, no snapshot and no hidden project has, and let go of them if the order says so."""
        report, copies = self.report, await self._target.blobs.copies()
        if copies is None:
            report.kept_because = "they are among the other files of the store"
            return
        stored = {bytes.fromhex(blob.sha256): blob.modified async for blob in copies.walk()}
        # The clock of the store may be behind ours, so a file is also recent that came shortly before the latest one.
        latest = max(stored.values(), default=0.0)
        recent = min(latest, self._target.clock.now() / 1_000_000) - _SETTLING
        count = len(stored)
        async for key in self._owned():  # after the walk, since pages of stored files are written meanwhile
            stored.pop(bytes.fromhex(key), None)
        unowned = [Sha256(key.hex()) for key, modified in stored.items() if modified < recent]
        report.unowned = [str(key) for key in unowned]
        if len(unowned) > count * self._order.most_removed:
            report.kept_because = f"{len(unowned)} of {count} files belong to no project, which is too many to be true"
        elif not self._order.dry_run:
            await self._target.files.cache.let_go(unowned)
            report.removed = len(unowned)

    async def _owned(self) -> AsyncIterator[Sha256]:
        """The files of all mirrors that keep files."""
        store = self._target.store
        for index in (await store.tree()).indexes.values():
            if not index.mirrored:
                continue
            policies = policies_of(index)
            for at in (*snapshot_serials(index), None):
                for row in await store.projects(index.name, at=at):
                    if policies.of(row.name) != "streamed":
                        for key in file_keys(await store.page(index.name, row.name, at=at)):
                            yield key
            if not is_synced(index):
                continue
            notes = SyncNotes(store, index.name)
            async for batch in notes.states():
                for state in batch:
                    held = await notes.held(state.name) if state.hidden else None
                    for file in held.files if held is not None else ():
                        if file.sha256 is not None:
                            yield file.sha256


def _digest_of(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
