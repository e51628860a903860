"""Finds the objects of a tree that belong to no project."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pkgindex_mirror.trees.layout import DOCUMENT_COPIES, DOCUMENTS, PACKAGES, PAGES, SIMPLE, names_in
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import TreeStorage


async def unowned_files(storage: TreeStorage, rows: MirrorRows) -> AsyncIterator[tuple[str, bool]]:
    """Each file below `web/packages`, with whether a project has it. Some thousands are in memory at a time."""
    async for batch in storage.walk(PACKAGES):
        owned = await rows.records(list(batch))
        for path in batch:
            yield path, path in owned


async def unowned_pages(storage: TreeStorage, rows: MirrorRows, *, hash_index: bool) -> Sequence[str]:
    """The paths of pages and documents, as far as they may be there, of names that no project with pages has."""
    found: list[str] = []
    entries = await storage.names(SIMPLE)
    directories = [f"{SIMPLE}/{entry}" for entry in entries if len(entry) == 1] if hash_index else [SIMPLE]
    for directory in directories:
        names = list(names_in(await storage.names(directory)))
        for name in await rows.pages.without_page(names):
            older = await storage.names(f"{directory}/{name}/versions")
            found += [f"{directory}/{name}/{page}" for page in PAGES]
            found += [f"{directory}/{name}/versions/{page}" for page in older]
    documents = list(names_in(await storage.names(DOCUMENTS)))
    found += [f"{DOCUMENTS}/{name}" for name in await rows.pages.without_page(documents)]
    copies = list(names_in(await storage.names(DOCUMENT_COPIES)))
    found += [f"{DOCUMENT_COPIES}/{name}/json" for name in await rows.pages.without_page(copies)]
    there = await storage.stat(found)
    return [path for path, is_there in zip(found, there, strict=True) if is_there is not None]
