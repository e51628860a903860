"""Runs followers beside a server. A failure of a follower does not end the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pkgindex_core.protocols import Follower

_PAUSE_SECONDS = 30.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def following(followers: Sequence[Follower]) -> AsyncIterator[None]:
    """Run followers within this context."""
    tasks = [asyncio.create_task(_keep_on(follower), name="follower") for follower in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_on(follower: Follower) -> None:
    while True:
        try:
            await follower.follow()
        except Exception:
            _log.exception("%s failed; it is started again in %.0f s", type(follower).__name__, _PAUSE_SECONDS)
        await asyncio.sleep(_PAUSE_SECONDS)
