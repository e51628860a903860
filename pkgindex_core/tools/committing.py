"""Read, decide and commit, again and again until nobody else was faster.

A commit requires that what was read for it still holds. When somebody else wrote in between it changes nothing, and the whole is
tried anew with what is true now: what was fine may be refused the second time. Twenty lost races in a row are told as `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pkgindex_core.errors import RequirementFailed, Unavailable

Outcome = TypeVar("Outcome")

_TURNS: Final = 20


async def until_committed(attempt: Callable[[int], Awaitable[Outcome]], restless: str, *, hint: str = "") -> Outcome:
    """What the first attempt comes to whose requirements hold. `attempt` is told how many there were before it.

    `restless` says what changes too fast, with the hint, for who lost every race.
    """
    for turn in range(_TURNS):
        try:
            return await attempt(turn)
        except RequirementFailed:
            continue
    raise Unavailable(restless, retry_after=1, hint=hint)
