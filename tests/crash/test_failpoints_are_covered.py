"""No step of a write goes untried: a new failpoint fails here until a test dies, or fails, at it."""

from __future__ import annotations

from pkgindex_core.failpoints import POINTS
from tests.crash import (
    test_kill_directory,
    test_kill_eviction,
    test_kill_fetch,
    test_kill_gc,
    test_kill_lists,
    test_kill_moving,
    test_kill_notes,
    test_kill_publish,
    test_kill_push,
    test_kill_replica,
    test_kill_scrub,
    test_kill_search,
    test_kill_start,
    test_kill_upload,
    test_kill_verify,
)
from tests.mirror.bundles import test_kills as test_kill_bundles
from tests.mirror.engine_target import test_index_snapshots as test_kill_index_snapshots
from tests.mirror.engine_target import test_killed_runs as test_kill_synced_indexes
from tests.mirror.mirror_trees import test_killed_runs as test_kill_trees
from tests.mirror.snapshots import test_publishing as test_kill_published_snapshots
from tests.mirror.snapshots import test_taking as test_kill_snapshots
from tests.mirror.syncing import test_killed_runs as test_kill_runs

KILLED = {
    *test_kill_upload.PASSES,
    *test_kill_directory.STEPS,
    *test_kill_eviction.STEPS,
    *test_kill_fetch.STEPS,
    *test_kill_gc.STEPS,
    *test_kill_lists.STEPS,
    *test_kill_push.STEPS,
    *test_kill_replica.STEPS,
    *test_kill_notes.STEPS,
    *test_kill_scrub.STEPS,
    *test_kill_search.STEPS,
    *test_kill_start.STEPS,
    *test_kill_verify.STEPS,
    *test_kill_moving.BACKUP_STEPS,
    *test_kill_moving.RESTORE_STEPS,
    *test_kill_moving.MIGRATE_STEPS,
    *test_kill_moving.IMPORT_STEPS,
    *test_kill_publish.STEPS,
    *test_kill_bundles.CREATING,
    *test_kill_bundles.APPLYING,
    *test_kill_runs.STEPS,
    *test_kill_snapshots.STEPS,
    *test_kill_published_snapshots.STEPS,
    *test_kill_synced_indexes.OF_A_FIRST_RUN,
    *test_kill_synced_indexes.STEPS,
    *test_kill_index_snapshots.STEPS,
    test_kill_synced_indexes.OF_A_LONG_PAGE,
    *test_kill_trees.STEPS,
}
"""Each of these is a case at least, and a case only passes when its process died of SIGKILL at that point."""
FAILED = {"webhook.delivered", "names.part_committed", "page.part_committed", "publish.put", "advisories.book_made"}
"""What is done in the background fails there, and goes on: tests/mirror: test_webhooks.py, test_readthrough.py, test_long_pages.py, test_feeding.py. So does a
medium that would die with its process: test_static_trees.py."""


def test_every_failpoint_there_is_has_a_case() -> None:
    assert KILLED | FAILED == POINTS
