"""Imports files of hosted indexes: bytes first, then commits of some dozens of files.

A taken filename is left alone: the file is here already, was replaced, or was deleted. The report lists the dump's file. If a
commit meets a concurrent change, its files are committed one by one.
"""

from __future__ import annotations

from pkgindex_core.changes import FileAbsent, PutFile, Requirement
from pkgindex_core.errors import Conflict
from pkgindex_core.formats.devpi.dump import DumpFile, DumpIndex
from pkgindex_core.formats.devpi.translating import (
    IMPORTER,
    file_time,
    translated_log,
    translated_project,
    unsafe_filename,
)
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.moving.importing.intake import ImportedFile
from pkgindex_core.services.moving.importing.run import DELETED, Run
from pkgindex_core.tools.side_by_side import side_by_side


async def bring_hosted(run: Run, index: DumpIndex, name: IndexName, files: list[DumpFile]) -> None:
    """Keep the bytes of these files side by side, then list them in one commit."""
    changes: dict[str, PutFile] = {}

    async def take(file: DumpFile) -> None:
        change = await _file(run, index, name, file)
        if change is not None:
            changes[file.filename] = change

    await side_by_side(files, take)
    # In the dump's order, so that the same dump gives the same log.
    await _commit_files(run, [changes[file.filename] for file in files if file.filename in changes])


async def _file(run: Run, index: DumpIndex, name: IndexName, file: DumpFile) -> PutFile | None:
    label = f"{name} {file.filename}"
    project = translated_project(file.project)
    reason = unsafe_filename(file.filename)
    if project is None:
        reason = f"its project cannot be called {file.project[:80]!r}"
    if reason or project is None:
        run.report.left_out("file", label, reason)
        return None
    if await _is_taken(run, name, project, file, file.digests.get("sha256", "")):
        return None
    kept = await run.intake.keep(file, project=project)
    if isinstance(kept, str):
        run.report.left_out("file", label, kept)
        return None
    if "sha256" not in file.digests and await _is_taken(run, name, project, file, kept.sha256):
        return None
    requires_python = kept.requires_python
    if requires_python is None:
        metadata = await run.intake.in_worker(lambda: run.dump.version(index, file))
        requires_python = str(metadata.get("requires_python") or "")
    if kept.odd:
        run.report.changed(
            "file", label, f"an upload of it would be refused, so it has no metadata sidecar: {kept.odd}"
        )
    run.report.bytes += kept.size
    return PutFile(
        name, project, _as_file(run, name, project, file, kept, requires_python), kept.display_name or project
    )


def _as_file(
    run: Run, index: IndexName, project: ProjectName, file: DumpFile, kept: ImportedFile, requires_python: str
) -> File:
    moment = file_time(file) or run.clock.now()
    return File(
        filename=file.filename,
        version=version_in(file.filename, project) or file.version,
        digests={"sha256": kept.sha256},
        size=kept.size,
        upload_time=moment,
        requires_python=requires_python,
        metadata_sha256=kept.sidecar,
        history=translated_log(file, index, moment),
    )


async def _is_taken(run: Run, index: IndexName, project: ProjectName, file: DumpFile, sha256: str) -> bool:
    """Whether nothing is to be done: the file is here, or another file keeps the name."""
    taken = await run.store.taken(index, file.filename)
    if taken is None:
        return False
    if taken.live and taken.project == project and (not sha256 or taken.sha256 == sha256):
        if not sha256:
            return False  # the dump has no digest; compare after the bytes were read
        run.report.present += 1
        return True
    label = f"{index} {file.filename}"
    if not taken.live:
        run.report.changed("file", label, DELETED)
    elif taken.project != project:
        run.report.left_out("file", label, f"a file of the project {taken.project} has its name")
    else:
        run.replaced.add((index, file.filename))
        run.report.changed("file", label, "was replaced here since the last import: the bytes here stay")
    return True


async def _commit_files(run: Run, changes: list[PutFile]) -> None:
    if not changes:
        return
    try:
        await run.store.apply(changes, who=IMPORTER, require=_free(changes))
        run.report.files += len(changes)
        return
    except Conflict:
        pass
    for change in changes:  # a concurrent import or upload came first: commit one by one
        try:
            await run.store.apply([change], who=IMPORTER, require=_free([change]))
            run.report.files += 1
        except Conflict as error:
            taken = await run.store.taken(change.index, change.file.filename)
            if taken is not None and taken.live and taken.sha256 == change.file.sha256:
                run.report.present += 1
            else:
                run.report.left_out("file", f"{change.index} {change.file.filename}", error.message)


def _free(changes: list[PutFile]) -> list[Requirement]:
    return [FileAbsent(change.index, change.file.filename) for change in changes]
