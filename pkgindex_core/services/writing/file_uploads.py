"""Takes a distribution. The answer is sent after the file is durable and visible.

    archive inspected -> form and archive agree -> checks of plugins -> attestations -> metadata, file, provenance kept -> commit

Nothing is kept before all checks, and nothing is visible before the commit: a process that dies leaves at most a blob that no
row names. Uploading the same bytes again succeeds and changes nothing, so a client that lost the answer may repeat the upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pkgindex_core.changes import Change, FileAbsent, IndexIs, ProjectAt, PutFile, PutRelease, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, RequirementFailed
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.upload_rules import RULES, UploadRules
from pkgindex_core.models import Event, IndexConfig, Serial, Tree
from pkgindex_core.protocols import BlobStore, Principal, Projects, ReleaseRecords, Spool, Taken, Trees, UploadForm
from pkgindex_core.protocols.sources import NOTHING_SPOOLED
from pkgindex_core.rules.access import publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.quotas import within_quotas
from pkgindex_core.services.writing.attesting import Attesting, provenance_of
from pkgindex_core.services.writing.blob_checks import is_whole
from pkgindex_core.services.writing.collisions import check_filename, check_quotas, check_release, is_same
from pkgindex_core.services.writing.inspecting import Arrival, Inspecting
from pkgindex_core.services.writing.outcomes import Published
from pkgindex_core.services.writing.policing import UploadPolicing, same_terms
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.side_by_side import all_or_raise
from pkgindex_core.tools.sources import Sources


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
        attesting: Attesting,
        policing: UploadPolicing,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sources = sources
        self._blobs = blobs
        self._inspecting = inspecting
        self._attesting = attesting
        self._policing = policing
        self._clock = clock

    async def publish(
        self,
        spool: Spool,
        form: UploadForm,
        name: UploadName,
        *,
        config: IndexConfig,
        rules: UploadRules,
        principal: Principal,
    ) -> Published:
        """Check the received file and its form, keep it, and commit, if `config` and `rules` are still those by which it was received."""
        return await _FileUpload(self, form, name, config, rules, principal).publish(spool)


class _FileUpload:
    """The upload of one file. `_config` is the index as it was last read."""

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
        self._attesting = service._attesting
        self._policing = service._policing
        self._clock = service._clock
        self._form = form
        self._name = name
        self._config = config
        self._keeps = config.needs_blobs
        """Whether the bytes go into the blob store. Otherwise the source of the index stores them elsewhere."""
        self._rules = rules
        self._principal = principal
        self._open_at: Serial | None = None  # the stamp at which the project could take the file

    async def publish(self, spool: Spool) -> Published:
        sha256 = Sha256(spool.hexdigest())
        taken = await self._store.taken(self._config.name, self._name.filename)
        tree = await self._store.tree()
        self._read_name_as_known(taken, tree)
        check_filename(taken, self._config, self._name, sha256)
        if is_same(taken, sha256) and not self._keeps:
            await self._look(again=True)  # the file may just have been removed from its place
            taken = await self._taken(sha256)
        if is_same(taken, sha256) and (renewed := await self._renewed(spool)) is not None:
            return renewed
        proof = await self._attesting.proof(self._form, self._name, sha256, self._config.name, self._principal)
        known = {"digests": {"sha256": sha256}, **proof.known}
        policies = await self._policing.check(tree, self._config, self._name.project, known)
        async with self._policing.heard(policies):
            arrival = await self._inspecting.inspect(
                spool, self._form, self._name, index=self._config.name, rules=self._rules, policies=policies
            )
        self._name = arrival.name
        failpoint("upload.archive_inspected")
        self._open_at = await check_release(self._store, self._config.name, self._name)
        await check_quotas(self._store, self._config, self._name, spool.size)
        sidecar = [self._blobs.put(arrival.archive_metadata)] if self._name.kind == "wheel" else []
        kept = [spool.keep()] if self._keeps else []
        signed = [self._blobs.put(proof.provenance)] if proof.provenance else []
        # Concurrently, since each waits for the disk twice. No row names either of them yet.
        blobs = await all_or_raise(*sidecar, *kept, *signed)
        failpoint("upload.metadata_kept")
        failpoint("upload.blob_kept")
        file = replace(arrival.file, size=spool.size, metadata_sha256=blobs[0].sha256 if sidecar else None, **known)
        spooled = NOTHING_SPOOLED
        if not self._keeps:
            await spool.flush()
            spooled = {sha256: spool.path}
        published = await self._commit(proof.on(replace(arrival, file=file)), sha256, spooled)
        failpoint("upload.committed")
        if published.created:
            self._attesting.tell(published.index, published.file)
        return published

    async def _commit(self, arrival: Arrival, sha256: Sha256, spooled: Mapping[Sha256, Path]) -> Published:
        """Commit the file and the metadata of its version. The commit requires that everything checked is unchanged.

        That is the configuration of the index, the free name, and, if more of the project was read, the project (other sdists of the
        release, the overwritten file, stored metadata of the version). After a concurrent change the checks are repeated, and may
        refuse the file.
        """
        index, project = self._config.name, self._name.project

        async def attempt(turn: int) -> Published:
            before = self._config
            self._config = publishing_index(
                await self._store.tree(), index, self._principal, Action.UPLOAD, project=project
            )
            if not same_terms(self._config, before) or RULES[self._config.upload_rules] is not self._rules:
                raise Conflict(f"the rules or type of {index} were changed during the upload", hint="upload it again")
            if turn:
                # A source may have listed the file meanwhile and taken it back with the failed attempt, so it looks again.
                await self._look()
            taken = await self._taken(sha256)
            if is_same(taken, sha256):
                if (unchanged := await self._unchanged()) is not None:
                    return unchanged
                raise RequirementFailed(f"{self._name.filename} was deleted meanwhile", None)
            stamp = await check_release(self._store, index, self._name, known=self._open_at)
            guards: list[Requirement] = [IndexIs(self._config), *within_quotas(self._config)]
            if not self._config.volatile:
                guards.append(FileAbsent(index, arrival.file.filename))
            file = replace(arrival.file, history=await self._history(taken))
            put = PutFile(index, project, file, arrival.display_name)
            changes: list[Change] = [put, *provenance_of(arrival, index, project)]
            known = await self._store.release(index, project, arrival.metadata.version)
            release = arrival.release(self._form, known)
            # The stored metadata may be dropped with its version meanwhile, so the commit relies on it. Only on the first turn: otherwise
            # many wheels at once would wait for each other again and again.
            relies = release == known and not turn
            if not relies:
                changes.append(PutRelease(index, project, release))
            if self._name.kind == "sdist" or taken is not None or relies:
                guards.append(ProjectAt(index, project, stamp))
            source = self._sources.of(self._config)
            await source.put(self._config, changes, who=self._principal.label, require=guards, spooled=spooled)
            return Published(index=index, project=project, file=file, created=True, warnings=arrival.warnings)

        return await until_committed(
            attempt, f"{project} changes faster than it can be written", hint="upload it again"
        )

    async def _look(self, *, again: bool = False) -> None:
        """Make the source compare the stored files of the project with the files in its place."""
        (standing,) = await self._store.standings(self._name.project, [self._config.name])
        await self._sources.of(self._config).refresh(self._config, self._name.project, standing, again=again)

    async def _history(self, taken: Taken | None) -> tuple[Event, ...]:
        """The history of the file. If it replaces another, the history counts the overwrites and drops the events of the other file."""
        arrived = Event(
            what="upload", at=(now := self._clock.now()), who=self._principal.name or "", target=self._config.name
        )
        if taken is None or not taken.live:
            return (arrived,)
        before = await self._store.file(self._config.name, self._name.project, self._name.filename)
        count = sum(event.count for event in before.history if event.what == "overwrite") if before else 0
        return (Event(what="overwrite", at=now, count=count + 1), arrived)

    def _read_name_as_known(self, taken: Taken | None, tree: Tree) -> None:
        """Split the filename as at its first upload, if the form does not say where the version begins."""
        if taken is None or taken.project == self._name.project or self._form.first("name"):
            return
        name = parse_upload_filename(self._name.filename, self._rules, project=taken.project)
        if name.project == taken.project:
            publishing_index(tree, self._config.name, self._principal, Action.UPLOAD, project=name.project)
            self._name = name

    async def _taken(self, sha256: Sha256) -> Taken | None:
        """The live file or tombstone of the filename. Raises `Conflict` if it may not be used for these bytes."""
        taken = await self._store.taken(self._config.name, self._name.filename)
        check_filename(taken, self._config, self._name, sha256)
        return taken

    async def _renewed(self, spool: Spool) -> Published | None:
        """Take the same bytes again: the index does not change, and lost or damaged blobs are repaired. None: they were deleted meanwhile."""
        if (published := await self._unchanged()) is None:
            return None
        metadata = published.file.metadata_sha256
        if metadata and not await is_whole(self._blobs, metadata):
            inside = await self._inspecting.metadata(spool, self._name, rules=self._rules)
            if inside is not None:
                await self._blobs.put(inside)
        if self._keeps:
            await spool.keep()
        return published

    async def _unchanged(self) -> Published | None:
        index, project = self._config.name, self._name.project
        file = await self._store.file(index, project, self._name.filename)
        return None if file is None else Published(index=index, project=project, file=file, created=False)
