"""Checks a whole tree against its rows, and mends it.

    pages ─► files of each ─► wrong ones fetched ─► pages that are wrong, or name wrong ones, written ─► files without an owner removed

Files are compared as `checking` says, and pages with the digests of what was written. That needs no network; only files that are wrong
are fetched, if there is something that fetches. A page never goes on naming a file that is wrong.

Nothing is removed because it could not be read. Files belong to projects by the rows, not by documents in the tree. While there are
projects of which nothing could be read when the tree was taken over, no file counts as one without an owner. And if very many would go, none does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.trees.checking import CheckedFiles, FileChecks, Problem
from pkgindex_mirror.trees.finishing import LIST_DIGESTS, write_lists
from pkgindex_mirror.trees.options import Compare
from pkgindex_mirror.trees.records import PublishedPage, page_digest
from pkgindex_mirror.trees.tree_target import MirrorTree
from pkgindex_mirror.trees.unowned import unowned_files, unowned_pages

FetchFiles = Callable[[ProjectName, Sequence[File]], Awaitable[None]]
"""Brings files of a project into the tree by its sinks, as far as it can."""

_BATCH: Final = 100


class VerifyOrder(Struct, frozen=True, kw_only=True):
    """How a tree is compared, and whether it is changed."""

    compare: Compare = "hash"
    delete: bool = False
    """Remove files that belong to no project."""
    dry_run: bool = False
    """Change nothing in the tree."""
    most_removed: float = 0.5
    """The part of all files that may be removed at once. If more belong to no project, none is removed."""


class WrongFile(Struct, frozen=True, order=True):
    """A file that is not as its page says."""

    project: ProjectName
    filename: str
    problem: Problem


class TreeReport(Struct, kw_only=True):
    """The findings of a verification, and its changes."""

    projects: int = 0
    files: int = 0
    bytes: int = 0
    wrong: list[WrongFile] = field(default_factory=list)
    """All files that were wrong, also those that were fetched."""
    fetched: int = 0
    """How many of these are right now."""
    pages: list[ProjectName] = field(default_factory=list)
    """Projects whose pages or documents were wrong, or named wrong files. They were written anew, or would be."""
    lists: bool = False
    """Whether the pages that list all projects were wrong."""
    unowned: list[str] = field(default_factory=list)
    """Paths of pages, documents and files that belong to no project. They are looked for only if they are to be removed."""
    removed: int = 0
    kept_because: str = ""
    """Why files that belong to no project were not removed although that was wanted."""

    @property
    def is_clean(self) -> bool:
        """Whether all files are right now."""
        return len(self.wrong) == self.fetched


class TreeVerifying:
    """One verification. The caller holds the turn of the tree."""

    def __init__(self, tree: MirrorTree, order: VerifyOrder, fetch: FetchFiles | None = None) -> None:
        self._tree = tree
        self._order = order
        self._fetch = fetch
        self._checks = FileChecks(tree.storage, tree.rows, tree.files, order.compare)
        self._wrong_paths: set[str] = set()
        self._unreadable: Sequence[ProjectName] = ()
        self.report = TreeReport()

    async def run(self) -> TreeReport:
        last = ""
        self._unreadable = await self._tree.rows.pages.unreadable()
        while pages := await self._tree.rows.pages.pages_after(last, _BATCH):
            await self._batch(pages)
            last = pages[-1].project.name
        if not self._order.dry_run:
            await self._tree.settle()
        await self._unowned()
        await self._lists()
        return self.report

    async def _batch(self, pages: Sequence[PublishedPage]) -> None:
        report = self.report
        pages = [page for page in pages if page.project.name not in self._unreadable]
        report.projects += len(pages)
        spoiled = await self._spoiled(pages)
        checked = await self._checks.check(pages) if self._tree.options.release_files else []
        await self._tree.rows.put_files({each.name: each.renewed for each in checked if each.renewed})
        for each in checked:
            report.files += len(each.right) + len(each.wrong)
            report.bytes += sum(record.size for record in each.right.values())
            if each.wrong and await self._are_left(each):
                spoiled.add(each.name)
        for name in sorted(spoiled):
            report.pages.append(name)
            if not self._order.dry_run:
                await self._tree.write_again(name)

    async def _spoiled(self, pages: Sequence[PublishedPage]) -> set[ProjectName]:
        """The projects whose pages are not as they were written. Pages that another program wrote are written anew."""
        hidden = await self._tree.rows.pages.hidden([page.project.name for page in pages])
        shown = [page for page in pages if page.project.name not in hidden]
        paths = [path for page in shown for path in page.shown]
        there = dict(zip(paths, await self._tree.storage.read_many(paths), strict=True))
        return {
            page.project.name
            for page in shown
            if not page.shown
            or any((data := there[path]) is None or page_digest(data) != digest for path, digest in page.shown.items())
        }

    async def _are_left(self, checked: CheckedFiles) -> bool:
        """Fetch the wrong files of a project. Returns whether some are still wrong, which its page then must not name."""
        wrong = checked.wrong
        self.report.wrong.extend(WrongFile(checked.name, file.filename, problem) for file, problem in wrong.values())
        if self._order.dry_run:
            self._wrong_paths |= wrong.keys()
            return True
        if self._fetch is not None:
            await self._fetch(checked.name, [file for file, _ in wrong.values()])
        right = [path for path in wrong if self._tree.files.is_kept(path)]
        self.report.fetched += len(right)
        left = wrong.keys() - right
        self._wrong_paths |= left
        await self._tree.rows.drop_files(left)
        await self._tree.files.put_kept(checked.name, right)
        return bool(left)

    async def _lists(self) -> None:
        facts = await self._tree.rows.facts()
        digests = msgspec.json.decode(facts.get(LIST_DIGESTS, "{}"), type=dict[str, str])
        there = await self._tree.storage.read_many(list(digests))
        self.report.lists = not digests or any(
            data is None or page_digest(data).hex() != digest
            for data, digest in zip(there, digests.values(), strict=True)
        )
        if not self._order.dry_run:
            await write_lists(self._tree.parts, serial=facts.get("serial", ""), afresh=self.report.lists)
            await self._tree.settle()

    async def _unowned(self) -> None:
        """Find the files without an owner, and remove them if the order says so."""
        report = self.report
        if not self._order.delete:
            return
        if self._unreadable:
            report.kept_because = f"the page of {self._unreadable[0]} cannot be read, which may have some of them"
            return
        # Pages first: they may name files that no project has.
        pages = await unowned_pages(self._tree.storage, self._tree.rows, hash_index=self._tree.options.hash_index)
        count = 0
        async for path, is_owned in unowned_files(self._tree.storage, self._tree.rows):
            count += 1
            if not is_owned and path not in self._wrong_paths:
                report.unowned.append(path)
        if report.unowned and len(report.unowned) > count * self._order.most_removed:
            report.kept_because = (
                f"{len(report.unowned)} of {count} files belong to no project, which is too many to be true"
            )
        elif not self._order.dry_run:
            await self._tree.storage.remove(pages)
            await self._tree.storage.remove(report.unowned)
            report.removed = len(pages) + len(report.unowned)
        report.unowned[:0] = pages
