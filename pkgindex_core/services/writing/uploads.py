"""Uploads come in: a form and a file in any order, bounded, spooled and hashed on the way, then handed to who keeps such a thing.

receive -> field*, content* (any order) -> finish: digests compared -> what the form asks for
file_upload  file_uploads
doc_upload   documentation_uploads
submit       registering
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.digests import Hasher
from pkgindex_core.errors import (
    Refused,
    TooLarge,
)
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_form import check_action, dropped_parts, expected_digests
from pkgindex_core.formats.upload_rules import RULES
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    BlobStore,
    IndexStore,
    Principal,
    Stage,
    UploadForm,
)
from pkgindex_core.rules.access import publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.documentation_uploads import DocumentationUploads, PublishedDocumentation
from pkgindex_core.services.writing.file_uploads import FileUploads, Published
from pkgindex_core.services.writing.registering import Registered, Registering
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.workers import in_worker

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


class Uploads:
    """Takes uploads into hosted indexes."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        files: FileUploads,
        documentation: DocumentationUploads,
        registering: Registering,
        limits: UploadLimits,
        workers: Executor,
    ) -> None:
        self._files = files
        self._documentation = documentation
        self._registering = registering
        self._store = store
        self._blobs = blobs
        self._limits = limits
        self._workers = workers

    @asynccontextmanager
    async def receive(self, index: IndexName, principal: Principal) -> AsyncIterator[Upload]:
        """Open an upload. Refuses early, before any byte of the body, what can be refused without it.

        What the system refuses to this process (an archive that cannot be read back, no descriptor left) leaves as `Unavailable`;
        a connection that breaks is the caller's business.
        """
        config = await self.may_upload(index, principal)
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

    async def may_upload(
        self, index: IndexName, principal: Principal, project: ProjectName | None = None
    ) -> IndexConfig:
        """Let a principal upload to an index, or say why not; `project` may not be known yet."""
        tree = await self._store.tree()
        # Before the form was read, it may be documentation: the right to upload that will do.
        also = (Action.UPLOAD_DOCS,) if project is None else ()
        return publishing_index(
            tree, index, principal, Action.UPLOAD, also=also, project=project, some_project=project is None
        )


class Upload:
    """One upload on its way in; made by `Uploads.receive`. Fields and content may come in any order."""

    def __init__(self, uploads: Uploads, config: IndexConfig, principal: Principal) -> None:
        self._uploads = uploads
        self._limits = uploads._limits
        self._config = config
        self._rules = RULES[config.upload_rules]
        self._principal = principal
        self._fields: dict[str, list[str]] = {}
        self._field_bytes = 0
        self._field_count = 0
        self._held = AsyncExitStack()
        self._stage: Stage | None = None
        self._filename = ""
        self._algorithms: set[str] = set()
        self._skipping = False
        self._signed = False

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
            parse_upload_filename(filename, self._rules)
        # Clients send digests before the content; for one that has sent none yet, every algorithm is computed.
        told = "sha256_digest" in self._fields or any(field in self._fields for field in _ASKED_ALGORITHMS)
        self._algorithms = {name for field, name in _ASKED_ALGORITHMS.items() if field in self._fields or not told}
        stage = self._uploads._blobs.stage(*sorted(self._algorithms))
        self._stage = await self._held.enter_async_context(stage)
        failpoint("upload.spool_opened")

    async def skip_content(self) -> None:
        """Let the next file part pass unread (a detached signature, which nothing uses any more)."""
        self._skipping = self._signed = True

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
        outcome = await self._take(form)
        dropped = dropped_parts(form, signed=self._signed)
        return replace(outcome, warnings=(*outcome.warnings, *dropped)) if dropped else outcome

    async def _take(self, form: UploadForm) -> Published | PublishedDocumentation | Registered:
        action = check_action(form)
        if action == "submit":
            if self._stage is not None:
                raise Refused(
                    "the form registers metadata and has a file", hint="send :action=file_upload to publish it"
                )
            return await self._uploads._registering.register(self._config.name, form, self._principal, self._rules)
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
        name = parse_upload_filename(
            self._filename,
            self._rules,
            project=form.first("name"),
            version=form.first("version"),
        )
        config = await self._uploads.may_upload(self._config.name, self._principal, name.project)
        await self._compare_digests(stage, expected_digests(form))
        failpoint("upload.digests_checked")
        return await self._uploads._files.publish(
            stage, form, name, config=config, rules=self._rules, principal=self._principal
        )

    async def _compare_digests(self, stage: Stage, expected: Mapping[str, str]) -> None:
        """Hold the bytes against every digest that was sent, wherever in the form it stood (UP-1, UP-5)."""
        actual = {name: stage.hexdigest(name) for name in ("sha256", *self._algorithms)}
        late = [name for name in expected if name not in actual]
        if late:
            await stage.flush()
            actual |= await in_worker(self._uploads._workers, lambda: _digests_of(stage.path, late))
        wrong = [name for name, value in expected.items() if actual[name] != value]
        if wrong:
            raise Refused(
                [f"the {name} digest sent is {expected[name]}, the file's is {actual[name]}" for name in wrong],
                hint="the file was changed on the way: upload it again",
            )


def _digests_of(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    hasher = Hasher(*algorithms)
    with path.open("rb") as stream:
        while data := stream.read(_READ_BYTES):
            hasher.update(data)
    return {name: hasher.hexdigest(name) for name in algorithms}
