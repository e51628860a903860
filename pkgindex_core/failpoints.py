"""Named points at which a test makes the program fail or die.

`failpoint("upload.blob_kept")` does nothing unless the point is armed: by `PKGINDEX_FAILPOINTS` in the environment of a program
under test (its command line calls `arm`), or by `arm` inside a test. `POINTS` declares every point. A test fails when a declared
point is never hit; an undeclared name raises at its first use.

Syntax of the variable: `point=action[@n]` joined by `;`. The action happens at the n-th hit only (default: the first):
`kill` (SIGKILL to self), `raise:ENOSPC` (an OSError of that errno), `sleep:SECONDS`.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from typing import Final

POINTS: Final[frozenset[str]] = frozenset(
    {
        "advisories.book_made",
        # upload, in the order in which the steps are done
        "upload.headers_read",
        "upload.spool_opened",
        "upload.body_half",
        "upload.body_complete",
        "upload.digests_checked",
        "upload.archive_inspected",
        "upload.metadata_kept",
        "upload.blob_kept",
        "upload.committed",
        "upload.answered",
        # a push from one index to another
        "push.fetched",
        "push.judged",
        "push.committed",
        # an update of the catalogue of searches
        "search.written",
        "search.committed",
        # a notice of an upload to another server
        "webhook.delivered",
        # a blob on local disk
        "blob.opened",
        "blob.written",
        "blob.file_synced",
        "blob.renamed",
        "blob.directory_synced",
        # a file on its way into a directory, or out of it
        "directory.written",
        "directory.placed",
        "directory.hidden",
        "directory.committed",
        # the mark of the index that owns the blobs
        "owner.written",
        "owner.renamed",
        "owner.kept",
        # damaged blobs: found, set aside, made again
        "verify.noted",
        "aside.moved",
        "aside.kept",
        "repair.set_aside",
        "repair.made",
        # metadata that differs from its wheel
        "correct.stored",
        "correct.committed",
        # a scrub, which sets damaged blobs aside and repairs them
        "scrub.noted",
        "scrub.set_aside",
        # unused blobs: condemned, removed
        "gc.condemned",
        "gc.announced",
        "gc.removed",
        "gc.batch_removed",
        # a commit in SQLite
        "commit.begun",
        "commit.written",
        "commit.committed",
        # a file of a cache that processes share
        "mapped.written",
        "mapped.renamed",
        # notes in SQLite, written without a commit
        "notes.written",
        "notes.committed",
        # proxy fetch
        "page.fetched",
        "page.parsed",
        "page.part_committed",
        "page.learned",
        "names.part_committed",
        "fetch.requested",
        "fetch.headers",
        "fetch.first_bytes",
        "fetch.body_complete",
        "fetch.digest_checked",
        "fetch.kept",
        "fetch.committed",
        "sidecar.read",
        "sidecar.learned",
        # a mirrored file on its way into the cache, or out of it
        "cache.stocked",
        "cache.reserved",
        "cache.stored",
        "cache.recorded",
        "cache.counted",
        "cache.moved",
        "cache.leaving",
        "cache.removed",
        "cache.unrecorded",
        "cache.left",
        "copies.made_own",
        # learned pages and sidecars that are not stored yet
        "behind.learned",
        "behind.gathered",
        "behind.committed",
        "behind.blob_learned",
        "behind.blob_kept",
        # a static tree
        "publish.begun",
        "publish.written",
        "publish.moved",
        "publish.placed",
        "publish.put",
        "publish.projects_written",
        "publish.shared_written",
        "publish.removed",
        "publish.catalogue_written",
        "publish.ended",
        # a snapshot of a tree, and the names under which snapshots are served
        "snapshot.listed",
        "snapshot.object_kept",
        "snapshot.linked",
        "snapshot.kept",
        "snapshot.dropping",
        "snapshot.object_removed",
        "snapshot.tree_made",
        "snapshot.name_noted",
        "snapshot.name_switched",
        # a bundle that is created
        "bundle.planned",
        "bundle.part_written",
        "bundle.recorded",
        "bundle.part_placed",
        # a bundle that is applied
        "bundle.checked",
        "bundle.begun",
        "bundle.staged",
        "bundle.synced",
        "bundle.noted",
        "bundle.placed",
        "bundle.deleted",
        "bundle.stray_removed",
        "bundle.settled",
        "bundle.applied",
        # a run of a mirror
        "sync.list_read",
        "sync.page_fetched",
        "sync.file_piece",
        "sync.file_came",
        "sync.file_kept",
        "sync.project_published",
        "sync.project_hidden",
        "sync.project_removed",
        "sync.projects_done",
        "sync.finished",
        # a mirror's tree
        "tree.file_part_written",
        "tree.file_checked",
        "tree.file_placed",
        "tree.files_settled",
        "tree.pages_written",
        "tree.page_moved",
        "tree.pages_moved",
        "tree.rows_written",
        "tree.removed",
        "tree.doomed_removed",
        "tree.rows_saved",
        "tree.lists_written",
        "tree.status_written",
        "tree.finished",
        # the same in an index of the engine
        "index.forgotten",
        "index.taken_over",
        "index.part_committed",
        "index.pages_committed",
        "index.held_stored",
        "index.rows_stored",
        "index.files_left",
        "index.project_forgotten",
        "index.list_committed",
        "index.finished",
        "index_snapshots.taken",
        "index_snapshots.dropped",
        "index_snapshots.promotion_noted",
        "index_snapshots.promotion_committed",
        # a backup that is taken, and old ones that are removed
        "backup.begun",
        "backup.blobs_kept",
        "backup.segment_written",
        "backup.listed",
        "backup.recorded",
        "backup.forgotten",
        "backup.blob_removed",
        # a backup that is restored
        "restore.begun",
        "restore.blobs_kept",
        "restore.replayed",
        "restore.completed",
        # migrations and imports
        "migrate.blobs_kept",
        "migrate.replayed",
        # a replica
        "replica.commits_read",
        "replica.noted",
        "replica.file_fetched",
        "replica.files_kept",
        "replica.replayed",
        "replica.claimed",
        "import.settled",
        "import.files_kept",
        "import.releases_kept",
        "import.attachments_kept",
    }
)

hits: Counter[str] = Counter()
"""How often each point was passed since `arm` was last called."""

_armed: dict[str, tuple[str, int]] = {}
_watching = False


def failpoint(name: str) -> None:
    """Fail here if a test asked for it."""
    if not _watching:
        return
    if name not in POINTS:
        raise LookupError(f"undeclared failpoint {name!r}")
    hits[name] += 1
    action, turn = _armed.get(name, ("", 0))
    if action and hits[name] == turn:
        _act(action)


def arm(specification: str) -> None:
    """Arm points from the text form and count all hits from now on. An empty text only counts."""
    global _watching  # noqa: PLW0603 - one process, one set of failpoints
    disarm()
    _watching = True
    for part in filter(None, specification.split(";")):
        name, _, action = part.partition("=")
        action, _, turn = action.partition("@")
        if name not in POINTS:
            raise LookupError(f"undeclared failpoint {name!r}")
        _armed[name] = (action, int(turn or 1))


def disarm() -> None:
    """Make every failpoint a no-op again and forget the hits."""
    global _watching  # noqa: PLW0603 - see arm
    _watching = False
    _armed.clear()
    hits.clear()


def _act(action: str) -> None:
    kind, _, argument = action.partition(":")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # SIGKILL is on its way; do not take another step
    if kind == "raise":
        number = getattr(errno, argument)
        raise OSError(number, os.strerror(number))
    if kind == "sleep":
        time.sleep(float(argument))
