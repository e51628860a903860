"""Takes over a tree that another program made, or whose rows were lost: each project gets the row and the page that its files tell.

    web/json/NAME                   the whole upstream: all files, also those that are not mirrored
    web/simple/NAME/index.v1_json   what is mirrored, with the serial, if it has no other source
    web/simple/NAME/index.html      the same, without sizes and times

Nothing is fetched, moved or removed here, and no file is read. A file is compared when a sync or `verify` first asks for it
(`project_files`). What cannot be read says nothing: its project has a row without a serial, so the next sync asks the upstream for it, and its files
count as owned until then.

A tree may have a million projects. Rows are stored in batches; a takeover that was interrupted goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.finishing import TreeParts
from pkgindex_mirror.trees.foreign_pages import ShownProject, project_of_document, serial_in, shown_projects
from pkgindex_mirror.trees.layout import (
    DOCUMENTS,
    GENERATION,
    HTML,
    SIMPLE,
    STATUS,
    TODO,
    VERSIONED_JSON,
    TreeLayout,
    document,
    names_in,
)
from pkgindex_mirror.trees.records import PageWrite, PublishedPage

ADOPTED: Final = "adopted"
"""The fact that tells how a mirror began: `empty`, or the number of projects that were taken over."""
_BATCH: Final = 50
_GENERATION: Final = 5

_log = logging.getLogger(__name__)


class AdoptedProject(Struct, frozen=True, kw_only=True):
    """A project as its files in the tree tell it."""

    state: ProjectState
    page: PublishedPage | None
    """None when neither its page nor its document can be read."""
    is_readable: bool
    """Whether its page says which files it has, or there is none."""


async def adopt(parts: TreeParts, layout: TreeLayout) -> int:
    """Take over what is there, once. Returns the number of projects; 0 for a mirror that has rows already.

    Raises `Refused` for a tree of a later form than this one.
    """
    facts = await parts.rows.facts()
    if ADOPTED in facts:
        return 0
    is_old = _is_old(await parts.storage.read(GENERATION))
    names = await _names(parts)
    unfinished = names if is_old else _todo(await parts.storage.read(TODO))
    for start in range(0, len(names), _BATCH):
        known = [name for name in names[start : start + _BATCH] if await parts.rows.state(name) is None]
        found = await _projects(parts, layout, known, frozenset(unfinished))
        await parts.rows.pages.put([_write(each.state, each.page) for each in found if each.page is not None])
        await parts.rows.pages.put_unreadable([each.state for each in found if not each.is_readable])
    status = (await parts.storage.read(STATUS) or b"").strip()
    more = {"serial": status.decode()} if names and status.isdigit() and not is_old else {}
    await parts.rows.put_facts({ADOPTED: str(len(names)) if names else "empty", **more})
    if names:
        _log.info("%d projects of an existing tree were taken over", len(names))
    return len(names)


def _is_old(generation: bytes | None) -> bool:
    """Whether bandersnatch would look at all projects of a tree of this form again."""
    text = (generation or b"").strip()
    if text.isdigit() and int(text[:9]) > _GENERATION:
        raise Refused(
            f"the tree has generation {text[:9].decode()}, and this program knows {_GENERATION}",
            hint="a later bandersnatch made it; mirror into another directory",
        )
    return text.isdigit() and int(text) < _GENERATION


async def _names(parts: TreeParts) -> list[ProjectName]:
    """The projects of a tree: those with a page and those with a document."""
    found = set(names_in(await parts.storage.names(DOCUMENTS)))
    entries = await parts.storage.names(SIMPLE)
    if parts.options.hash_index:
        for first in entries:
            if len(first) == 1:
                found.update(names_in(await parts.storage.names(f"{SIMPLE}/{first}")))
    else:
        found.update(names_in(entries))
    return sorted(found)


async def _projects(
    parts: TreeParts, layout: TreeLayout, names: Sequence[ProjectName], unfinished: Collection[ProjectName]
) -> Sequence[AdoptedProject]:
    directories = {name: layout.page_directory(name) for name in names}
    bodies = await parts.storage.read_many([document(name) for name in names])
    pages = await parts.storage.read_many([f"{directories[name]}/{VERSIONED_JSON}" for name in names])
    shown = await in_worker(parts.workers, shown_projects, list(zip(names, pages, strict=True)), "json")
    others = [name for name in names if name not in shown]
    htmls = await parts.storage.read_many([f"{directories[name]}/{HTML}" for name in others])
    shown |= await in_worker(parts.workers, shown_projects, list(zip(others, htmls, strict=True)), "html")
    has_page = {name for name, page in (*zip(names, pages, strict=True), *zip(others, htmls, strict=True)) if page}

    def adopted() -> list[AdoptedProject]:
        return [
            _adopted(name, body, shown.get(name), has_page=name in has_page, is_unfinished=name in unfinished)
            for name, body in zip(names, bodies, strict=True)
        ]

    return await in_worker(parts.workers, adopted)


def _adopted(
    name: ProjectName, body: bytes | None, shown: ShownProject | None, *, has_page: bool, is_unfinished: bool
) -> AdoptedProject:
    upstream = project_of_document(name, body) if body is not None else None
    is_readable = shown is not None or (not has_page and upstream is not None)
    if shown is None and upstream is None:
        return AdoptedProject(state=ProjectState(name=name), page=None, is_readable=False)
    project = upstream or (shown.project if shown is not None else None)
    assert project is not None
    serial = serial_in(body) if upstream is not None else shown.serial if shown is not None else None
    left_out: frozenset[str] = frozenset()
    if shown is not None:
        listed = {file.filename for file in shown.project.files}
        left_out = frozenset(file.filename for file in project.files if file.filename not in listed)
    mirrored = [file for file in project.files if file.filename not in left_out]
    state = ProjectState(
        name=name,
        raw=project.raw,
        # A page that cannot be read may name anything, and an unfinished project is older than the serial in `status`.
        serial=serial if shown is not None and not is_unfinished else None,
        files=len(mirrored),
        bytes=sum(file.size or 0 for file in mirrored),
        published=shown is not None,
    )
    page = PublishedPage(project=project, left_out=left_out, stamp=serial or 0, is_whole=upstream is not None)
    return AdoptedProject(state=state, page=page, is_readable=is_readable)


def _todo(body: bytes | None) -> Sequence[ProjectName]:
    """The projects that a run of bandersnatch left unfinished."""
    lines = (body or b"").decode("utf-8", "replace").splitlines()[1:]
    names = (normalized_or_none(line.split()[0]) for line in lines if line.strip())
    return [name for name in names if name is not None]


def _write(state: ProjectState, page: PublishedPage) -> PageWrite:
    return PageWrite(page=page, state=state, files={}, former_paths=(), doomed=(), page_paths=())
