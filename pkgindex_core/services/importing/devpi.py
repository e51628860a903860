"""devpi's users move in: a dump of devpi-export becomes users, indexes, releases, files, documentation and test results.

    settle       names that collide end it here, with nothing changed
    one commit   users and indexes
    an index     files (bytes first, then commits of some dozens) -> releases -> documentation and test results

Every step looks at what is there and adds what is not, each commit under the condition that it still is not. So an import that was
killed goes on when it is run again, a second one changes nothing, two at once share the work, and no history is told twice. What
was deleted or overwritten here since the last import stays so. Memory holds one project's page and a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    FileAbsent,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutProject,
    PutRelease,
    Requirement,
)
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, PkgIndexError, Refused, RequirementFailed, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.devpi.dump import DevpiDump, DumpFile, DumpIndex, DumpVersion, Unreadable
from pkgindex_core.formats.devpi.translating import (
    IMPORTER,
    file_time,
    translated_log,
    translated_project,
    unsafe_filename,
)
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, PageRow, Release, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, IndexStore
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.services.dumps.copying import side_by_side
from pkgindex_core.services.dumps.exporting import Progress
from pkgindex_core.services.importing.directory import DevpiDirectory
from pkgindex_core.services.importing.intake import Intake, Kept
from pkgindex_core.services.importing.report import Report
from pkgindex_core.services.importing.settlement import Deleted, Settlement, Settling
from pkgindex_core.services.passwords import PasswordPool
from pkgindex_core.urls import without_credentials

T = TypeVar("T")

_BATCH: Final = 50
"""Files in a commit, and versions."""
_TURNS: Final = 5
_DELETED: Final = "was deleted here since the last import, and stays so"
_COLLISIONS_SHOWN: Final = 20
_WORDS: Final = {"doczip": "documentation", "toxresult": "test result"}


class DevpiImport:
    """Imports dumps of devpi."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        options: IndexOptions,
        passwords: PasswordPool,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._options = options
        self._passwords = passwords
        self._workers = workers
        self._clock = clock

    async def run(self, path: Path, *, progress: Progress) -> Report:
        """Import what is not here yet. `Refused` for what is no dump, `Conflict` for names that collide: nothing was changed then."""
        directory = DevpiDirectory(path)
        intake = Intake(directory=directory, blobs=self._blobs, workers=self._workers)
        with directory.index() as buffer:
            dump = await intake.in_worker(lambda: DevpiDump(buffer))
            for _ in range(_TURNS):
                report = Report(devpi=dump.server)
                for one in dump.unreadable:
                    kind, _, name = one.name.partition(" ")
                    report.left_out(kind, name, one.reason)
                settling = Settling(store=self._store, options=self._options, passwords=self._passwords, report=report)
                settlement = await settling.settle(dump)
                run = _Run(self, dump, intake, report, progress, settlement.deleted)
                total = await run.look(settlement)
                try:
                    await self._store.apply(settlement.changes, who=IMPORTER, require=settlement.require)
                except RequirementFailed:  # another import of the same dump, as a rule: what it made is looked at
                    continue
                break
            else:
                raise Unavailable("users and indexes change faster than they can be imported", hint="run it again")
            failpoint("import.settled")
            for name, config in settlement.indexes.items():
                await run.bring(dump.indexes[name], config, total)
            progress("files", total, total)
        return report


