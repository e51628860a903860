"""The contract suites of `PasswordComparing`, `PasswordHashing` and `Passwords`, and fast passwords for tests.

    class TestMyHashing(PasswordHashingContract):
        def make(self): return MyHashing()

    class TestOldHashes(PasswordComparingContract):
        def make(self): return OldHashes()
        def hash_of(self, password): ...              # as the program makes it whose hashes are compared

`PlainPasswords` is a `Passwords` for tests of other things. It takes no time and counts comparisons.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.protocols import PasswordComparing, PasswordHashing, Passwords
from pkgindex_core.testing.needed import pytest, pytest_asyncio

PASSWORD: Final = "correct horse"
ODD_PASSWORDS: Final = (
    "pass wörd",
    "日本",
    "a:b",
    "nul\0nul",
    "$argon2id$v=19$m=1",
    "x" * 1000,
)
"""Passwords that a client can present."""
DAMAGED_HASHES: Final = (
    "",
    "x",
    "$",
    "$argon2id$v=19$m=32768,t=2,p=1$",
    "$argon2id$" + "A" * 5000,
    "nul\0",
    "ÿ",
    "plain$",
)
"""Damaged values that may be stored in the place of a hash."""


class PlainPasswords:
    """A `Passwords` whose hashes are the passwords. `compared` counts comparisons."""

    def __init__(self) -> None:
        self.compared = 0
        self._salts = count(1)

    async def hash(self, password: str, *, may_be_empty: bool = False) -> str:
        if not password and not may_be_empty:
            raise Refused("the password is empty")
        return f"plain${next(self._salts)}${password}"

    async def verify(self, password_hash: str, password: str, *, comparing: PasswordComparing | None = None) -> bool:
        self.compared += 1
        if comparing is not None:
            return comparing.verify(password_hash, password)
        kind, _, salted = password_hash.partition("$")
        return kind == "plain" and salted.partition("$")[1:] == ("$", password)

    def outdated(self, password_hash: str) -> bool:
        return not password_hash.startswith("plain$")


class PasswordComparingContract:
    """Subclass, name it `Test…`, make what compares, and give it hashes."""

    def make(self) -> PasswordComparing:
        raise NotImplementedError

    def hash_of(self, password: str) -> str:
        """A hash of the password, as it is stored."""
        raise NotImplementedError

    def test_a_hash_matches_its_password_and_no_other(self) -> None:
        comparing = self.make()
        made = self.hash_of(PASSWORD)
        assert comparing.verify(made, PASSWORD) is True
        assert self.make().verify(made, PASSWORD) is True, "a hash is valid in another process too"
        assert [other for other in ("", "Correct horse", f"{PASSWORD}x", made) if comparing.verify(made, other)] == []

    @pytest.mark.parametrize("password", (*ODD_PASSWORDS, "lone \ud800 surrogate"), ids=ascii)
    def test_any_text_is_compared(self, password: str) -> None:
        assert self.make().verify(self.hash_of(PASSWORD), password) is False

    @pytest.mark.parametrize("damaged", DAMAGED_HASHES, ids=lambda damaged: ascii(damaged[:20]))
    def test_what_is_no_hash_never_matches(self, damaged: str) -> None:
        comparing = self.make()
        assert [each for each in ("", PASSWORD, damaged) if comparing.verify(damaged, each)] == []


class PasswordHashingContract(PasswordComparingContract):
    """Subclass, name it `Test…`, and make the hashing."""

    def make(self) -> PasswordHashing:
        raise NotImplementedError

    def hash_of(self, password: str) -> str:
        return self.make().hash(password)

    def test_each_hash_has_a_salt_of_its_own_and_does_not_show_the_password(self) -> None:
        hashing = self.make()
        made = [hashing.hash(PASSWORD) for _ in range(3)]
        assert len(set(made)) == 3
        assert not any(PASSWORD in each for each in made)

    @pytest.mark.parametrize("password", (*ODD_PASSWORDS, "lone \ud800 surrogate"), ids=ascii)
    def test_any_text_is_a_password(self, password: str) -> None:
        hashing = self.make()
        assert hashing.verify(hashing.hash(password), password) is True

    def test_no_hash_takes_as_long_as_a_hash(self) -> None:
        """Otherwise the response time would show which users exist. The fastest of a few comparisons counts, without the first one."""
        hashing = self.make()
        made = hashing.hash(PASSWORD)
        assert _fastest(hashing, "") > _fastest(hashing, made) / 4

    def test_a_new_hash_is_not_outdated(self) -> None:
        hashing = self.make()
        made = hashing.hash(PASSWORD)
        assert hashing.verify(made, PASSWORD)
        assert hashing.outdated(made) is False


def _fastest(hashing: PasswordHashing, password_hash: str) -> float:
    hashing.verify(password_hash, "wrong")
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        hashing.verify(password_hash, "wrong")
        times.append(time.perf_counter() - begun)
    return min(times)


class SlowHashing:
    """A slow `PasswordHashing` that counts how many of its calls run at once."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most_at_once = 0

    def hash(self, password: str) -> str:
        self._work()
        return f"slow${password}"

    def verify(self, password_hash: str, password: str) -> bool:
        self._work()
        return bool(password_hash) and password_hash == f"slow${password}"

    def outdated(self, password_hash: str) -> bool:
        return not password_hash.startswith("slow$")

    def _work(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.002)
        self.at_once -= 1


