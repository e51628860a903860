"""Publishing: a file comes in, is looked at, and is durable and visible before anybody is told so.

    receive -> field*, content* (any order) -> finish:
      digests compared -> archive inspected -> form and archive agree -> checks of plugins
      -> metadata kept -> file kept -> commit (name still free?) -> done

Nothing is kept before everything was checked, and nothing is visible before the commit: a process that dies on the
way leaves at most a blob that no row names. Publishing the same bytes again is a success that changes nothing,
so a client that lost the answer may repeat itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, FileAbsent, IndexIs, ProjectAt, PutFile, PutRelease, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Hasher, Sha256, sha256_of
from pkgindex_core.errors import (
    Conflict,
    Corrupt,
    Missing,
    PkgIndexError,
    Refused,
    TooLarge,
)
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives import inspect_archive
from pkgindex_core.formats.core_metadata import CoreMetadata
from pkgindex_core.formats.filenames import UploadName, canonical_version, parse_upload_filename
from pkgindex_core.formats.upload_form import check_action, check_upload, expected_digests, form_problems
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
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.access import open_project, publishing_index
from pkgindex_core.services.committing import until_committed
from pkgindex_core.services.documentation_uploads import DocumentationUploads, PublishedDocumentation
from pkgindex_core.services.registering import Registered, Registering
from pkgindex_core.storage_failures import storage_failure

T = TypeVar("T")

# What a form may ask to be compared besides sha256, which is always computed.
_ASKED_ALGORITHMS = {"md5_digest": "md5", "blake2_256_digest": "blake2b_256"}
_READ_BYTES = 1024 * 1024


class UploadLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one upload, in bytes and counts."""

    file_bytes: int = 2 * 1024**3
    field_bytes: int = 4 * 1024**2
    """One text field; descriptions are the large ones."""
    form_bytes: int = 16 * 1024**2
    """All text fields together."""
    field_count: int = 4096
    """Values, not names: a package may have hundreds of classifiers and requirements."""


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
    warnings: tuple[str, ...]


