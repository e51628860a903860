"""Hashing is expensive on purpose, and has one bound in the whole engine: log-ins and new passwords wait for the same turns."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import argon2
import pytest

from pkgindex_core.protocols import Credentials, Principal
from tests.core.services.conftest import Open


class FakeHashing:
    """Stands where argon2 does: counts who hashes at the same time, and lets nobody end before `gate` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.under_way = self.most = self.done = 0

    def __call__(self, *_: Any) -> str:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.gate.wait(30)
        with self.lock:
            self.under_way -= 1
            self.done += 1
        return "$argon2id$v=19$m=32768,t=2,p=1$c2FsdHNhbHQ$aGFzaA"


async def test_log_ins_and_new_passwords_share_two_turns(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        for number in range(4):
            await world.user(f"user{number}")
        fake = FakeHashing()
        monkeypatch.setattr(argon2.PasswordHasher, "hash", fake)
        monkeypatch.setattr(argon2.PasswordHasher, "verify", fake)
        root = Principal(name="root")
        engine, identity = world.engine, world.engine.identity
        asked = [
            asyncio.create_task(step)
            for number in range(4)
            for step in (
                engine.users.create(f"new{number}", "a word", principal=root),
                identity.identify(Credentials(username=f"user{number}", secret="a word")),
            )
        ]
        while fake.under_way < 2:
            await asyncio.sleep(0)
        for _ in range(1000):  # as long as it takes a third to begin, if it could
            await asyncio.sleep(0)
        fake.gate.set()
        await asyncio.gather(*asked)
        assert (fake.done, fake.most) == (8, 2)
