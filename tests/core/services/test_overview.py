"""Documents of users: what they cost those who ask for something else."""

from __future__ import annotations

import asyncio

from pkgindex_core.changes import PutUser
from pkgindex_core.models import User
from pkgindex_core.protocols import Principal
from tests.core.services.conftest import Open


async def test_a_list_of_a_thousand_users_lets_others_in_between(open_world: Open) -> None:
    """One that is written in one go keeps every other request waiting for as long as it takes."""
    async with open_world() as world:
        users = [PutUser(User(name=f"user{number}")) for number in range(1000)]
        await world.engine.store.apply(users, who="[test]")
        task = asyncio.create_task(world.engine.overview.users(Principal(name="root")))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await task) == 1001
        assert turns >= 10
