"""Imports documentation of versions and test results of files.

An attachment without its project or file in the store is left out. One that was deleted here since the last import stays deleted.
"""

from __future__ import annotations

from pkgindex_core.changes import AttachmentAbsent, PutAttachment
from pkgindex_core.errors import Conflict, Refused
from pkgindex_core.formats.devpi.dump import DumpFile
from pkgindex_core.formats.devpi.translating import (
    IMPORTER,
    file_time,
    translated_log,
    translated_project,
    unsafe_filename,
)
from pkgindex_core.models import Attachment
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.moving.importing.run import DELETED, WORDS, Run


async def bring_attachments(run: Run, index: IndexName, files: list[DumpFile]) -> None:
    """Import attachments, one after the other."""
    for file in files:
        word = WORDS[file.kind]
        label = f"{index} {file.filename}"
        try:
            reason = await _attachment(run, index, file)
        except (Conflict, Refused) as error:
            reason = error.message
        if reason:
            run.report.left_out(word, label, reason)


async def _attachment(run: Run, index: IndexName, file: DumpFile) -> str:
    """Import one attachment; return why not, or an empty text."""
    project = translated_project(file.project)
    if project is None:
        return f"its project cannot be called {file.project[:80]!r}"
    reason = unsafe_filename(file.filename)
    if reason:
        return reason
    (standing,) = await run.store.standings(project, [index])
    if not standing.holds:
        return f"its project {project} is not here"
    about = file.about if file.kind == "toxresult" else ""
    if file.kind == "toxresult" and (not about or await run.store.file(index, project, about) is None):
        return f"the file that was tested is not here: {about or 'the dump does not name it'}"
    there = await _present(run, index, project, file.filename)
    if there is None and ((index, about) in run.replaced or run.was_deleted(index, project, file.filename)):
        run.report.changed(WORDS[file.kind], f"{index} {file.filename}", DELETED)
        return ""
    if there is not None and there.sha256 == file.digests.get("sha256"):
        run.report.present += 1
        return ""
    kept = await run.intake.keep(file)
    if isinstance(kept, str):
        return kept
    if there is not None:
        if there.sha256 == kept.sha256:
            run.report.present += 1
            return ""
        return "the project has another under its name"
    moment = file_time(file) or run.clock.now()
    attachment = Attachment(
        kind=file.kind,
        filename=file.filename,
        version=file.version,
        about=about,
        sha256=kept.sha256,
        size=kept.size,
        added=moment,
        history=translated_log(file, index, moment),
    )
    free = AttachmentAbsent(index, project, file.filename)
    await run.store.apply([PutAttachment(index, project, attachment)], who=IMPORTER, require=[free])
    run.report.bytes += kept.size
    if file.kind == "doczip":
        run.report.documentation += 1
    else:
        run.report.test_results += 1
    return ""


async def _present(run: Run, index: IndexName, project: ProjectName, filename: str) -> Attachment | None:
    found = await run.store.find_attachment(index, filename)
    if found is None or found[0] == project:
        return found[1] if found else None
    among = await run.store.attachments(index, project)  # a namesake of another project came first
    return next((one for one in among if one.filename == filename), None)
