"""A distribution that came in: looked at, and durable and visible before anybody is told so.

    archive inspected -> form and archive agree -> checks of plugins -> metadata kept -> file kept -> commit (name still free?)

Nothing is kept before everything was checked, and nothing is visible before the commit: a process that dies on the
way leaves at most a blob that no row names. Publishing the same bytes again is a success that changes nothing,
so a client that lost the answer may repeat itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, FileAbsent, IndexIs, ProjectAt, PutFile, PutRelease, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Conflict, Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.upload_rules import RULES, UploadRules
from pkgindex_core.models import Event, File, IndexConfig, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Blob,
    BlobStore,
    Principal,
    Projects,
    ReleaseRecords,
    Stage,
    Taken,
    Trees,
    UploadForm,
)
from pkgindex_core.rules.access import publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.collisions import check_filename, check_release, is_same
from pkgindex_core.services.writing.inspecting import Arrival, Inspecting
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources


class Published(Struct, frozen=True, kw_only=True):
    """What an upload came to."""

    index: IndexName
    project: ProjectName
    file: File
    created: bool
    """False: the same bytes were there already, nothing changed."""
    warnings: tuple[str, ...] = ()


class _Store(Trees, Projects, ReleaseRecords, Protocol): ...


class FileUploads:
    """Keeps distributions in hosted indexes."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        sources: Sources,
        inspecting: Inspecting,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sources = sources
        self._blobs = blobs
        self._inspecting = inspecting
        self._clock = clock

    async def publish(
        self,
        stage: Stage,
        form: UploadForm,
        name: UploadName,
        *,
        config: IndexConfig,
        rules: UploadRules,
        principal: Principal,
    ) -> Published:
        """Check the file that was received with its form, keep it, commit, and say what became of it.

        `config` is the index as it was when the principal was allowed to publish this project there, and `rules` are those by
        which the filename was read; the commit looks again.
        """
        return await _FileUpload(self, form, name, config, rules, principal).publish(stage)


class _FileUpload:
    """One file on its way in. `_config` is the index as it was looked at last."""

    def __init__(
        self,
        service: FileUploads,
        form: UploadForm,
        name: UploadName,
        config: IndexConfig,
        rules: UploadRules,
        principal: Principal,
    ) -> None:
        self._store = service._store
        self._sources = service._sources
        self._blobs = service._blobs
        self._inspecting = service._inspecting
        self._clock = service._clock
        self._form = form
        self._name = name
        self._config = config
        self._rules = rules
        self._principal = principal

    async def publish(self, stage: Stage) -> Published:
        sha256 = Sha256(stage.hexdigest())
        await self._read_name_as_known()
        taken = await self._check_filename(sha256)
        if is_same(taken, sha256):
            return await self._renewed(stage)
        arrival = await self._inspecting.inspect(
            stage, self._form, self._name, index=self._config.name, rules=self._rules
        )
        self._name = arrival.name
        failpoint("upload.archive_inspected")
        await self._check_release()
        # Side by side: each waits for the disk twice, and no row names either of them yet.
        kept = [stage.keep(), *([self._blobs.put(arrival.archive_metadata)] if self._name.kind == "wheel" else [])]
        blob, *sidecar = _all_or_raise(await asyncio.gather(*kept, return_exceptions=True))
        failpoint("upload.metadata_kept")
        failpoint("upload.blob_kept")
        file = _with_digests(arrival.file, blob.sha256, blob.size, sidecar[0].sha256 if sidecar else None)
        published = await self._commit(msgspec.structs.replace(arrival, file=file), sha256)
        failpoint("upload.committed")
        return published

    async def _commit(self, arrival: Arrival, sha256: Sha256) -> Published:
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
            taken = await self._check_filename(sha256)
            if is_same(taken, sha256):
                return await self._unchanged()
            stamp = await self._check_release()
            guards: list[Requirement] = [IndexIs(self._config)]
            if not self._config.volatile:
                guards.append(FileAbsent(index, arrival.file.filename))
            file = msgspec.structs.replace(arrival.file, history=await self._history(taken))
            changes: list[Change] = [PutFile(index, self._name.project, file, arrival.display_name)]
            known = await self._store.release(index, self._name.project, arrival.metadata.version)
            release = arrival.release(self._form, known)
            # What is said already may go with a version that is deleted just now. Many wheels at once do not wait for each other twice.
            relies = release == known and not turn
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
        before = await self._store.file(self._config.name, self._name.project, self._name.filename)
        count = sum(event.count for event in before.history if event.what == "overwrite") if before else 0
        return (Event(what="overwrite", at=now, count=count + 1), arrived)

    async def _read_name_as_known(self) -> None:
        """Cut the filename as it was cut when it came the first time, where the form does not say how."""
        taken = await self._store.taken(self._config.name, self._name.filename)
        if taken is None or taken.project == self._name.project or self._form.first("name"):
            return
        name = parse_upload_filename(self._name.filename, self._rules, project=taken.project)
        if name.project == taken.project:
            publishing_index(
                await self._store.tree(), self._config.name, self._principal, Action.UPLOAD, project=name.project
            )
            self._name = name

    async def _check_filename(self, sha256: Sha256) -> Taken | None:
        return await check_filename(self._store, self._config, self._name, sha256)

    async def _check_release(self) -> Serial:
        return await check_release(self._store, self._config.name, self._name)

    async def _renewed(self, stage: Stage) -> Published:
        """The same bytes again: nothing changes in the index, and what was lost or damaged on the disk is made good."""
        published = await self._unchanged()
        metadata = published.file.metadata_sha256
        if metadata and not await self._is_whole(metadata):
            inside = await self._inspecting.metadata(stage, self._name, rules=self._rules)
            if inside is not None:
                await self._blobs.put(inside)
        await stage.keep()
        return published

    async def _is_whole(self, key: Sha256) -> bool:
        try:
            data = b"".join([chunk async for chunk in self._blobs.read(key)])
        except (Missing, Corrupt):
            return False
        return sha256_of(data) == key

    async def _unchanged(self) -> Published:
        file = await self._store.file(self._config.name, self._name.project, self._name.filename)
        if file is None:
            raise Conflict(f"{self._name.filename} was deleted while it was being uploaded", hint="upload it again")
        return Published(index=self._config.name, project=self._name.project, file=file, created=False)


def _all_or_raise(outcomes: Sequence[Blob | BaseException]) -> list[Blob]:
    """The blobs; the first failure if any failed, after all of them have ended."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Blob)]


def _with_digests(file: File, sha256: str, size: int, metadata_sha256: str | None) -> File:
    return msgspec.structs.replace(file, digests={"sha256": sha256}, size=size, metadata_sha256=metadata_sha256)
