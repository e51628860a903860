"""The law: an answer that is repeated is the answer that would be made now, to the byte.

Two servers over one engine are told the same, read by read; one of them repeats answers. Between conversations anything may change.
`PKGINDEX_TEST_REPLAYS=100000` sends as many requests.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from tests.conftest import Tally
from tests.http.conftest import Serve
from tests.http.replay_requests import Conversation, Generator
from tests.http.replay_world import World, opened_world
from tests.http.talks import Talk, counted, without_times

_REQUESTS = int(os.environ.get("PKGINDEX_TEST_REPLAYS", "3000"))
_AGAIN = 5


class Comparing:
    """Tells two servers the same."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._talks: dict[str, tuple[Talk, Talk]] = {}

    async def compare(self, conversation: Conversation, history: list[str]) -> bytes:
        """Compare the answers. When something was committed between the two conversations, both are held again."""
        for _ in range(_AGAIN):
            before = self._world.state
            said = await self._both(conversation)
            if said[0] == said[1]:
                return said[0]
            if before == self._world.state:
                pieces = b"\n---\n".join(conversation.pieces)
                raise AssertionError(f"{history[-5:]}\n{pieces!r}\nrepeating: {said[0]!r}\nplain: {said[1]!r}")
            await self._world.settle()
        raise AssertionError("the world does not come to rest")

    async def _both(self, conversation: Conversation) -> tuple[bytes, bytes]:
        talks = self._talks.pop(conversation.peer, None)
        if talks is None or talks[0].is_over or talks[1].is_over:
            talks = Talk(self._world.repeating, conversation.peer), Talk(self._world.plain, conversation.peer)
        said: dict[Talk, bytes] = {}
        for talk in talks if self._rng.random() < 0.5 else talks[::-1]:
            said[talk] = without_times(
                await talk.say(*conversation.pieces, apart=conversation.apart, turns=conversation.turns)
            )
        repeating, plain = talks
        over = [(talk.line.closed, talk.is_over) for talk in talks]
        assert over[0] == over[1], f"{conversation.pieces!r}: {over}\n{talks[0].state}\n{talks[1].state}"
        if repeating.is_over or self._rng.random() < 0.05:
            await repeating.end()
            await plain.end()
        else:
            self._talks[conversation.peer] = talks
        return said[repeating], said[plain]


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.timeout(36_000 if _REQUESTS > 10_000 else 900)
async def test_repeated_answers_are_those_of_the_plain_way(tmp_path: Path, tally: Tally, proxied: bool) -> None:
    seed = int(os.environ.get("PKGINDEX_TEST_SEED", "1")) + proxied
    rng = random.Random(seed)
    history: list[str] = []
    asked = changed = 0
    async with opened_world(tmp_path, proxied=proxied) as world:
        repeated = counted(world.repeating)
        generator, comparing = Generator(rng, world, proxied=proxied), Comparing(world, rng)
        while asked < _REQUESTS // 2:
            if rng.random() < 0.1:
                history.append(await world.change(rng))
                changed += 1
            conversation = generator.conversation()
            generator.learn(await comparing.compare(conversation, history))
            asked += conversation.requests
    assert len(repeated) > asked // 50
    tally("requests that two servers answered", asked)
    tally("of these repeated without parsing", len(repeated))
    tally("changes between them", changed)


async def test_what_was_told_is_in_every_later_answer(serve: Serve, tmp_path: Path, tally: Tally) -> None:
    """Writers and readers at once, over a real database: no reader gets a page without an upload that was committed before it asked."""
    versions = 60
    done = 0
    answers = 0

    async with serve(store="", data=tmp_path / "data") as served:
        repeated = counted(served.server)

        async def write() -> None:
            nonlocal done
            for number in range(1, versions + 1):
                await served.put(build_wheel("demo", f"{number}.0"))
                done = number
                await asyncio.sleep(0.002)

        async def read() -> None:
            nonlocal answers
            talk = Talk(served.server)
            while done < versions:
                known = done
                said = await talk.say(b"GET /root/dev/+simple/demo/ HTTP/1.1\r\nHost: x\r\n\r\n")
                assert said.startswith(b"HTTP/1.1 200 ") or not known
                assert b"demo-%d.0-" % known in said or not known
                answers += 1

        await asyncio.gather(write(), *(read() for _ in range(4)))
    assert repeated
    tally("answers beside a writer", answers)
