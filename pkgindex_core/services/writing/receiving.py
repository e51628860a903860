"""An upload on its way in: a form and a file in any order, bounded, spooled and hashed on the way.

    field*, content* (any order) -> finish

What the form asks for is not known here: `finish` hands what was received to whoever takes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

from pkgindex_core.digests import Hasher
from pkgindex_core.errors import Refused, TooLarge
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import UploadRules
from pkgindex_core.protocols import BlobStore, Stage, UploadForm
from pkgindex_core.tools.workers import in_worker

Outcome = TypeVar("Outcome")

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


class Receiving(Struct, frozen=True, kw_only=True):
    """What every upload is received with."""

    blobs: BlobStore
    workers: Executor
    limits: UploadLimits


class Upload(Generic[Outcome]):
    """One upload on its way in; made by `Uploads.receive`. Fields and content may come in any order."""

    def __init__(
        self,
        take: Callable[[Upload[Outcome]], Awaitable[Outcome]],
        receiving: Receiving,
        *,
        rules: UploadRules,
    ) -> None:
        self.rules = rules
        self.limits = receiving.limits
        self.stage: Stage | None = None
        """The content; None while no file part was opened."""
        self.filename = ""
        self.signed = False
        """Whether a detached signature came along."""
        self._take = take
        self._blobs = receiving.blobs
        self._workers = receiving.workers
        self._fields: dict[str, list[str]] = {}
        self._field_bytes = 0
        self._field_count = 0
        self._held = AsyncExitStack()
        self._algorithms: set[str] = set()
        self._skipping = False

    @property
    def form(self) -> UploadForm:
        """The text fields that came in so far."""
        return UploadForm(fields={name: tuple(values) for name, values in self._fields.items()})

    def field(self, name: str, value: str) -> None:
        """Take a text field."""
        self._field_count += 1
        self._field_bytes += len(name) + len(value)
        if self._field_count > self.limits.field_count:
            raise Refused(f"the form has more than {self.limits.field_count} fields")
        if self._field_bytes > self.limits.form_bytes:
            raise TooLarge("the form's text", self.limits.form_bytes)
        self._fields.setdefault(name, []).append(value)

    async def begin_content(self, filename: str) -> None:
        """Open the file part. Its name is checked at once, so that nothing is spooled in vain."""
        if self.stage is not None:
            raise Refused("the form has more than one `content` part", hint="upload one file per request")
        self.filename = filename
        self._skipping = False
        # What the form asks for may stand behind the content; until then a zip may be documentation (see `finish`).
        asked = self._fields.get(":action") or (["doc_upload"] if filename.endswith(".zip") else ["file_upload"])
        if "doc_upload" not in asked:
            parse_upload_filename(filename, self.rules)
        # Clients send digests before the content; for one that has sent none yet, every algorithm is computed.
        told = "sha256_digest" in self._fields or any(field in self._fields for field in _ASKED_ALGORITHMS)
        self._algorithms = {name for field, name in _ASKED_ALGORITHMS.items() if field in self._fields or not told}
        stage = self._blobs.stage(*sorted(self._algorithms))
        self.stage = await self._held.enter_async_context(stage)
        failpoint("upload.spool_opened")

    async def skip_content(self) -> None:
        """Let the next file part pass unread (a detached signature, which nothing uses any more)."""
        self._skipping = self.signed = True

    async def write(self, data: bytes | bytearray) -> None:
        """Take bytes of the file part."""
        if self._skipping:
            return
        if self.stage is None:
            raise Refused("content before its part was opened")
        if self.stage.size + len(data) > self.limits.file_bytes:
            raise TooLarge(
                "the file",
                self.limits.file_bytes,
                hint="raise max_upload_bytes if files this large are meant to be here",
            )
        await self.stage.write(data)
        failpoint("upload.body_half")

    async def discard(self) -> None:
        """Forget what was received; nothing happens after a `finish`."""
        self.stage = None
        await self._held.aclose()

    async def finish(self) -> Outcome:
        """Check everything, keep it, commit, and say what became of it."""
        failpoint("upload.body_complete")
        return await self._take(self)

    async def compare_digests(self, stage: Stage, expected: Mapping[str, str]) -> None:
        """Compare the bytes with every digest that was sent, wherever in the form it stood."""
        actual = {name: stage.hexdigest(name) for name in ("sha256", *self._algorithms)}
        late = [name for name in expected if name not in actual]
        if late:
            await stage.flush()
            actual |= await in_worker(self._workers, lambda: _digests_of(stage.path, late))
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
