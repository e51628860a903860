"""The role of what does something about commits after they were made: notices to other servers, and the like."""

from __future__ import annotations

from typing import Protocol


class Follower(Protocol):
    """Follows the commits of the store, whichever process made them. Nobody who commits ever waits for it.

    Keeps its own place in the log, durably, so that a restart neither repeats everything nor leaves anything out. What it does
    happens at least once: killed after doing and before keeping its place, it does it again.
    """

    async def follow(self) -> None:
        """Follow until cancelled."""
        ...

    async def close(self) -> None: ...
