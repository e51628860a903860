"""Finds out who published an uploaded file, from its attestations (PEP 740) and from the token of a trusted publisher.

    field `attestations` -> each of this file? -> signatures -> one signer -> policies on publishers -> provenance

Everything is checked before anything is kept, and a refusal says what was expected and what was found. Verifying takes some 10 ms in a
worker; at most two run at once. Without the packages of the extra `attestations` the field is dropped, with a warning.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import PutAttachment
from pkgindex_core.clock import Clock, Timestamp
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
from pkgindex_core.formats.publishers import Publisher, parse_publisher
from pkgindex_core.models import Attachment, File, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import PageFilter, Principal, Projects, Trees, UploadForm
from pkgindex_core.protocols.attestations import AttestationVerifier, Signer
from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_core.protocols.policies import Build
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
        clock: Clock,
    ) -> None:
        self._store = store
        self._filters = [filters[name] for name in (PUBLISHED_BY, PUBLISHER_CHANGE) if name in filters]
        self._verifier = verifier
        self._workers = workers
        self._clock = clock
        self._verifying = asyncio.Semaphore(_VERIFICATIONS)
        self._changes: Counter[IndexName] = Counter()

    async def attested(
        self, arrival: Arrival, form: UploadForm, sha256: Sha256, index: IndexName, principal: Principal
    ) -> Arrival:
        """The arrival with its publisher and provenance. Raises `Refused` for attestations or a publisher that do not fit."""
        vouched = principal.scope.publisher if principal.scope is not None else ""
        publisher, document, warnings = await self._proof(form, arrival.file.filename, sha256, vouched)
        name = arrival.name
        path = provenance_path(name.project, arrival.file.version, arrival.file.filename) if document else ""
        file = replace(arrival.file, publisher=str(publisher or ""), provenance=path)
        file = await self._judged(index, name.project, file)
        return replace(arrival, file=file, provenance=document, warnings=(*arrival.warnings, *warnings))

    def tell(self, index: IndexName, file: File) -> None:
        """Tell of a published file whose publisher is a new one."""
        if file.former_publisher:
            self._changes[index] += 1
            _log.warning("%s: %s", index, change_of(file))

    def figures(self) -> list[Figures]:
        """How often publishers have changed."""
        return [Figures(_CHANGES, {(index,): count for index, count in self._changes.items()})]

    async def _proof(
        self, form: UploadForm, filename: str, sha256: Sha256, vouched: str
    ) -> tuple[Publisher | None, bytes, tuple[str, ...]]:
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
            signers = await in_worker(self._workers, lambda: [verifier.verify(each) for each in attestations])
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

    async def _judged(self, index: IndexName, project: ProjectName, file: File) -> File:
        """The file with the publisher of the files before it, unless a policy refuses it."""
        tree = await self._store.tree()
        judging = [each for each in self._filters if each.applies(tree, index)]
        if not file.publisher and not judging:
            return file
        former = await self._former(index, project, file)
        if former is not None and former.differences(_comparable(file)):
            file = replace(file, former_publisher=str(former))
        build = Build(tree=tree, start=index, project=project, moment=self._clock.now())
        rulings = [ruling for each in judging if (ruling := each.judge(index, file, build)) is not None]
        refused = [f"{ruling.reason} (policy {ruling.rule})" for ruling in rulings if ruling.hides]
        if refused:
            raise Refused(refused, hint="publish from the expected workflow, or have the index's policies changed")
        return file

    async def _former(self, index: IndexName, project: ProjectName, new: File) -> Publisher | None:
        """The publisher of the newest file that has one."""
        page = await self._store.page(index, project)
        rows = page.rows if page is not None else ()
        files = [decode_file(row.body) for row in rows if b"publisher" in row.body and row.filename != new.filename]
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


def _one(signers: list[Signer]) -> Publisher:
    """The publisher of all attestations of a file."""
    first, *others = signers
    for each in others:
        if differences := first.publisher.differences(each.publisher):
            raise Refused([f"the attestations are of two publishers: {text}" for text in differences])
    return first.publisher


def _comparable(file: File) -> Publisher:
    return parse_publisher(file.publisher) if file.publisher else Publisher(kind="none", subject="none")
