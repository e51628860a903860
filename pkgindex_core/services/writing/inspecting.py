"""What a file that came in is: its archive is read and held against its form, and every problem is told at once.

Nothing is kept here, and no store is asked. Archives are read in worker threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Refused
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives import Inspection, inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_form import check_form, check_upload
from pkgindex_core.formats.upload_rules import Findings, UploadRules
from pkgindex_core.models import File, Release
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import InspectedUpload, Stage, UploadCheck, UploadForm
from pkgindex_core.tools.workers import in_worker


class Arrival(Struct, frozen=True, kw_only=True):
    """A file that was looked at, and what is to be kept of it."""

    name: UploadName
    file: File
    """Without digests."""
    display_name: str
    metadata: CoreMetadata
    archive_metadata: bytes
    """The metadata as the archive has it; empty for an archive without."""
    said_inside: bool
    """Whether the metadata is what the file says of itself, not what its name and form say of it."""
    warnings: tuple[str, ...]

    def release(self, form: UploadForm, known: Release | None) -> Release:
        """What is to be said of the version from now on; `known` is what is said of it already."""
        version = self.metadata.version
        if not self.said_inside:
            # A form is believed where no file says anything. It may have left out name and version.
            said = {**form.fields, "name": (self.metadata.name,), "version": (version,)}
            document = known.metadata if known is not None else version_documents.from_form(UploadForm(fields=said))
        elif known is not None and self.name.kind == "sdist":
            document = version_documents.from_sdist(self.metadata, known.metadata)
        else:
            document = version_documents.from_archive(self.metadata)
        return Release(version=version, metadata=document)


class Inspecting:
    """Reads archives that were received."""

    def __init__(self, *, checks: Sequence[UploadCheck], workers: Executor, clock: Clock) -> None:
        self._checks = checks
        self._workers = workers
        self._clock = clock

    async def inspect(
        self, stage: Stage, form: UploadForm, name: UploadName, *, index: IndexName, rules: UploadRules
    ) -> Arrival:
        """The file as it is to be kept in the index; `Refused` with every problem of archive, form and checks."""
        await stage.flush()
        return await in_worker(self._workers, self._inspect, stage, form, name, index, rules)

    async def metadata(self, stage: Stage, name: UploadName, *, rules: UploadRules) -> bytes | None:
        """The metadata inside of an archive that has been inspected before."""
        await stage.flush()
        return (await in_worker(self._workers, lambda: inspect_archive(stage.path, name, rules=rules))).metadata

    def _inspect(
        self, stage: Stage, form: UploadForm, name: UploadName, index: IndexName, rules: UploadRules
    ) -> Arrival:
        try:
            inspection = inspect_archive(stage.path, name, rules=rules)
        except Refused as error:
            # An archive that has to be built again is not all that has to change.
            more = Findings(rules)
            check_form(form, name, "", more)
            raise Refused([*error.problems, *more.problems], hint=error.hint) from error
        name = _as_archive_says(name, form, inspection, rules)
        facts = check_upload(form, name.filename, name, inspection, rules)
        file = File(
            filename=name.filename,
            version=facts.version,
            size=stage.size,
            upload_time=self._clock.now(),
            requires_python=facts.requires_python,
        )
        upload = InspectedUpload(
            index=index,
            project=name.project,
            file=file,
            form=form,
            metadata=inspection.metadata or b"",
            path=stage.path,
        )
        problems = [problem for check in self._checks for problem in check.problems(upload)]
        if problems:
            raise Refused(problems)
        return Arrival(
            name=name,
            file=file,
            display_name=facts.display_name,
            metadata=facts.metadata,
            archive_metadata=upload.metadata,
            said_inside=inspection.metadata is not None,
            warnings=tuple(dict.fromkeys((*name.warnings, *inspection.warnings, *facts.warnings))),
        )


def _as_archive_says(name: UploadName, form: UploadForm, inspection: Inspection, rules: UploadRules) -> UploadName:
    """The filename cut into name and version as its archive says, where the form does not say how."""
    if inspection.metadata is None or form.first("name"):
        return name
    said = read_metadata(inspection.metadata)
    return parse_upload_filename(name.filename, rules, project=said.name, version=said.version)
