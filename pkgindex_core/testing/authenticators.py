"""The contract suites of `Authenticator`, and of one that is `Stateful` or `StatefulAtOnce` too.

    class TestMyAuthenticator(AuthenticatorContract):
        right = Credentials(username="ann", secret="correct horse")
        principal = Principal(name="ann")
        async def open_authenticator(self, context): return MyAuthenticator(context)

The context has a store in memory and password hashes that cost no time. `begin` makes the user known to the authenticator.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, Literal

from msgspec.structs import replace

from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import (
    Authenticator,
    Credentials,
    HouseRules,
    IndexStore,
    Principal,
    Stateful,
    StatefulAtOnce,
)
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio
from pkgindex_core.testing.passwords import ODD_PASSWORDS, PlainPasswords

_NOBODY: Final = "nobody-knows-me"
_ODD_NAMES: Final = (
    "",
    " ",
    "__token__",
    "root",
    "*",
    "a)(uid=*",
    "' OR 1=1 --",
    "../ann",
    "ann\n",
    "nul\0",
    "日本",
    "x" * 100_000,
)
_ODD_SECRETS: Final = ("\u00ad", *ODD_PASSWORDS)
GARBAGE: Final = (
    *(Credentials(username=name, secret="a password") for name in _ODD_NAMES),
    *(Credentials(username=_NOBODY, secret=secret) for secret in ("", *_ODD_SECRETS)),
    Credentials(username="x" * 100_000, secret="x" * 100_000),
)
"""Credentials of no user that a client may present."""

Outcome = Principal | Literal["refused"] | None


@pytest.mark.asyncio
class AuthenticatorContract:
    """Subclass, name it `Test…`, and set `right` and `principal`."""

    right: ClassVar[Credentials]
    """Credentials that the authenticator accepts."""
    principal: ClassVar[Principal]
    """The principal of `right`."""
    refuses: ClassVar[bool] = True
    """Whether a wrong secret of a known user is `refused`. Otherwise the next authenticator is asked."""
    can_be_away: ClassVar[bool] = False
    """Whether the authenticator asks a server that may not answer. `go_away` then makes it silent."""

    context: Context
    authenticator: Authenticator
    passwords: PlainPasswords

    async def begin(self, context: Context) -> None:
        """Make the user known, without using the authenticator."""

    async def open_authenticator(self, context: Context) -> Authenticator:
        raise NotImplementedError

    async def open_store(self, context: Context) -> IndexStore:
        """The index store of the context."""
        return MemoryIndex(context.clock)

    async def go_away(self) -> None:
        """Make the server that the authenticator asks stop answering."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        self.passwords = PlainPasswords()
        with ThreadPoolExecutor(2) as workers:
            context = Context(data=tmp_path, clock=ManualClock(), workers=workers, passwords=self.passwords)
            store = await self.open_store(context)
            self.context = replace(context, index_store=store)
            await self.begin(self.context)
            self.authenticator = await self.open_authenticator(self.context)
            yield
            await store.close()

    async def outcome(self, credentials: Credentials) -> Outcome:
        return await self.authenticator.authenticate(credentials)

    @property
    def wrong(self) -> Credentials:
        """A known user with a wrong secret."""
        return replace(self.right, secret=f"{self.right.secret}x")

    @property
    def said_of_wrong(self) -> Outcome:
        return "refused" if self.refuses else None

    async def test_the_right_secret_tells_the_principal(self) -> None:
        assert await self.outcome(self.right) == self.principal
        assert self.principal.name

    async def test_a_principal_is_who_asks_and_nothing_more(self) -> None:
        """Limits come from tokens, and the library adds its rules for all authenticators."""
        found = await self.outcome(self.right)
        assert isinstance(found, Principal)
        assert (found.scope, found.log_in, found.house) == (None, "", HouseRules())
        assert self.right.secret not in repr(found)

    async def test_a_wrong_secret_tells_nobody(self) -> None:
        assert await self.outcome(self.wrong) == self.said_of_wrong
        assert await self.outcome(replace(self.right, secret="")) == self.said_of_wrong

    async def test_what_is_not_its_own_is_left_to_others(self) -> None:
        assert await self.outcome(Credentials(username=_NOBODY, secret=self.right.secret)) is None

    @pytest.mark.parametrize("credentials", GARBAGE, ids=lambda each: ascii(f"{each.username[:20]} {each.secret[:20]}"))
    async def test_garbage_is_nobody(self, credentials: Credentials) -> None:
        assert await self.outcome(credentials) in {None, "refused"}

    @pytest.mark.parametrize("secret", _ODD_SECRETS, ids=lambda secret: ascii(secret[:20]))
    async def test_a_garbled_secret_is_a_wrong_one(self, secret: str) -> None:
        assert await self.outcome(replace(self.right, secret=secret)) == self.said_of_wrong

    async def test_an_unknown_user_costs_what_a_wrong_secret_costs(self) -> None:
        """Otherwise the response time would show which users exist. Counted in comparisons of passwords."""
        costs = []
        for credentials in (self.wrong, Credentials(username=_NOBODY, secret="x")):
            before = self.passwords.compared
            await self.outcome(credentials)
            costs.append(self.passwords.compared - before)
        assert costs[0] == costs[1]

    async def test_answers_at_once_are_each_about_their_own(self) -> None:
        asked: Sequence[Credentials] = [self.right, self.wrong] * 10
        expected = [self.principal, self.said_of_wrong] * 10
        assert await asyncio.gather(*map(self.outcome, asked)) == expected

    async def test_a_caller_that_leaves_harms_nobody(self) -> None:
        for turns in range(4):
            leaving, staying = (asyncio.ensure_future(self.outcome(self.right)) for _ in range(2))
            for _ in range(turns):
                await asyncio.sleep(0)
            leaving.cancel()
            assert await staying == self.principal

    async def test_no_secret_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            for credentials in (self.right, self.wrong):
                await self.outcome(credentials)
        assert self.right.secret not in caplog.text

    async def test_what_cannot_be_asked_is_unknown_and_not_wrong(self) -> None:
        if self.can_be_away:
            await self.go_away()
            with pytest.raises(Unavailable):
                await self.outcome(self.right)
            with pytest.raises(Unavailable):
                await self.outcome(self.wrong)


