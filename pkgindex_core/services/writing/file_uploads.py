"""A distribution that came in: looked at, and durable and visible before anybody is told so.

    archive inspected -> form and archive agree -> checks of plugins -> metadata kept -> file kept -> commit (name still free?)

Nothing is kept before everything was checked, and nothing is visible before the commit: a process that dies on the
way leaves at most a blob that no row names. Publishing the same bytes again is a success that changes nothing,
so a client that lost the answer may repeat itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, FileAbsent, IndexIs, ProjectAt, PutFile, PutRelease, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import (
    Conflict,
    Corrupt,
    Missing,
    PkgIndexError,
    Refused,
)
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives import Inspection, inspect_archive
from pkgindex_core.formats.core_metadata import CoreMetadata, read_metadata
from pkgindex_core.formats.filenames import UploadName, canonical_version, parse_upload_filename, sdist_ending
from pkgindex_core.formats.upload_form import check_form, check_upload
from pkgindex_core.formats.upload_rules import RULES, Findings, UploadRules
from pkgindex_core.models import Event, File, IndexConfig, Release, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Blob,
    BlobStore,
    IndexStore,
    InspectedUpload,
    Principal,
    Stage,
    Taken,
    UploadCheck,
    UploadForm,
)
from pkgindex_core.rules.access import open_project, publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker


class Published(Struct, frozen=True, kw_only=True):
    """What an upload came to."""

    index: IndexName
    project: ProjectName
    file: File
    created: bool
    """False: the same bytes were there already, nothing changed."""
    warnings: tuple[str, ...] = ()


class _Arrival(Struct, frozen=True, kw_only=True):
    """A file that was looked at, and what is to be kept of it."""

    file: File
    display_name: str
    metadata: CoreMetadata
    said_inside: bool
    """Whether the metadata is what the file says of itself, not what its name and form say of it."""
    warnings: tuple[str, ...]


class FileUploads:
    """Keeps distributions in hosted indexes."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        sources: Sources,
        checks: Sequence[UploadCheck],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sources = sources
        self._blobs = blobs
        self._checks = checks
        self._workers = workers
        self._clock = clock

    async def publish(
        self,
        stage: Stage,
        form: UploadForm,
        name: UploadName,
        filename: str,
        *,
        config: IndexConfig,
        rules: UploadRules,
        principal: Principal,
    ) -> Published:
        """Check the file that was received with its form, keep it, commit, and say what became of it.

        `config` is the index as it was when the principal was allowed to publish this project there, and `rules` are those by
        which the filename was read; the commit looks again.
        """
        return await _FileUpload(self, form, name, filename, config, rules, principal).publish(stage)


