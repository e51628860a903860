"""A commit is tried anew while others are faster, and the last word is the one that was asked for."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import UserAbsent
from pkgindex_core.errors import Missing, Refused, RequirementFailed, Unavailable
from pkgindex_core.tools.committing import TURNS, until_committed

FASTER = RequirementFailed("somebody was faster", UserAbsent("anna"))


async def test_the_first_attempt_that_loses_no_race_counts() -> None:
    turns: list[int] = []

    async def attempt(turn: int) -> str:
        turns.append(turn)
        if turn < 3:
            raise FASTER
        return "done"

    assert await until_committed(attempt, "too fast") == "done"
    assert turns == [0, 1, 2, 3]


async def test_who_lost_every_race_is_told_the_message_without_a_cause() -> None:
    """What has a cause is logged with its traceback, and a busy project is no defect."""
    turns: list[int] = []

    async def attempt(turn: int) -> None:
        turns.append(turn)
        raise FASTER

    with pytest.raises(Unavailable, match="too fast") as raised:
        await until_committed(attempt, "too fast", hint="again")
    assert (raised.value.retry_after, raised.value.hint, raised.value.__cause__) == (1, "again", None)
    assert turns == list(range(TURNS))


async def test_without_a_message_the_last_error_is_told() -> None:
    errors = iter([Missing("user", "anna"), FASTER, Missing("user", "ben"), Missing("user", "one more")])

    async def attempt(_: int) -> None:
        raise next(errors)

    with pytest.raises(Missing, match="ben"):
        await until_committed(attempt, upon=(RequirementFailed, Missing), turns=3)


async def test_what_is_no_lost_race_ends_it() -> None:
    turns: list[int] = []

    async def attempt(turn: int) -> None:
        turns.append(turn)
        raise Refused("never")

    with pytest.raises(Refused, match="never"):
        await until_committed(attempt, "too fast")
    assert turns == [0]
