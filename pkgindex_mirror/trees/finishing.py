"""Describes a mirror as a whole: the pages that list all projects, and the files by which bandersnatch knows where it was.

    status       the serial up to which everything is mirrored
    generation   5, the form of the tree
    todo         the serial, and the projects that failed: bandersnatch goes on with these
    web/last-modified    the begin of the run

So bandersnatch can go on with a tree of this program. `status` comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.failpoints import failpoint
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.layout import (
    GENERATION,
    HTML,
    LAST_MODIFIED,
    SIMPLE,
    STATUS,
    TODO,
    VERSIONED_HTML,
    VERSIONED_JSON,
)
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.page_rows import LIST_STALE
from pkgindex_mirror.trees.pages import ListPages
from pkgindex_mirror.trees.records import page_digest
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import PageBatch, TreeStorage

LIST_DIGESTS: Final = "list-digests"
"""The fact with the digests of the pages that list all projects, as JSON by path."""
_GENERATION: Final = b"5"


class TreeParts(Struct, frozen=True):
    """The parts of a tree that its helpers work on."""

    storage: TreeStorage
    rows: MirrorRows
    options: TreeOptions
    workers: Executor


async def finish_tree(parts: TreeParts, facts: Mapping[str, str], *, begun: Timestamp) -> None:
    """Write everything about the mirror as a whole, and store facts. `begun`: the time at which the run began."""
    batch = PageBatch(written={}, copies={}, links={})
    known = {**await parts.rows.facts(), **facts}
    superfluous = await write_lists(parts, serial=known.get("serial", ""))
    batch.written[LAST_MODIFIED] = _moment(begun)
    batch.written[GENERATION] = _GENERATION
    serial = facts.get("serial", "")
    if serial.isdigit():
        failing = await parts.rows.failing()
        if failing:
            batch.written[TODO] = _todo(serial, failing)
        else:
            superfluous = [*superfluous, TODO]
        batch.written[STATUS] = serial.encode()
    await parts.storage.write(batch)
    failpoint("tree.status_written")
    await parts.storage.remove(superfluous)
    await parts.rows.put_facts(facts)
    failpoint("tree.finished")


async def write_last_modified(parts: TreeParts, begun: Timestamp) -> None:
    """Say in the tree that a run that began then found nothing to do, or did everything."""
    await parts.storage.write(PageBatch(written={LAST_MODIFIED: _moment(begun)}, copies={}, links={}))


async def write_lists(parts: TreeParts, *, serial: str = "", afresh: bool = False) -> list[str]:
    """Write the pages that list all projects if they have changed; return the paths of those that are not to be there."""
    pages = {
        HTML: parts.options.has_html,
        VERSIONED_HTML: parts.options.has_html,
        VERSIONED_JSON: parts.options.has_json,
    }
    superfluous = [f"{SIMPLE}/{page}" for page, is_wanted in pages.items() if not is_wanted]
    wanted = [f"{SIMPLE}/{page}" for page, is_wanted in pages.items() if is_wanted]
    is_stale = (await parts.rows.facts()).get(LIST_STALE) != "no" or afresh
    if not is_stale and None not in await parts.storage.stat(wanted):
        return superfluous
    newest = max(await parts.rows.pages.newest_stamp(), int(serial) if serial.isdigit() else 0)
    lists = ListPages(newest, parts.options)
    last = ""
    while batch := await parts.rows.pages.listed_after(last):
        await in_worker(parts.workers, lists.add, batch)
        last = batch[-1].name
    made = await in_worker(parts.workers, lists.finish)
    objects = PageBatch(written={}, copies={}, links={})
    if made.html:
        objects.written[f"{SIMPLE}/{HTML}"] = made.html
        objects.copies[f"{SIMPLE}/{VERSIONED_HTML}"] = f"{SIMPLE}/{HTML}"
    if made.json:
        objects.written[f"{SIMPLE}/{VERSIONED_JSON}"] = made.json
    await parts.storage.write(objects)
    failpoint("tree.lists_written")
    changed = [*objects.written, *objects.copies] if parts.options.remember_changes else []
    digests = {path: page_digest(data).hex() for path, data in objects.written.items()}
    digests |= {path: digests[original] for path, original in objects.copies.items()}
    await parts.rows.lists_written({LIST_DIGESTS: msgspec.json.encode(digests).decode()}, changed)
    return superfluous


def _moment(begun: Timestamp) -> bytes:
    return datetime.fromtimestamp(begun // 1_000_000, UTC).strftime("%Y%m%dT%H:%M:%S\n").encode()


def _todo(serial: str, failing: Iterable[ProjectState]) -> bytes:
    lines = [f"{state.raw or state.name} {state.serial or 0}" for state in failing]
    return "\n".join([serial, *lines]).encode()
