"""Named places where a test makes the program fail or die.

`failpoint("upload.blob_kept")` does nothing unless the point is armed, by `PKGINDEX_FAILPOINTS` in the
environment of a program under test (its command line calls `arm`) or by `arm` inside a test. Every point is declared in `POINTS`; a test fails
when one is never hit, and an undeclared name raises at its first use.

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
        # a notice of an upload to another server
        "webhook.delivered",
        # a blob on local disk
        "blob.opened",
        "blob.written",
        "blob.file_synced",
        "blob.renamed",
        "blob.directory_synced",
        # the mark that says whose the blobs are
        "owner.written",
        "owner.renamed",
        "owner.kept",
        # damaged blobs: found, set aside, made again
        "verify.noted",
        "aside.moved",
        "aside.kept",
        "repair.set_aside",
        "repair.made",
        # a commit in SQLite
        "commit.begun",
        "commit.written",
        "commit.committed",
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
        # what was learned, on its way into the stores behind the answers
        "behind.learned",
        "behind.gathered",
        "behind.committed",
        "behind.blob_learned",
        "behind.blob_kept",
        # dumps and moving in
        "export.blobs_kept",
        "export.segment_written",
        "restore.blobs_kept",
        "restore.replayed",
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
