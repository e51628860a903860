"""Receives an upload: a form and a file, in any order. The file is bounded, spooled and hashed as it comes in.

    field*, content* (any order) -> finish

This module does not interpret the form; `finish` hands everything to a handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.digests import Hasher
from pkgindex_core.errors import Refused, TooLarge
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.upload_rules import UploadRules
from pkgindex_core.protocols import BlobStore, Spool, UploadForm
from pkgindex_core.tools.workers import in_worker

Outcome = TypeVar("Outcome")

# The digests that a form may have besides sha256, which is always computed.
_ASKED_ALGORITHMS = {"md5_digest": "md5", "blake2_256_digest": "blake2b_256"}
_READ_BYTES = 1024 * 1024


class UploadLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one upload, in bytes and counts."""

    file_bytes: int = 2 * 1024**3
    field_bytes: int = 4 * 1024**2
    """One text field. Descriptions are the largest."""
    form_bytes: int = 16 * 1024**2
    """All text fields together."""
    field_count: int = 4096
    """The number of values, not of names: a package may have hundreds of classifiers and requirements."""


class Receiving(Struct, frozen=True, kw_only=True):
    """The tools and bounds that all uploads share."""

    blobs: BlobStore
    workers: Executor
    limits: UploadLimits

    def within(self, file_bytes: int) -> Receiving:
        """The same with another bound of a file, if that is smaller. 0: no bound."""
        most = min(self.limits.file_bytes, file_bytes or self.limits.file_bytes)
        return replace(self, limits=replace(self.limits, file_bytes=most))


class Upload(Generic[Outcome]):
    """One upload, made by `Uploads.receive`. Fields and content may come in any order."""

    def __init__(
        self,
        take: Callable[[Upload[Outcome]], Awaitable[Outcome]],
        receiving: Receiving,
        *,
        rules: UploadRules,
    ) -> None:
        self.rules = rules
        self.limits = receiving.limits
        self.spool: Spool | None = None
        """The content; None while no file part was opened."""
        self.filename = ""
        self._name: UploadName | None = None
        """The parsed filename of the content, if the form makes no difference to it."""
        self.signed = False
        """Whether the form has a detached signature."""
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
        """The text fields received so far."""
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
        """Open the file part. Its name is checked before anything is spooled."""
        if self.spool is not None:
            raise Refused("the form has more than one `content` part", hint="upload one file per request")
        self.filename = filename
        self._skipping = False
        # `:action` may come after the content; until then a zip may be documentation (see `finish`).
        asked = self._fields.get(":action") or (["doc_upload"] if filename.endswith(".zip") else ["file_upload"])
        if "doc_upload" not in asked:
            name = parse_upload_filename(filename, self.rules)
            # Only the names of other kinds can be split in several ways.
            self._name = name if name.kind == "wheel" else None
        # Clients usually send digests before the content. If there are none yet, all algorithms are computed.
        told = "sha256_digest" in self._fields or any(field in self._fields for field in _ASKED_ALGORITHMS)
        self._algorithms = {name for field, name in _ASKED_ALGORITHMS.items() if field in self._fields or not told}
        spool = self._blobs.spool(*sorted(self._algorithms))
        self.spool = await self._held.enter_async_context(spool)
        failpoint("upload.spool_opened")

    def name(self, form: UploadForm) -> UploadName:
        """Read the filename of the content with the help of the form. Raises `Refused` with all problems."""
        return self._name or parse_upload_filename(
            self.filename, self.rules, project=form.first("name"), version=form.first("version")
        )

    async def skip_content(self) -> None:
        """Skip the next file part: a detached signature, which is not used."""
        self._skipping = self.signed = True

    async def write(self, data: bytes | bytearray) -> None:
        """Take bytes of the file part."""
        if self._skipping:
            return
        if self.spool is None:
            raise Refused("content before its part was opened")
        if self.spool.size + len(data) > self.limits.file_bytes:
            raise TooLarge(
                "the file",
                self.limits.file_bytes,
                hint="larger files need a larger max_upload_bytes of the server, and max_file_bytes of the index",
            )
        await self.spool.write(data)
        failpoint("upload.body_half")

    async def discard(self) -> None:
        """Discard everything received; does nothing after a `finish`."""
        self.spool = None
        await self._held.aclose()

    async def finish(self) -> Outcome:
        """Check everything, keep it and commit; return the result."""
        failpoint("upload.body_complete")
        return await self._take(self)

    async def compare_digests(self, spool: Spool, expected: Mapping[str, str]) -> None:
        """Compare the bytes with every digest of the form."""
        actual = {name: spool.hexdigest(name) for name in ("sha256", *self._algorithms)}
        late = [name for name in expected if name not in actual]
        if late:
            await spool.flush()
            actual |= await in_worker(self._workers, lambda: _digests_of(spool.path, late))
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
