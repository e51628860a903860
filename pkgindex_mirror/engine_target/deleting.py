"""Deletes projects from an index by hand: pages, rows, files that nothing else has, and their lines in the list of projects."""

from __future__ import annotations

from collections.abc import Iterable

from pkgindex_core.models import File, decode_file
from pkgindex_core.names import ProjectName, parse_project_name
from pkgindex_mirror.engine_target.index_target import IndexTarget
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST
from pkgindex_mirror.trees.deleting import DeleteReport


async def delete_from_index(target: IndexTarget, names: Iterable[str], *, dry_run: bool = False) -> DeleteReport:
    """Delete projects. The caller holds the turn of the target. Raises `Refused` for an invalid name, before anything is deleted.

    Files that another index or a snapshot has stay.
    """
    wanted = dict.fromkeys(parse_project_name(name) for name in names)
    report = DeleteReport(dry_run=dry_run)
    for name in wanted:
        files = await _stored(target, name)
        if files is None:
            report.absent.append(name)
            continue
        report.deleted.append(name)
        report.files += len(files)
        if not dry_run:
            await target.remove(name)
    if report.deleted and not dry_run:
        await target.finish(FORGOTTEN_LIST)
        await target.settle()
    return report


async def _stored(target: IndexTarget, name: ProjectName) -> list[File] | None:
    """The stored files of a project; None if the index does not have it."""
    page = await target.store.page(target.name, name)
    held = await target.held(name)
    if page is None and held is None and await target.state(name) is None:
        return None
    files = [decode_file(row.body) for row in page.rows] if page is not None else held.files if held is not None else ()
    return [file for file in files if await target.files.is_stored(file)]
