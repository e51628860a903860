"""Inspects an uploaded file: reads its archive and compares it with its form. All problems are reported together.

Does not use a store. Archives are read in worker threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Refused
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_form import check_form, check_upload
from pkgindex_core.formats.upload_rules import Findings, UploadRules
from pkgindex_core.models import File, Release
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import InspectedUpload, Spool, UploadCheck, UploadForm
from pkgindex_core.services.writing.policing import PolicyCheck
from pkgindex_core.tools.workers import in_worker


class Arrival(Struct, frozen=True, kw_only=True):
    """An inspected file, with the data to keep."""

    name: UploadName
    file: File
    """Without digests."""
    display_name: str
    metadata: CoreMetadata
    archive_metadata: bytes
    """The bytes of the metadata in the archive; empty for an archive without metadata."""
    said_inside: bool
    """Whether the metadata is from the archive, and not from filename and form."""
    warnings: tuple[str, ...]
    provenance: bytes = b""
    """The provenance of the file (PEP 740); empty without attestations."""

    def release(self, form: UploadForm, known: Release | None) -> Release:
        """The new metadata of the version; `known` is the stored one."""
        version = self.metadata.version
        if not self.said_inside:
            # The form counts, since the archive has no metadata. The form may lack name and version.
            said = {**form.fields, "name": (self.metadata.name,), "version": (version,)}
            document = known.metadata if known is not None else version_documents.from_form(UploadForm(fields=said))
        elif known is not None and self.name.kind == "sdist":
            document = version_documents.from_sdist(self.metadata, known.metadata)
        else:
            document = version_documents.from_archive(self.metadata)
        return Release(version=version, metadata=document)


class Inspecting:
    """Inspects received archives."""

    def __init__(self, *, checks: Sequence[UploadCheck], workers: Executor, clock: Clock) -> None:
        self._checks = checks
        self._workers = workers
        self._clock = clock

    async def inspect(
        self,
        spool: Spool,
        form: UploadForm,
        name: UploadName,
        *,
        index: IndexName,
        rules: UploadRules,
        policies: PolicyCheck | None = None,
    ) -> Arrival:
        """Inspect a file. Raises `Refused` with all problems of archive, form, checks and the policies of the index."""
        return await in_worker(self._workers, self._inspect, spool, form, name, index, rules, policies)

    async def metadata(self, spool: Spool, name: UploadName, *, rules: UploadRules) -> bytes | None:
        """Read the metadata of an archive that was inspected before."""
        return (await in_worker(self._workers, lambda: inspect_archive(spool.opened(), name, rules=rules))).metadata

    def _inspect(
        self,
        spool: Spool,
        form: UploadForm,
        name: UploadName,
        index: IndexName,
        rules: UploadRules,
        policies: PolicyCheck | None,
    ) -> Arrival:
        try:
            inspection = inspect_archive(spool.opened(), name, rules=rules)
        except Refused as error:
            # Report the problems of the form too, not only those of the archive.
            more = Findings(rules)
            check_form(form, name, "", more)
            raise Refused([*error.problems, *more.problems], hint=error.hint) from error
        name = _as_archive_says(name, form, inspection, rules)
        facts = check_upload(form, name.filename, name, inspection, rules)
        file = File(
            filename=name.filename,
            version=facts.version,
            size=spool.size,
            upload_time=self._clock.now(),
            requires_python=facts.requires_python,
        )
        metadata = inspection.metadata or b""
        checks = (*self._checks, policies) if policies is not None else self._checks
        if checks:
            upload = InspectedUpload(
                index=index, project=name.project, file=file, form=form, metadata=metadata, path=spool.flushed()
            )
            problems = [problem for check in checks for problem in check.problems(upload)]
            if problems:
                raise Refused(problems)
        return Arrival(
            name=name,
            file=file,
            display_name=facts.display_name,
            metadata=facts.metadata,
            archive_metadata=metadata,
            said_inside=inspection.metadata is not None,
            warnings=tuple(
                dict.fromkeys(
                    (
                        *name.warnings,
                        *inspection.warnings,
                        *facts.warnings,
                        *(policies.warnings if policies is not None else ()),
                    )
                )
            ),
        )


def _as_archive_says(name: UploadName, form: UploadForm, inspection: Inspection, rules: UploadRules) -> UploadName:
    """Split the filename into name and version by the archive's metadata, if the form does not have them."""
    if inspection.metadata is None or form.first("name"):
        return name
    said = read_metadata(inspection.metadata)
    return parse_upload_filename(name.filename, rules, project=said.name, version=said.version)
