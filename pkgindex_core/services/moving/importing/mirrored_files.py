"""Imports files that a mirror had fetched. They are listed on its pages, and served even if the upstream is down.

A file without its upstream URL cannot be listed, and is left out.
"""

from __future__ import annotations

from pkgindex_core.changes import MirrorPage, ProjectAt
from pkgindex_core.formats.devpi.dump import DumpFile, DumpIndex
from pkgindex_core.formats.devpi.translating import IMPORTER, translated_project, unsafe_filename
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.models import File, PageHead, PageRow, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.moving.importing.run import Run
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.urls import without_credentials


async def bring_mirrored(run: Run, index: DumpIndex, name: IndexName, files: list[DumpFile]) -> None:
    """Keep files, and list them on the pages of their projects."""
    by_project: dict[ProjectName, list[DumpFile]] = {}
    for file in files:
        project = translated_project(file.project)
        reason = unsafe_filename(file.filename)
        if project is None:
            reason = f"its project cannot be called {file.project[:80]!r}"
        elif not file.url.startswith(("https://", "http://")):
            reason = "the dump does not have its upstream URL"
        if reason or project is None:
            run.report.left_out("file", f"{name} {file.filename}", reason)
        else:
            by_project.setdefault(project, []).append(file)
    for project, some in by_project.items():
        await _mirrored_project(run, index, name, project, some)


async def _mirrored_project(
    run: Run, index: DumpIndex, name: IndexName, project: ProjectName, files: list[DumpFile]
) -> None:
    found: dict[str, File] = {}
    page = await run.store.page(name, project)
    here = {row.filename: row for row in page.rows} if page else {}

    async def take(file: DumpFile) -> None:
        if await _is_cached(run, here.get(file.filename), file):
            run.report.present += 1
            return
        kept = await run.intake.keep(file)
        if isinstance(kept, str):
            run.report.left_out("file", f"{name} {file.filename}", kept)
            return
        metadata = await run.intake.in_worker(lambda: run.dump.version(index, file))
        yanked = metadata.get("yanked")
        found[file.filename] = File(
            filename=file.filename,
            version=version_in(file.filename, project) or file.version,
            digests={"sha256": kept.sha256},
            size=kept.size,
            requires_python=str(metadata.get("requires_python") or ""),
            yanked=yanked if isinstance(yanked, str) and yanked else bool(yanked) or yanked == "",
            url=without_credentials(file.url)[0].partition("#")[0],
        )

    await side_by_side(files, take)

    async def attempt(_: int) -> int:
        page = await run.store.page(name, project)
        known = {row.filename for row in page.rows} if page else set()
        new = tuple(found[file.filename] for file in files if file.filename in found and file.filename not in known)
        if not new:  # all are listed already; now their bytes are stored too
            return 0
        head = page.head if page else PageHead(display_name=project)
        stamp = page.stamp if page else (await run.store.standings(project, [name]))[0].stamp
        await run.store.apply(
            [MirrorPage(name, project, head, new)], who=IMPORTER, require=[ProjectAt(name, project, stamp)]
        )
        return sum(file.size or 0 for file in new)

    run.report.bytes += await until_committed(
        attempt, f"{project} in {name} changes faster than it can be imported", hint="run the import again"
    )
    run.report.files += len(found)


async def _is_cached(run: Run, row: PageRow | None, file: DumpFile) -> bool:
    if row is None:
        return False
    known = decode_file(row.body).sha256
    return known is not None and known == file.digests.get("sha256") and await run.blobs.stat(known) is not None