class Uploads:
    """Takes uploads into hosted indexes."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        checks: Sequence[UploadCheck],
        documentation: DocumentationUploads,
        registering: Registering,
        limits: UploadLimits,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._documentation = documentation
        self._registering = registering
        self._store = store
        self._blobs = blobs
        self._checks = checks
        self._limits = limits
        self._workers = workers
        self._clock = clock

    @asynccontextmanager
    async def receive(self, index: IndexName, principal: Principal) -> AsyncIterator[Upload]:
        """Open an upload. Refuses early, before any byte of the body, what can be refused without it.

        What the system refuses to this process (an archive that cannot be read back, no descriptor left) leaves as `Unavailable`;
        a connection that breaks is the caller's business.
        """
        config = await self._hosted(index, principal)
        upload = Upload(self, config, principal)
        try:
            failpoint("upload.headers_read")
            yield upload
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            raise storage_failure(error, "taking an upload") from error
        finally:
            await upload.discard()

    async def _hosted(self, index: IndexName, principal: Principal, project: ProjectName | None = None) -> IndexConfig:
        tree = await self._store.tree()
        # Before the form was read, it may be documentation: the right to upload that will do.
        also = (Action.UPLOAD_DOCS,) if project is None else ()
        return publishing_index(
            tree, index, principal, Action.UPLOAD, also=also, project=project, some_project=project is None
        )

    async def _in_worker(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function)


class Upload:
    """One upload on its way in; made by `Uploads.receive`. Fields and content may come in any order."""

    def __init__(self, uploads: Uploads, config: IndexConfig, principal: Principal) -> None:
        self._uploads = uploads
        self._limits = uploads._limits
        self._config = config
        self._principal = principal
        self._fields: dict[str, list[str]] = {}
        self._field_bytes = 0
        self._field_count = 0
        self._held = AsyncExitStack()
        self._stage: Stage | None = None
        self._filename = ""
        self._algorithms: set[str] = set()
        self._skipping = False

    @property
    def limits(self) -> UploadLimits:
        return self._limits

    @property
    def form(self) -> UploadForm:
        """The text fields that came in so far."""
        return UploadForm(fields={name: tuple(values) for name, values in self._fields.items()})

    def field(self, name: str, value: str) -> None:
        """Take a text field."""
        self._field_count += 1
        self._field_bytes += len(name) + len(value)
        if self._field_count > self._limits.field_count:
            raise Refused(f"the form has more than {self._limits.field_count} fields")
        if self._field_bytes > self._limits.form_bytes:
            raise TooLarge("the form's text", self._limits.form_bytes)
        self._fields.setdefault(name, []).append(value)

    async def begin_content(self, filename: str) -> None:
        """Open the file part. Its name is checked at once, so that nothing is spooled in vain."""
        if self._stage is not None:
            raise Refused("the form has more than one `content` part", hint="upload one file per request")
        self._filename = filename
        self._skipping = False
        # What the form asks for may stand behind the content; until then a zip may be documentation (see `finish`).
        asked = self._fields.get(":action") or (["doc_upload"] if filename.endswith(".zip") else ["file_upload"])
        if "doc_upload" not in asked:
            parse_upload_filename(filename)
        # Clients send digests before the content; for one that has sent none yet, every algorithm is computed.
        told = "sha256_digest" in self._fields or any(field in self._fields for field in _ASKED_ALGORITHMS)
        self._algorithms = {name for field, name in _ASKED_ALGORITHMS.items() if field in self._fields or not told}
        stage = self._uploads._blobs.stage(*sorted(self._algorithms))
        self._stage = await self._held.enter_async_context(stage)
        failpoint("upload.spool_opened")

    async def skip_content(self) -> None:
        """Let the next file part pass unread (a detached signature, which nothing uses any more)."""
        self._skipping = True

    async def write(self, data: bytes | bytearray) -> None:
        """Take bytes of the file part."""
        if self._skipping:
            return
        if self._stage is None:
            raise Refused("content before its part was opened")
        if self._stage.size + len(data) > self._limits.file_bytes:
            raise TooLarge(
                "the file",
                self._limits.file_bytes,
                hint="raise max_upload_bytes if files this large are meant to be here",
            )
        await self._stage.write(data)
        failpoint("upload.body_half")

    async def discard(self) -> None:
        """Forget what was received; nothing happens after a `finish`."""
        self._stage = None
        await self._held.aclose()

    async def finish(self) -> Published | PublishedDocumentation | Registered:
        """Check everything, keep it, commit, and say what became of it."""
        failpoint("upload.body_complete")
        form = self.form
        action = check_action(form)
        if action == "submit":
            if self._stage is not None:
                raise Refused(
                    "the form registers metadata and has a file", hint="send :action=file_upload to publish it"
                )
            return await self._uploads._registering.register(self._config.name, form, self._principal)
        if self._stage is None:
            raise Refused(
                "content file field not found", hint="send the file as the multipart part `content`, with a filename"
            )
        stage = self._stage
        if action == "doc_upload":
            await self._compare_digests(stage, expected_digests(form))
            return await self._uploads._documentation.publish(
                stage, form, self._filename, index=self._config.name, principal=self._principal
            )
        name = parse_upload_filename(self._filename)
        self._config = await self._uploads._hosted(self._config.name, self._principal, name.project)
        await self._compare_digests(stage, expected_digests(form))
        failpoint("upload.digests_checked")
        sha256 = Sha256(stage.hexdigest())
        taken = await self._check_name(name, sha256)
        if taken is not None and taken.live and taken.sha256 == sha256:
            return await self._renewed(name, stage)
        await stage.flush()
        uploads = self._uploads
        inspected, arrival = await uploads._in_worker(lambda: self._inspect(name, form, stage.path, stage.size))
        failpoint("upload.archive_inspected")
        await self._check_release(name)
        # Side by side: each waits for the disk twice, and no row names either of them yet.
        kept = [stage.keep(), *([uploads._blobs.put(inspected.metadata)] if name.kind == "wheel" else [])]
        blob, *sidecar = _all_or_raise(await asyncio.gather(*kept, return_exceptions=True))
        failpoint("upload.metadata_kept")
        failpoint("upload.blob_kept")
        file = _with_digests(inspected.file, blob.sha256, blob.size, sidecar[0].sha256 if sidecar else None)
        published = await self._commit(msgspec.structs.replace(arrival, file=file), name, sha256)
        failpoint("upload.committed")
        return published

    async def _compare_digests(self, stage: Stage, expected: Mapping[str, str]) -> None:
        """Hold the bytes against every digest that was sent, wherever in the form it stood (UP-1, UP-5)."""
        actual = {name: stage.hexdigest(name) for name in ("sha256", *self._algorithms)}
        late = [name for name in expected if name not in actual]
        if late:
            await stage.flush()
            actual |= await self._uploads._in_worker(lambda: _digests_of(stage.path, late))
        wrong = [name for name, value in expected.items() if actual[name] != value]
        if wrong:
            raise Refused(
                [f"the {name} digest sent is {expected[name]}, the file's is {actual[name]}" for name in wrong],
                hint="the file was changed on the way: upload it again",
            )

    async def _commit(self, arrival: _Arrival, name: UploadName, sha256: Sha256) -> Published:
        """Commit the file, with what it says of its version, under exactly what was checked.

        That is the index as it is configured, the name free, and the project as it was where more of it was looked at (the other
        sdists of a release, the file that is overwritten, what is said of the version already). When any of that has changed meanwhile it is checked anew, and refused for what is wrong now.
        """
        index = self._config.name

        async def attempt(turn: int) -> Published:
            self._config = await self._uploads._hosted(index, self._principal, name.project)
            taken = await self._check_name(name, sha256)
            if taken is not None and taken.live and taken.sha256 == sha256:
                return await self._unchanged(name)
            stamp = await self._check_release(name)
            guards: list[Requirement] = [IndexIs(self._config)]
            if not self._config.volatile:
                guards.append(FileAbsent(index, arrival.file.filename))
            file = msgspec.structs.replace(arrival.file, history=await self._history(name, taken))
            changes: list[Change] = [PutFile(index, name.project, file, arrival.display_name)]
            release, is_said = await self._release(name, arrival.metadata)
            # What is said already may go with a version that is deleted just now. Many wheels at once do not wait for each other twice.
            relies = is_said and not turn
            if not relies:
                changes.append(PutRelease(index, name.project, release))
            if name.kind == "sdist" or taken is not None or relies:
                guards.append(ProjectAt(index, name.project, stamp))
            await self._uploads._store.apply(changes, who=self._principal.label, require=guards)
            return Published(index=index, project=name.project, file=file, created=True, warnings=arrival.warnings)

        return await until_committed(
            attempt, f"{name.project} changes faster than it can be written", hint="upload it again"
        )

    async def _history(self, name: UploadName, taken: Taken | None) -> tuple[Event, ...]:
        """How the file came here. One that replaces another says how often that has happened, and forgets who brought the other."""
        now = self._uploads._clock.now()
        arrived = Event(what="upload", at=now, who=self._principal.name or "", target=self._config.name)
        if taken is None or not taken.live:
            return (arrived,)
        before = await self._uploads._store.file(self._config.name, name.project, self._filename)
        count = sum(event.count for event in before.history if event.what == "overwrite") if before else 0
        return (Event(what="overwrite", at=now, count=count + 1), arrived)

    async def _release(self, name: UploadName, metadata: CoreMetadata) -> tuple[Release, bool]:
        """What is to be said of the version from now on, and whether that is said already."""
        known = await self._uploads._store.release(self._config.name, name.project, metadata.version)
        said = (
            version_documents.from_sdist(metadata, known.metadata)
            if known is not None and name.kind == "sdist"
            else version_documents.from_archive(metadata)
        )
        release = Release(version=metadata.version, metadata=said)
        return release, release == known

    def _inspect(self, name: UploadName, form: UploadForm, path: Path, size: int) -> tuple[InspectedUpload, _Arrival]:
        """Read the archive, in a worker thread; every problem of archive, form and checks at once."""
        try:
            inspection = inspect_archive(path, name)
        except Refused as error:
            # Whoever has to build the archive again should know at once what else has to change.
            raise Refused([*error.problems, *form_problems(form, name)], hint=error.hint) from error
        facts = check_upload(form, self._filename, name, inspection)
        file = File(
            filename=self._filename,
            version=name.version,
            size=size,
            upload_time=self._uploads._clock.now(),
            requires_python=facts.requires_python,
        )
        upload = InspectedUpload(
            index=self._config.name,
            project=name.project,
            file=file,
            form=form,
            metadata=inspection.metadata,
            path=path,
        )
        problems = [problem for check in self._uploads._checks for problem in check.problems(upload)]
        if problems:
            raise Refused(problems)
        arrival = _Arrival(
            file=file,
            display_name=facts.display_name,
            metadata=facts.metadata,
            warnings=(*inspection.warnings, *facts.warnings),
        )
        return upload, arrival

    async def _check_name(self, name: UploadName, sha256: Sha256) -> Taken | None:
        """Whether the filename may be used; the commit checks again."""
        taken = await self._uploads._store.taken(self._config.name, self._filename)
        if taken is None:
            return None
        if taken.project != name.project:
            raise Conflict(f"File already exists: {self._filename} belongs to the project {taken.project}")
        same = taken.live and taken.sha256 == sha256
        if not same and not self._config.volatile:
            raise _name_taken(self._filename, taken)
        return taken

    async def _check_release(self, name: UploadName) -> Serial:
        """What the project's other files and its status forbid; the stamp of the project that was looked at."""
        store = self._uploads._store
        (standing,) = await store.standings(name.project, [self._config.name])
        open_project(standing, name.project)
        if name.kind != "sdist" or not standing.file_count:
            return standing.stamp
        # One sdist per release (standards VA-18): another spelling of the same version is the only way to a second.
        page = await store.page(self._config.name, name.project)
        wanted = canonical_version(name.version)
        for row in page.rows if page else ():
            if (
                row.filename.endswith(".tar.gz")
                and row.filename != self._filename
                and canonical_version(row.version) == wanted
            ):
                raise Conflict(f"File already exists: the release {wanted} has the source distribution {row.filename}")
        return standing.stamp

    async def _renewed(self, name: UploadName, stage: Stage) -> Published:
        """The same bytes again: nothing changes in the index, and what was lost or damaged on the disk is made good."""
        published = await self._unchanged(name)
        metadata = published.file.metadata_sha256
        if metadata and not await self._is_whole(metadata):
            await stage.flush()
            inspection = await self._uploads._in_worker(lambda: inspect_archive(stage.path, name))
            await self._uploads._blobs.put(inspection.metadata)
        await stage.keep()
        return published

    async def _is_whole(self, key: Sha256) -> bool:
        try:
            data = b"".join([chunk async for chunk in self._uploads._blobs.read(key)])
        except (Missing, Corrupt):
            return False
        return sha256_of(data) == key

    async def _unchanged(self, name: UploadName) -> Published:
        file = await self._uploads._store.file(self._config.name, name.project, self._filename)
        if file is None:
            raise Conflict(f"{self._filename} was deleted while it was being uploaded", hint="upload it again")
        return Published(index=self._config.name, project=name.project, file=file, created=False)


def _digests_of(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    hasher = Hasher(*algorithms)
    with path.open("rb") as stream:
        while data := stream.read(_READ_BYTES):
            hasher.update(data)
    return {name: hasher.hexdigest(name) for name in algorithms}


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
