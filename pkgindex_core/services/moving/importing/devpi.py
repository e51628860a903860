"""Imports a dump of devpi-export: users, indexes, releases, files, documentation and test results.

    settle       colliding names end the import here, with nothing changed
    one commit   users and indexes
    an index     files (bytes first, then commits of some dozens) -> releases -> documentation and test results

Every step adds what the store does not have, and each commit requires that this is still so. A killed import can be run again and
goes on; a second import changes nothing; two concurrent ones share the work; no history is stored twice. Things that were deleted
or overwritten here since the last import stay so. Memory holds one project's page and a batch at a time.
"""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final, Protocol

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.devpi.dump import DevpiDump, DumpIndex, UnreadablePart
from pkgindex_core.formats.devpi.translating import IMPORTER
from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols import (
    Accounts,
    BlobStore,
    ChangeLog,
    IndexWriter,
    Passwords,
    Projects,
    ReleaseRecords,
    Trees,
)
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.services.moving.importing.attachments import bring_attachments
from pkgindex_core.services.moving.importing.directory import DevpiDirectory
from pkgindex_core.services.moving.importing.hosted_files import bring_hosted
from pkgindex_core.services.moving.importing.intake import Intake
from pkgindex_core.services.moving.importing.mirrored_files import bring_mirrored
from pkgindex_core.services.moving.importing.orders import compare_orders
from pkgindex_core.services.moving.importing.report import ImportReport
from pkgindex_core.services.moving.importing.run import WORDS, Run
from pkgindex_core.services.moving.importing.settlement import Settlement, Settling
from pkgindex_core.services.moving.importing.versions import bring_versions
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.progress import Progress

_COLLISIONS_SHOWN: Final = 20


class _Store(Trees, Projects, ReleaseRecords, Accounts, ChangeLog, IndexWriter, Protocol): ...


class DevpiImport:
    """Imports dumps of devpi."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        options: IndexOptions,
        passwords: Passwords,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._options = options
        self._passwords = passwords
        self._workers = workers
        self._clock = clock

    async def run(self, path: Path, *, progress: Progress) -> ImportReport:
        """Import everything that is not here yet. Raises `Refused` for an invalid dump, `Conflict` for colliding names; then nothing is changed."""
        directory = DevpiDirectory(path)
        intake = Intake(directory=directory, blobs=self._blobs, workers=self._workers)
        with directory.index() as buffer:
            dump = await intake.in_worker(lambda: DevpiDump(buffer))

            async def settled(_turn: int) -> tuple[Settlement, Run, _Course, int]:
                report = ImportReport(devpi=dump.server)
                for one in dump.unreadable:
                    kind, _, name = one.name.partition(" ")
                    report.left_out(kind, name, one.reason)
                settling = Settling(store=self._store, options=self._options, passwords=self._passwords, report=report)
                settlement = await settling.settle(dump)
                run = Run(
                    store=self._store,
                    blobs=self._blobs,
                    clock=self._clock,
                    dump=dump,
                    intake=intake,
                    report=report,
                    deleted=settlement.deleted,
                )
                course = _Course(run, progress)
                total = await course.look(settlement)
                await self._store.apply(settlement.changes, who=IMPORTER, require=settlement.require)
                return settlement, run, course, total

            # The concurrent change is usually another import of the same dump, so read again what it made.
            settlement, run, course, total = await until_committed(
                settled, "users and indexes change faster than they can be imported", hint="run it again"
            )
            failpoint("import.settled")
            for name, config in settlement.indexes.items():
                await course.bring(dump.indexes[name], config, total)
            if dump.of_devpi_7:
                await compare_orders(self._store, run.report, settlement.indexes.values())
            progress("files", total, total)
        return run.report


class _Course:
    """The steps of one run, in their order."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        self._done = 0

    async def look(self, settlement: Settlement) -> int:
        """Count the files. Raises if some collide with files of an index that did not come from an import."""
        total = 0
        collisions: list[str] = []
        for name, config in settlement.indexes.items():
            index = self._run.dump.indexes[name]
            total += await self._run.intake.in_worker(lambda index=index: self._run.dump.count_files(index))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            if config.name not in settlement.foreign or config.mirrored:
                continue
            files = self._run.dump.files(index)
            while batch := await self._run.next(files):
                for file in batch:
                    if isinstance(file, UnreadablePart) or file.kind != "releasefile":
                        continue
                    taken = await self._run.store.taken(config.name, file.filename)
                    if taken is not None and taken.sha256 != file.digests.get("sha256"):
                        collisions.append(f"{config.name} {file.filename}")
        if collisions:
            shown = "; ".join(collisions[:_COLLISIONS_SHOWN])
            more = f" and {len(collisions) - _COLLISIONS_SHOWN} more" if len(collisions) > _COLLISIONS_SHOWN else ""
            raise Conflict(
                f"the store has other files under names of the dump, and nothing was changed: {shown}{more}",
                hint="import into an empty store (--data NEW), or into one without these indexes",
            )
        return total

    async def bring(self, index: DumpIndex, config: IndexConfig, total: int) -> None:
        """Import one index: files, releases, attachments."""
        bring = bring_mirrored if config.mirrored else bring_hosted
        async for batch in self._batches(index, attachments=False, total=total):
            await bring(self._run, index, config.name, batch)
            failpoint("import.files_kept")
        if config.mirrored:
            return
        projects = self._run.dump.projects(index)
        while some := await self._run.next(projects):
            for one in some:
                await bring_versions(self._run, config.name, one)
        async for batch in self._batches(index, attachments=True, total=total):
            await bring_attachments(self._run, config.name, batch)
            failpoint("import.attachments_kept")

    async def _batches(self, index: DumpIndex, *, attachments: bool, total: int) -> Any:
        files = self._run.dump.files(index)
        while batch := await self._run.next(files):
            wanted = []
            for file in batch:
                if isinstance(file, UnreadablePart):
                    if not attachments:
                        self._run.report.left_out("file", f"{index.name} {file.name}", file.reason)
                        self._done += 1
                elif file.kind in WORDS:
                    wanted += [file] if attachments else []
                elif not attachments:
                    if file.kind == "releasefile":
                        wanted.append(file)
                    else:
                        self._run.report.left_out(
                            "file", f"{index.name} {file.relpath}", f"it is of an unknown kind: {file.kind}"
                        )
                        self._done += 1
            if wanted:
                yield wanted
                self._done += len(wanted)
                self._progress("files", self._done, total)
