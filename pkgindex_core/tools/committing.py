"""Read, decide and commit, again and again until nobody else was faster.

A commit requires that what was read for it still holds. When somebody else wrote in between it changes nothing, and the whole is
tried anew with what is true now: what was fine may be refused the second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pkgindex_core.errors import PkgIndexError, RequirementFailed, Unavailable

Outcome = TypeVar("Outcome")

TURNS: Final = 20


async def until_committed(
    attempt: Callable[[int], Awaitable[Outcome]],
    message: str = "",
    *,
    hint: str = "",
    upon: type[PkgIndexError] | tuple[type[PkgIndexError], ...] = RequirementFailed,
    turns: int = TURNS,
) -> Outcome:
    """What the first attempt comes to that loses no race. `attempt` is told how many there were before it.

    `upon`: the errors that mean a lost race. When the last of the `turns` has lost too, `message` is told with the hint, as
    `Unavailable`; without a message the last error itself.
    """
    for turn in range(turns):
        try:
            return await attempt(turn)
        except upon:
            if turn == turns - 1 and not message:
                raise
    raise Unavailable(message, retry_after=1, hint=hint)
