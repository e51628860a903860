"""Finds out who published an uploaded file, from its attestations (PEP 740) and from the token of a trusted publisher.

    field `attestations` -> each of this file? -> signatures -> one signer -> the token's publisher? -> provenance

Policies judge the publisher afterwards (`policing`). Everything is checked before anything is kept, and a refusal says what was expected and what was found. Verifying takes some 10 ms in a
worker; at most two run at once. Without the packages of the extra `attestations` the field is dropped, with a warning.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import PutAttachment
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.formats.attestations import (
    FIELD,
    KIND,
    SUFFIX,
    about_another_file,
    parse_attestations,
    provenance,
    provenance_path,
)
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.publishers import PublisherIdentity, parse_publisher
from pkgindex_core.models import Attachment, File, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import PageFilter, Principal, Projects, Trees, UploadForm
from pkgindex_core.protocols.attestations import AttestationSigner, AttestationVerifier
from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_core.rules.policing.kinds import PUBLISHED_BY, PUBLISHER_CHANGE
from pkgindex_core.rules.policing.publisher_filters import change_of
from pkgindex_core.services.writing.inspecting import Arrival
from pkgindex_core.tools.workers import in_worker

NOT_INSTALLED: Final = (
    "the attestations were ignored: this server cannot verify them (an administrator installs the extra `attestations`)"
)
_VERIFICATIONS: Final = 2
_CHANGES: Final = Meter(
    "pkgindex_publisher_changes_total",
    "counter",
    ("index",),
    "Uploaded files whose publisher is another one than that of the project's files before.",
)
_log = logging.getLogger(__name__)


class Proof(Struct, frozen=True, kw_only=True):
    """The proof of who published a file."""

    known: Mapping[str, str]
    """The fields `publisher` and `former_publisher` of the file."""
    provenance: bytes
    """The document; empty without attestations."""
    warnings: tuple[str, ...]

    def on(self, arrival: Arrival) -> Arrival:
        """The arrival with its provenance."""
        if not self.provenance and not self.warnings:
            return arrival
        file = arrival.file
        path = provenance_path(arrival.name.project, file.version, file.filename) if self.provenance else ""
        return replace(
            arrival,
            file=replace(file, provenance=path),
            provenance=self.provenance,
            warnings=(*arrival.warnings, *self.warnings),
        )


class _Store(Trees, Projects, Protocol): ...


class Attesting:
    """Verifies attestations of uploads. `verifier` is None where none is installed."""

    def __init__(
        self,
        *,
        store: _Store,
        filters: Mapping[str, PageFilter],
        verifier: Callable[[], AttestationVerifier | None],
        workers: Executor,
    ) -> None:
        self._store = store
        self._filters = [filters[name] for name in (PUBLISHED_BY, PUBLISHER_CHANGE) if name in filters]
        self._verifier = verifier
        self._workers = workers
        self._verifying = asyncio.Semaphore(_VERIFICATIONS)
        self._changes: Counter[IndexName] = Counter()

    async def proof(
        self, form: UploadForm, name: UploadName, sha256: Sha256, index: IndexName, principal: Principal
    ) -> Proof:
        """The proof of a file. Raises `Refused` for attestations that do not hold, or are of another file or publisher."""
        vouched = principal.scope.publisher if principal.scope is not None else ""
        publisher, document, warnings = await self._proven(form, name.filename, sha256, vouched)
        tree = await self._store.tree()
        is_judged = any(each.applies(tree, index) for each in self._filters)
        former = await self._former(index, name.project, name.filename) if publisher is not None or is_judged else None
        changed = former is not None and (publisher is None or bool(former.differences(publisher)))
        known = {"publisher": str(publisher or ""), "former_publisher": str(former) if changed else ""}
        return Proof(known=known, provenance=document, warnings=warnings)

    def tell(self, index: IndexName, file: File) -> None:
        """Tell of a published file whose publisher is a new one."""
        if file.former_publisher:
            self._changes[index] += 1
            _log.warning("%s: %s", index, change_of(file))

    def figures(self) -> list[Figures]:
        """How often publishers have changed."""
        return [Figures(_CHANGES, {(index,): count for index, count in self._changes.items()})]

    async def _proven(
        self, form: UploadForm, filename: str, sha256: Sha256, vouched: str
    ) -> tuple[PublisherIdentity | None, bytes, tuple[str, ...]]:
        """Publisher, provenance and warnings."""
        trusted = parse_publisher(vouched) if vouched else None
        texts = form.fields.get(FIELD, ())
        if not texts:
            return trusted, b"", ()
        if len(texts) > 1:
            raise Refused(f"the form has {len(texts)} fields {FIELD}", hint="send all attestations as one JSON array")
        attestations = parse_attestations(texts[0])
        problems = [problem for each in attestations for problem in about_another_file(each, filename, sha256)]
        if problems:
            raise Refused(problems, hint="attest the very file that is uploaded, under its own name; nothing was kept")
        if (verifier := self._verifier()) is None:
            return trusted, b"", (NOT_INSTALLED,)
        async with self._verifying:
            signers = await in_worker(self._workers, lambda: [verifier.verify(each.document) for each in attestations])
        signed = _one(signers)
        if trusted is None:
            return signed, provenance(signed, attestations), ()
        differences = replace(trusted, environment="").differences(signed)
        if differences:
            raise Refused(
                [f"the attestation was signed by another publisher: {each}" for each in differences],
                hint="attest in the workflow that publishes",
            )
        return trusted, provenance(trusted, attestations), ()

    async def _former(self, index: IndexName, project: ProjectName, filename: str) -> PublisherIdentity | None:
        """The publisher of the newest file that has one."""
        page = await self._store.page(index, project)
        rows = page.rows if page is not None else ()
        files = [decode_file(row.body) for row in rows if b"publisher" in row.body and row.filename != filename]
        newest = max((each for each in files if each.publisher), key=lambda each: each.upload_time or 0, default=None)
        return None if newest is None else replace(parse_publisher(newest.publisher), environment="")


def provenance_of(arrival: Arrival, index: IndexName, project: ProjectName) -> list[PutAttachment]:
    """The change that keeps the provenance of a file; none without one. Its bytes are kept before."""
    if not arrival.provenance:
        return []
    file = arrival.file
    attachment = Attachment(
        kind=KIND,
        filename=f"{file.filename}{SUFFIX}",
        version=file.version,
        about=file.filename,
        sha256=sha256_of(arrival.provenance),
        size=len(arrival.provenance),
        added=file.upload_time or Timestamp(0),
    )
    return [PutAttachment(index, project, attachment)]


def _one(signers: list[AttestationSigner]) -> PublisherIdentity:
    """The publisher of all attestations of a file."""
    first, *others = (parse_publisher(each.publisher) for each in signers)
    for each in others:
        if differences := first.differences(each):
            raise Refused([f"the attestations are of two publishers: {text}" for text in differences])
    return first