class _FileUpload:
    """One file on its way in. `_config` is the index as it was looked at last."""

    def __init__(
        self,
        service: FileUploads,
        form: UploadForm,
        name: UploadName,
        filename: str,
        config: IndexConfig,
        rules: UploadRules,
        principal: Principal,
    ) -> None:
        self._store = service._store
        self._sources = service._sources
        self._blobs = service._blobs
        self._checks = service._checks
        self._workers = service._workers
        self._clock = service._clock
        self._form = form
        self._name = name
        self._filename = filename
        self._config = config
        self._rules = rules
        self._principal = principal

    async def publish(self, stage: Stage) -> Published:
        sha256 = Sha256(stage.hexdigest())
        await self._read_name_as_known()
        taken = await self._check_name(sha256)
        if taken is not None and taken.live and taken.sha256 == sha256:
            return await self._renewed(stage)
        await stage.flush()
        inspected, arrival = await in_worker(self._workers, lambda: self._inspect(stage.path, stage.size))
        failpoint("upload.archive_inspected")
        await self._check_release()
        # Side by side: each waits for the disk twice, and no row names either of them yet.
        kept = [stage.keep(), *([self._blobs.put(inspected.metadata)] if self._name.kind == "wheel" else [])]
        blob, *sidecar = _all_or_raise(await asyncio.gather(*kept, return_exceptions=True))
        failpoint("upload.metadata_kept")
        failpoint("upload.blob_kept")
        file = _with_digests(inspected.file, blob.sha256, blob.size, sidecar[0].sha256 if sidecar else None)
        published = await self._commit(msgspec.structs.replace(arrival, file=file), sha256)
        failpoint("upload.committed")
        return published

    async def _commit(self, arrival: _Arrival, sha256: Sha256) -> Published:
        """Commit the file, with what it says of its version, under exactly what was checked.

        That is the index as it is configured, the name free, and the project as it was where more of it was looked at (the other
        sdists of a release, the file that is overwritten, what is said of the version already). When any of that has changed
        meanwhile it is checked anew, and refused for what is wrong now.
        """
        index = self._config.name

        async def attempt(turn: int) -> Published:
            self._config = publishing_index(
                await self._store.tree(), index, self._principal, Action.UPLOAD, project=self._name.project
            )
            if RULES[self._config.upload_rules] is not self._rules:
                raise Conflict(f"the upload_rules of {index} were changed during the upload", hint="upload it again")
            taken = await self._check_name(sha256)
            if taken is not None and taken.live and taken.sha256 == sha256:
                return await self._unchanged()
            stamp = await self._check_release()
            guards: list[Requirement] = [IndexIs(self._config)]
            if not self._config.volatile:
                guards.append(FileAbsent(index, arrival.file.filename))
            file = msgspec.structs.replace(arrival.file, history=await self._history(taken))
            changes: list[Change] = [PutFile(index, self._name.project, file, arrival.display_name)]
            release, is_said = await self._release(arrival)
            # What is said already may go with a version that is deleted just now. Many wheels at once do not wait for each other twice.
            relies = is_said and not turn
            if not relies:
                changes.append(PutRelease(index, self._name.project, release))
            if self._name.kind == "sdist" or taken is not None or relies:
                guards.append(ProjectAt(index, self._name.project, stamp))
            source = self._sources.of(self._config)
            await source.put(self._config, changes, who=self._principal.label, require=guards)
            return Published(
                index=index, project=self._name.project, file=file, created=True, warnings=arrival.warnings
            )

        return await until_committed(
            attempt, f"{self._name.project} changes faster than it can be written", hint="upload it again"
        )

    async def _history(self, taken: Taken | None) -> tuple[Event, ...]:
        """How the file came here. One that replaces another says how often that has happened, and forgets who brought the other."""
        now = self._clock.now()
        arrived = Event(what="upload", at=now, who=self._principal.name or "", target=self._config.name)
        if taken is None or not taken.live:
            return (arrived,)
        before = await self._store.file(self._config.name, self._name.project, self._filename)
        count = sum(event.count for event in before.history if event.what == "overwrite") if before else 0
        return (Event(what="overwrite", at=now, count=count + 1), arrived)

    async def _release(self, arrival: _Arrival) -> tuple[Release, bool]:
        """What is to be said of the version from now on, and whether that is said already."""
        metadata = arrival.metadata
        known = await self._store.release(self._config.name, self._name.project, metadata.version)
        if not arrival.said_inside:
            # A form is believed where no file says anything.
            said = known.metadata if known is not None else version_documents.from_form(self._form_for(metadata))
        elif known is not None and self._name.kind == "sdist":
            said = version_documents.from_sdist(metadata, known.metadata)
        else:
            said = version_documents.from_archive(metadata)
        release = Release(version=metadata.version, metadata=said)
        return release, release == known

    def _form_for(self, metadata: CoreMetadata) -> UploadForm:
        """The form with a name and a version in it, which it may have left out."""
        return UploadForm(fields={**self._form.fields, "name": (metadata.name,), "version": (metadata.version,)})

    def _inspect(self, path: Path, size: int) -> tuple[InspectedUpload, _Arrival]:
        """Read the archive, in a worker thread; every problem of archive, form and checks at once."""
        try:
            inspection = inspect_archive(path, self._name, rules=self._rules)
        except Refused as error:
            # An archive that has to be built again is not all that has to change.
            more = Findings(self._rules)
            check_form(self._form, self._name, "", more)
            raise Refused([*error.problems, *more.problems], hint=error.hint) from error
        self._name = self._named_by(inspection)
        facts = check_upload(self._form, self._filename, self._name, inspection, self._rules)
        file = File(
            filename=self._filename,
            version=facts.version,
            size=size,
            upload_time=self._clock.now(),
            requires_python=facts.requires_python,
        )
        upload = InspectedUpload(
            index=self._config.name,
            project=self._name.project,
            file=file,
            form=self._form,
            metadata=inspection.metadata or b"",
            path=path,
        )
        problems = [problem for check in self._checks for problem in check.problems(upload)]
        if problems:
            raise Refused(problems)
        arrival = _Arrival(
            file=file,
            display_name=facts.display_name,
            metadata=facts.metadata,
            said_inside=inspection.metadata is not None,
            warnings=tuple(dict.fromkeys((*self._name.warnings, *inspection.warnings, *facts.warnings))),
        )
        return upload, arrival

    def _named_by(self, inspection: Inspection) -> UploadName:
        """The filename cut into name and version as its archive says, where the form does not say how."""
        if inspection.metadata is None or self._form.first("name"):
            return self._name
        said = read_metadata(inspection.metadata)
        return parse_upload_filename(self._filename, self._rules, project=said.name, version=said.version)

    async def _read_name_as_known(self) -> None:
        """Cut the filename as it was cut when it came the first time, where the form does not say how."""
        taken = await self._store.taken(self._config.name, self._filename)
        if taken is None or taken.project == self._name.project or self._form.first("name"):
            return
        name = parse_upload_filename(self._filename, self._rules, project=taken.project)
        if name.project == taken.project:
            publishing_index(
                await self._store.tree(), self._config.name, self._principal, Action.UPLOAD, project=name.project
            )
            self._name = name

    async def _check_name(self, sha256: Sha256) -> Taken | None:
        """Whether the filename may be used; the commit checks again."""
        taken = await self._store.taken(self._config.name, self._filename)
        if taken is None:
            return None
        if taken.project != self._name.project:
            raise Conflict(f"File already exists: {self._filename} belongs to the project {taken.project}")
        same = taken.live and taken.sha256 == sha256
        if not same and not self._config.volatile:
            raise _name_taken(self._filename, taken)
        return taken

    async def _check_release(self) -> Serial:
        """What the project's other files and its status forbid; the stamp of the project that was looked at."""
        (standing,) = await self._store.standings(self._name.project, [self._config.name])
        open_project(standing, self._name.project)
        if self._name.kind != "sdist" or not standing.file_count:
            return standing.stamp
        # One sdist per release (standards VA-18): another spelling of the same version is the only way to a second. Of old
        # times there may be one more in each other format, since `setup.py sdist` wrote several.
        page = await self._store.page(self._config.name, self._name.project)
        wanted = canonical_version(self._name.version)
        for row in page.rows if page else ():
            if (
                sdist_ending(row.filename) == sdist_ending(self._filename)
                and row.filename != self._filename
                and canonical_version(row.version) == wanted
            ):
                raise Conflict(f"File already exists: the release {wanted} has the source distribution {row.filename}")
        return standing.stamp

    async def _renewed(self, stage: Stage) -> Published:
        """The same bytes again: nothing changes in the index, and what was lost or damaged on the disk is made good."""
        published = await self._unchanged()
        metadata = published.file.metadata_sha256
        if metadata and not await self._is_whole(metadata):
            await stage.flush()
            inspection = await in_worker(
                self._workers, lambda: inspect_archive(stage.path, self._name, rules=self._rules)
            )
            if inspection.metadata is not None:
                await self._blobs.put(inspection.metadata)
        await stage.keep()
        return published

    async def _is_whole(self, key: Sha256) -> bool:
        try:
            data = b"".join([chunk async for chunk in self._blobs.read(key)])
        except (Missing, Corrupt):
            return False
        return sha256_of(data) == key

    async def _unchanged(self) -> Published:
        file = await self._store.file(self._config.name, self._name.project, self._filename)
        if file is None:
            raise Conflict(f"{self._filename} was deleted while it was being uploaded", hint="upload it again")
        return Published(index=self._config.name, project=self._name.project, file=file, created=False)


def _all_or_raise(outcomes: Sequence[Blob | BaseException]) -> list[Blob]:
    """The blobs; the first failure if any failed, after all of them have ended."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Blob)]


def _with_digests(file: File, sha256: str, size: int, metadata_sha256: str | None) -> File:
    return msgspec.structs.replace(file, digests={"sha256": sha256}, size=size, metadata_sha256=metadata_sha256)


def _name_taken(filename: str, taken: Taken) -> PkgIndexError:
    if taken.live:
        return Conflict(
            f"File already exists: {filename} already exists in non-volatile index, with other bytes (sha256 {taken.sha256})",
            hint="publish the changed files under a new version; only a volatile index may overwrite",
        )
    return Conflict(
        f"This filename was previously used by a file that was deleted: {filename}",
        hint="publish under a new version; a name is never given to other bytes",
    )
