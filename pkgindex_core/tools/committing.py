"""Repeats read, decide and commit until no concurrent commit interferes.

A commit requires that the data it was decided from is unchanged. If another commit came first, it changes nothing, and the
whole attempt is repeated with new data. The new attempt may be refused.
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
    """Return the outcome of the first attempt that loses no race. `attempt` gets the number of attempts before it.

    `upon`: the errors that mean a lost race. When all `turns` have lost, raises `Unavailable` with `message` and `hint`; without
    a message, the last error.
    """
    for turn in range(turns):
        try:
            return await attempt(turn)
        except upon:
            if turn == turns - 1 and not message:
                raise
    raise Unavailable(message, retry_after=1, hint=hint)
