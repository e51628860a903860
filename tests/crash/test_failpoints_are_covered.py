"""No step of a write goes untried: a new failpoint fails here until a test dies, or fails, at it."""

from __future__ import annotations

from pkgindex_core.failpoints import POINTS
from tests.crash import (
    test_kill_fetch,
    test_kill_moving,
    test_kill_push,
    test_kill_start,
    test_kill_upload,
    test_kill_verify,
)

KILLED = {
    *test_kill_upload.PASSES,
    *test_kill_fetch.STEPS,
    *test_kill_push.STEPS,
    *test_kill_start.STEPS,
    *test_kill_verify.STEPS,
    *test_kill_moving.EXPORT_STEPS,
    *test_kill_moving.RESTORE_STEPS,
    *test_kill_moving.IMPORT_STEPS,
}
"""Each of these is a case at least, and a case only passes when its process died of SIGKILL at that point."""
FAILED = {"webhook.delivered", "names.part_committed", "page.part_committed"}
"""What is done in the background fails there, and goes on: tests/mirror: test_webhooks.py, test_readthrough.py, test_long_pages.py."""


def test_every_failpoint_there_is_has_a_case() -> None:
    assert KILLED | FAILED == POINTS
