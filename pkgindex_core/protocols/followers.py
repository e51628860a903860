"""The role of a follower: it acts on commits after they were made, for example by notices to other servers."""

from __future__ import annotations

from typing import Protocol


class Follower(Protocol):
    """Follows the commits of all processes that write to the store. A commit never waits for a follower.

    Commits are acted on in their order, from the one at which a follower first began. A follower stores its position in the log
    durably, so that a restart goes on from there: it leaves nothing out and repeats little. It acts at least once on each commit:
    if the process is killed after the act and before the position is stored, the act is repeated. The contract suite is
    `pkgindex_core.testing.followers`.
    """

    async def follow(self) -> None:
        """Follow until cancelled."""
        ...

    async def close(self) -> None:
        """Release everything that the follower holds. May be called again."""
        ...
