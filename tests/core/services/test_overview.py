"""Documents of users: what they cost those who ask for something else."""

from __future__ import annotations

import asyncio

from pkgindex_core.changes import PutUser
from pkgindex_core.models import User
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_wheel
from tests.core.services.conftest import DEV, Open
from tests.core.services.test_releases import publish


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


async def test_an_index_with_a_quota_tells_its_use_and_takes_its_document_back(open_world: Open) -> None:
    async with open_world() as world:
        engine, root = world.engine, Principal(name="root")
        assert "stored_bytes" not in await engine.overview.index(DEV, root)
        await publish(world, build_wheel("demo", "1.0"))
        changed = await engine.indexes.modify(DEV, {"max_index_bytes": "1GiB"}, principal=root)
        shown = await engine.overview.index(DEV, root)
        assert (shown["max_index_bytes"], shown["stored_bytes"]) == (2**30, build_wheel("demo", "1.0").size)
        assert await engine.indexes.modify(DEV, shown, principal=root) == changed