class _Run:
    """One run over one dump."""

    def __init__(
        self,
        service: DevpiImport,
        dump: DevpiDump,
        intake: Intake,
        report: Report,
        progress: Progress,
        deleted: Deleted,
    ) -> None:
        self._store = service._store
        self._blobs = service._blobs
        self._clock = service._clock
        self._dump = dump
        self._intake = intake
        self._report = report
        self._progress = progress
        self._done = 0
        self._deleted = deleted
        self._replaced: set[tuple[IndexName, str]] = set()
        """Files that have other bytes here: test results of the dump are not about them."""

    async def look(self, settlement: Settlement) -> int:
        """Count the files, and end it if some would collide with those of an index that is here without an import."""
        total = 0
        collisions: list[str] = []
        for name, config in settlement.indexes.items():
            index = self._dump.indexes[name]
            total += await self._intake.in_worker(lambda index=index: self._dump.count_files(index))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            if config.name not in settlement.foreign or config.is_mirror:
                continue
            files = self._dump.files(index)
            while batch := await self._next(files):
                for file in batch:
                    if isinstance(file, Unreadable) or file.kind != "releasefile":
                        continue
                    taken = await self._store.taken(config.name, file.filename)
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
        """Bring one index: files, releases, attachments."""
        bring = self._mirrored if config.is_mirror else self._hosted
        async for batch in self._batches(index, attachments=False, total=total):
            await bring(index, config.name, batch)
            failpoint("import.files_kept")
        if config.is_mirror:
            return
        projects = self._dump.projects(index)
        while some := await self._next(projects):
            for name, place in some:
                await self._releases(config.name, name, place)
        async for batch in self._batches(index, attachments=True, total=total):
            await self._attachments(config.name, batch)
            failpoint("import.attachments_kept")

    async def _batches(self, index: DumpIndex, *, attachments: bool, total: int) -> Any:
        files = self._dump.files(index)
        while batch := await self._next(files):
            wanted = []
            for file in batch:
                if isinstance(file, Unreadable):
                    if not attachments:
                        self._report.left_out("file", f"{index.name} {file.name}", file.reason)
                        self._done += 1
                elif file.kind in _WORDS:
                    wanted += [file] if attachments else []
                elif not attachments:
                    if file.kind == "releasefile":
                        wanted.append(file)
                    else:
                        self._report.left_out(
                            "file", f"{index.name} {file.relpath}", f"it is of an unknown kind: {file.kind}"
                        )
                        self._done += 1
            if wanted:
                yield wanted
                self._done += len(wanted)
                self._progress("files", self._done, total)

    async def _next(self, iterator: Iterator[T]) -> list[T]:
        return await self._intake.in_worker(lambda: list(islice(iterator, _BATCH)))

    # Hosted files.

    async def _hosted(self, index: DumpIndex, name: IndexName, files: list[DumpFile]) -> None:
        changes: dict[str, PutFile] = {}

        async def take(file: DumpFile) -> None:
            change = await self._file(index, name, file)
            if change is not None:
                changes[file.filename] = change

        await side_by_side(files, take)
        # In the dump's order, whichever came first: the same dump gives the same log.
        await self._commit_files([changes[file.filename] for file in files if file.filename in changes])

    async def _file(self, index: DumpIndex, name: IndexName, file: DumpFile) -> PutFile | None:
        label = f"{name} {file.filename}"
        project = translated_project(file.project)
        reason = unsafe_filename(file.filename)
        if project is None:
            reason = f"its project cannot be called {file.project[:80]!r}"
        if reason or project is None:
            self._report.left_out("file", label, reason)
            return None
        if await self._is_taken(name, project, file, file.digests.get("sha256", "")):
            return None
        kept = await self._intake.keep(file, project=project)
        if isinstance(kept, str):
            self._report.left_out("file", label, kept)
            return None
        if "sha256" not in file.digests and await self._is_taken(name, project, file, kept.sha256):
            return None
        requires_python = kept.requires_python
        if requires_python is None:
            metadata = await self._intake.in_worker(lambda: self._dump.version(index, file))
            requires_python = str(metadata.get("requires_python") or "")
        if kept.odd:
            self._report.changed(
                "file", label, f"an upload of it would be refused, so it has no metadata sidecar: {kept.odd}"
            )
        self._report.bytes += kept.size
        return PutFile(
            name, project, self._as_file(name, project, file, kept, requires_python), kept.display_name or project
        )

    def _as_file(
        self, index: IndexName, project: ProjectName, file: DumpFile, kept: Kept, requires_python: str
    ) -> File:
        moment = file_time(file) or self._clock.now()
        return File(
            filename=file.filename,
            version=version_in(file.filename, project) or file.version,
            digests={"sha256": kept.sha256},
            size=kept.size,
            upload_time=moment,
            requires_python=requires_python,
            metadata_sha256=kept.sidecar,
            history=translated_log(file, index, moment),
        )

    async def _is_taken(self, index: IndexName, project: ProjectName, file: DumpFile, sha256: str) -> bool:
        """Whether the name needs nothing more: the file is here, or what is here stays."""
        taken = await self._store.taken(index, file.filename)
        if taken is None:
            return False
        if taken.live and taken.project == project and (not sha256 or taken.sha256 == sha256):
            if not sha256:
                return False  # the dump does not tell: the bytes have to
            self._report.present += 1
            return True
        label = f"{index} {file.filename}"
        if not taken.live:
            self._report.changed("file", label, _DELETED)
        elif taken.project != project:
            self._report.left_out("file", label, f"a file of the project {taken.project} has its name")
        else:
            self._replaced.add((index, file.filename))
            self._report.changed("file", label, "was replaced here since the last import: the bytes here stay")
        return True

    async def _commit_files(self, changes: list[PutFile]) -> None:
        if not changes:
            return
        try:
            await self._store.apply(changes, who=IMPORTER, require=_free(changes))
            self._report.files += len(changes)
            return
        except (RequirementFailed, Conflict):
            pass
        for change in changes:  # another import, or an upload, was there first: one by one
            try:
                await self._store.apply([change], who=IMPORTER, require=_free([change]))
                self._report.files += 1
            except (RequirementFailed, Conflict) as error:
                taken = await self._store.taken(change.index, change.file.filename)
                if taken is not None and taken.live and taken.sha256 == change.file.sha256:
                    self._report.present += 1
                else:
                    self._report.left_out("file", f"{change.index} {change.file.filename}", error.message)

    # Files of mirrors.

    async def _mirrored(self, index: DumpIndex, name: IndexName, files: list[DumpFile]) -> None:
        by_project: dict[ProjectName, list[DumpFile]] = {}
        for file in files:
            project = translated_project(file.project)
            reason = unsafe_filename(file.filename)
            if project is None:
                reason = f"its project cannot be called {file.project[:80]!r}"
            elif not file.url.startswith(("https://", "http://")):
                reason = "the dump does not say where its upstream has it"
            if reason or project is None:
                self._report.left_out("file", f"{name} {file.filename}", reason)
            else:
                by_project.setdefault(project, []).append(file)
        for project, some in by_project.items():
            await self._mirrored_project(index, name, project, some)

    async def _mirrored_project(
        self, index: DumpIndex, name: IndexName, project: ProjectName, files: list[DumpFile]
    ) -> None:
        found: dict[str, File] = {}
        page = await self._store.page(name, project)
        here = {row.filename: row for row in page.rows} if page else {}

        async def take(file: DumpFile) -> None:
            if await self._is_cached(here.get(file.filename), file):
                self._report.present += 1
                return
            kept = await self._intake.keep(file)
            if isinstance(kept, str):
                self._report.left_out("file", f"{name} {file.filename}", kept)
                return
            metadata = await self._intake.in_worker(lambda: self._dump.version(index, file))
            yanked = metadata.get("yanked")
            found[file.filename] = File(
                filename=file.filename,
                version=version_in(file.filename, project) or file.version,
                digests={"sha256": kept.sha256},
                size=kept.size,
                requires_python=str(metadata.get("requires_python") or ""),
                yanked=yanked if isinstance(yanked, str) and yanked else bool(yanked) or yanked == "",
                url=without_credentials(file.url)[0].partition("#")[0],
            )

        await side_by_side(files, take)
        for _ in range(_TURNS):
            page = await self._store.page(name, project)
            known = {row.filename for row in page.rows} if page else set()
            new = tuple(found[file.filename] for file in files if file.filename in found and file.filename not in known)
            if not new:  # listed already, and now their bytes are here too
                self._report.files += len(found)
                return
            head = page.head if page else PageHead(display_name=project)
            stamp = page.stamp if page else (await self._store.standings(project, [name]))[0].stamp
            try:
                await self._store.apply(
                    [MirrorPage(name, project, head, new)], who=IMPORTER, require=[ProjectAt(name, project, stamp)]
                )
            except RequirementFailed:
                continue
            self._report.files += len(found)
            self._report.bytes += sum(file.size or 0 for file in new)
            return
        raise Unavailable(f"{project} in {name} changes faster than it can be imported", hint="run the import again")

    async def _is_cached(self, row: PageRow | None, file: DumpFile) -> bool:
        if row is None:
            return False
        known = decode_file(row.body).sha256
        return known is not None and known == file.digests.get("sha256") and await self._blobs.stat(known) is not None

    # Releases.

    async def _releases(self, index: IndexName, raw: str, place: int) -> None:
        """What the versions of one project say, and the versions that have no files."""
        project = translated_project(raw)
        if project is None:
            self._report.left_out("project", f"{index} {raw}", "no project can be called so")
            return
        (standing,) = await self._store.standings(project, [index])
        if standing.stamp and not standing.holds:
            self._report.changed("project", f"{index} {project}", _DELETED)
            return
        versions = self._dump.versions(raw, place)
        batch = await self._next(versions)
        if not batch and not standing.holds:
            await self._commit_releases(index, project, [])
        while batch:
            readable = []
            for one in batch:
                if isinstance(one, Unreadable):
                    self._report.left_out("version", f"{index} {one.name}", one.reason)
                elif self._was_deleted(index, project, canonical_version(one.version)):
                    if await self._store.release(index, project, one.version) is None:
                        self._report.changed("version", f"{index} {project} {one.version}", _DELETED)
                else:
                    readable.append(one)
            await self._commit_releases(index, project, readable)
            failpoint("import.releases_kept")
            batch = await self._next(versions)

    async def _commit_releases(self, index: IndexName, project: ProjectName, versions: list[DumpVersion]) -> None:
        """Some versions of a project. Of two that are the same version (1.0 and 1.0.0) the first counts."""
        for _ in range(_TURNS):
            page = await self._store.page(index, project)
            with_files = {canonical_version(row.version) for row in page.rows} if page else set()
            new: dict[str, DumpVersion] = {}
            for one in versions:
                if await self._store.release(index, project, one.version) is None:
                    new.setdefault(canonical_version(one.version), one)
            name = next((str(one.metadata["name"]) for one in versions if one.metadata.get("name")), project)
            head = page.head if page else PageHead(display_name=name)
            if head.display_name == project:  # which stands for a name that nobody knew
                head = replace(head, display_name=name)
            listed = {canonical_version(version) for version in head.versions} | with_files
            bare = tuple(one.version for canonical, one in new.items() if canonical not in listed)
            head = replace(head, versions=(*head.versions, *bare))
            changes: list[Change] = [] if page and page.head == head else [PutProject(index, project, head)]
            changes += [PutRelease(index, project, _release(one)) for one in new.values()]
            stamp = page.stamp if page else (await self._store.standings(project, [index]))[0].stamp
            try:
                await self._store.apply(changes, who=IMPORTER, require=[ProjectAt(index, project, stamp)])
            except RequirementFailed:
                continue
            self._report.versions += len(new)
            return
        raise Unavailable(f"{project} in {index} changes faster than it can be imported", hint="run the import again")

    # Documentation and test results.

    async def _attachments(self, index: IndexName, files: list[DumpFile]) -> None:
        for file in files:
            word = _WORDS[file.kind]
            label = f"{index} {file.filename}"
            try:
                reason = await self._attachment(index, file)
            except PkgIndexError as error:
                if not isinstance(error, (Conflict, Refused)):
                    raise
                reason = error.message
            if reason:
                self._report.left_out(word, label, reason)

    async def _attachment(self, index: IndexName, file: DumpFile) -> str:
        """Keep one; or say why not."""
        project = translated_project(file.project)
        if project is None:
            return f"its project cannot be called {file.project[:80]!r}"
        reason = unsafe_filename(file.filename)
        if reason:
            return reason
        (standing,) = await self._store.standings(project, [index])
        if not standing.holds:
            return f"its project {project} is not here"
        about = file.about if file.kind == "toxresult" else ""
        if file.kind == "toxresult" and (not about or await self._store.file(index, project, about) is None):
            return f"the file that was tested is not here: {about or 'the dump does not name it'}"
        there = await self._present(index, project, file.filename)
        if there is None and ((index, about) in self._replaced or self._was_deleted(index, project, file.filename)):
            self._report.changed(_WORDS[file.kind], f"{index} {file.filename}", _DELETED)
            return ""
        if there is not None and there.sha256 == file.digests.get("sha256"):
            self._report.present += 1
            return ""
        kept = await self._intake.keep(file)
        if isinstance(kept, str):
            return kept
        if there is not None:
            if there.sha256 == kept.sha256:
                self._report.present += 1
                return ""
            return "the project has another under its name"
        moment = file_time(file) or self._clock.now()
        attachment = Attachment(
            kind=file.kind,
            filename=file.filename,
            version=file.version,
            about=about,
            sha256=kept.sha256,
            size=kept.size,
            added=moment,
            history=translated_log(file, index, moment),
        )
        free = AttachmentAbsent(index, project, file.filename)
        await self._store.apply([PutAttachment(index, project, attachment)], who=IMPORTER, require=[free])
        self._report.bytes += kept.size
        if file.kind == "doczip":
            self._report.documentation += 1
        else:
            self._report.test_results += 1
        return ""

    def _was_deleted(self, index: IndexName, project: ProjectName, name: str) -> bool:
        return (project, name) in self._deleted.get(index, ())

    async def _present(self, index: IndexName, project: ProjectName, filename: str) -> Attachment | None:
        found = await self._store.find_attachment(index, filename)
        if found is None or found[0] == project:
            return found[1] if found else None
        among = await self._store.attachments(index, project)  # a namesake of another project came first
        return next((one for one in among if one.filename == filename), None)


def _free(changes: list[PutFile]) -> list[Requirement]:
    return [FileAbsent(change.index, change.file.filename) for change in changes]


def _release(version: DumpVersion) -> Release:
    return Release(version=version.version, metadata=encode_metadata(version.metadata))
