"""Deletes projects from a tree by hand: pages, documents, files, and their lines in the list of projects."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from pkgindex_core.names import ProjectName, parse_project_name
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST
from pkgindex_mirror.trees.finishing import write_lists
from pkgindex_mirror.trees.project_files import named_files
from pkgindex_mirror.trees.tree_target import MirrorTree


class DeleteReport(Struct, kw_only=True):
    """The projects that were deleted, or would be."""

    dry_run: bool
    deleted: list[ProjectName] = field(default_factory=list)
    absent: list[ProjectName] = field(default_factory=list)
    """Projects that the mirror does not have."""
    files: int = 0
    """Files of the deleted projects, with metadata files. Those that other projects have too stay."""


async def delete_projects(tree: MirrorTree, names: Iterable[str], *, dry_run: bool = False) -> DeleteReport:
    """Delete projects. The caller holds the turn of the tree. Raises `Refused` for an invalid name, before anything is deleted."""
    wanted = dict.fromkeys(parse_project_name(name) for name in names)
    report = DeleteReport(dry_run=dry_run)
    for name in wanted:
        page = await tree.page(name)
        if page is None and await tree.state(name) is None:
            report.absent.append(name)
            continue
        report.deleted.append(name)
        if page is not None:
            report.files += len(await tree.rows.records([path for path, _ in named_files(page)]))
        if not dry_run:
            await tree.remove(name)
    if report.deleted and not dry_run:
        await tree.put_facts(FORGOTTEN_LIST)
        await tree.settle()
        await write_lists(tree.parts, serial=(await tree.facts()).get("serial", ""))
        await tree.settle()
    return report