@pytest.mark.asyncio
class PasswordsContract:
    """Subclass, name it `Test…`, and open the `Passwords`."""

    hashing: SlowHashing
    passwords: Passwords

    def open_passwords(self, hashing: PasswordHashing, workers: Executor) -> Passwords:
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self) -> AsyncIterator[None]:
        self.hashing = SlowHashing()
        with ThreadPoolExecutor(8) as workers:
            self.passwords = self.open_passwords(self.hashing, workers)
            yield

    async def test_a_hash_matches_its_password_and_no_other(self) -> None:
        made = await self.passwords.hash(PASSWORD)
        assert await self.passwords.verify(made, PASSWORD) is True
        assert await self.passwords.verify(made, "wrong") is False
        assert self.passwords.outdated(made) is False
        assert self.passwords.outdated("old") is True

    async def test_an_empty_password_is_refused_unless_it_is_allowed(self) -> None:
        with pytest.raises(Refused):
            await self.passwords.hash("")
        assert await self.passwords.hash("", may_be_empty=True)

    async def test_an_endless_password_is_refused_and_never_matches(self) -> None:
        with pytest.raises(Refused):
            await self.passwords.hash("x" * 1_000_000)
        assert await self.passwords.verify("slow$x", "x" * 1_000_000) is False

    async def test_only_a_few_are_hashed_at_once(self) -> None:
        """Fewer than there are workers, so that some stay free for other work."""
        answers = await asyncio.gather(*(self.passwords.verify("slow$right", "right") for _ in range(40)))
        assert all(answers)
        assert 1 <= self.hashing.most_at_once < 8

    async def test_a_flood_is_turned_away_and_leaves_nothing_behind(self) -> None:
        outcomes = await asyncio.gather(
            *(self.passwords.verify("slow$right", "right") for _ in range(2000)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {bool, Unavailable}
        assert await self.passwords.verify("slow$right", "right") is True

    async def test_hashes_of_other_kinds_share_the_bounds(self) -> None:
        other = SlowHashing()
        other._work = self.hashing._work  # type: ignore[method-assign]  # both are counted in one place
        asked = [
            self.passwords.verify("slow$right", "right", comparing=other if each % 2 else None) for each in range(40)
        ]
        assert all(await asyncio.gather(*asked))
        assert 1 <= self.hashing.most_at_once < 8
        assert await self.passwords.verify("slow$x", "x" * 1_000_000, comparing=other) is False

    async def test_callers_that_leave_keep_no_turn(self) -> None:
        leaving = [asyncio.create_task(self.passwords.verify("slow$right", "right")) for _ in range(40)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert await asyncio.wait_for(self.passwords.verify("slow$right", "right"), timeout=30) is True


if TYPE_CHECKING:
    _plain: type[Passwords] = PlainPasswords
    _slow: type[PasswordHashing] = SlowHashing