@pytest.mark.asyncio
class StatefulContract(AuthenticatorContract):
    """The suite of an authenticator that is `Stateful`. `forget` makes `right` wrong, in the place where the users are kept."""

    async def forget(self) -> None:
        raise NotImplementedError

    async def state(self) -> Hashable:
        assert isinstance(self.authenticator, Stateful)
        return await self.authenticator.state()

    async def test_the_state_stays_while_no_verdict_changes(self) -> None:
        before = await self.state()
        await self.outcome(self.right)
        await self.outcome(self.wrong)
        assert {before, await self.state()} == {before}

    async def test_the_state_changes_with_a_verdict(self) -> None:
        before = await self.state()
        assert await self.outcome(self.right) == self.principal
        await self.forget()
        assert await self.state() != before
        assert await self.outcome(self.right) != self.principal


@pytest.mark.asyncio
class StatefulAtOnceContract(StatefulContract):
    """The suite of an authenticator that is `StatefulAtOnce` too."""

    def state_at_once(self) -> Hashable | None:
        assert isinstance(self.authenticator, StatefulAtOnce)
        return self.authenticator.state_at_once()

    async def test_what_is_told_at_once_is_the_state(self) -> None:
        at_once = self.state_at_once()
        assert at_once in {None, await self.state()}
        await self.outcome(self.right)
        at_once = self.state_at_once()
        assert at_once in {None, await self.state()}

    async def test_a_state_that_was_just_told_is_told_at_once(self) -> None:
        """Otherwise no answer would ever be repeated."""
        state = await self.state()
        assert state is not None
        assert [self.state_at_once(), self.state_at_once()] == [state, state]

    async def test_a_former_state_is_not_told_at_once(self) -> None:
        before = await self.state()
        await self.forget()
        assert self.state_at_once() != before
        assert self.state_at_once() in {None, await self.state()}
        assert await self.state() != before
        assert self.state_at_once() == await self.state()
