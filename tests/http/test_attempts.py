"""Failed log-ins slow down further ones from their address, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pkgindex_core.errors import Denied
from pkgindex_core.protocols import Credentials
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tokens import new_token
from pkgindex_http.errors import TooManyAttempts
from pkgindex_http.wire.attempts import FORGOTTEN_SECONDS, LONGEST_PAUSE, LoginAttempts
from tests.http.conftest import PASSWORD, Serve, Served, basic

ALLOWED = 3
HERE, THERE = "192.0.2.1", "192.0.2.2"


class World:
    """LoginAttempts with a clock of the test, whose pauses end at once, and an authenticator that knows one password."""

    def __init__(self, allowed: int = ALLOWED) -> None:
        self.clock = ManualClock()
        self.pauses: list[float] = []
        self.judged: list[str] = []
        self.verdicts: dict[Credentials, bool] = {}
        self.gate: asyncio.Event | None = None
        self.waits: asyncio.Event | None = None
        self.attempts = LoginAttempts(allowed, self.clock, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.waits is not None:
            await self.waits.wait()

    async def attempt(self, password: str, address: str = HERE, *, recalls: bool = True) -> str:
        """The outcome of a log-in: in, denied or slowed."""
        credentials = Credentials(username="ann", secret=password)

        async def judge() -> str:
            self.judged.append(password)
            if self.gate is not None:
                await self.gate.wait()
            self.verdicts[credentials] = password == PASSWORD
            if password != PASSWORD:
                raise Denied("wrong", anonymous=True)
            return "in"

        recalled: Callable[[Credentials], bool | None] = self.verdicts.get if recalls else lambda _: None
        try:
            return await self.attempts.judged(address, credentials, recalled, judge)
        except Denied:
            return "denied"
        except TooManyAttempts as error:
            return f"slowed {error.seconds}"

    async def fail(self, count: int, address: str = HERE) -> list[str]:
        return [await self.attempt(f"guess {address} {len(self.judged)}", address) for _ in range(count)]


async def test_some_failures_are_allowed_and_then_guesses_are_slowed() -> None:
    world = World()
    assert await world.fail(5) == ["denied"] * 3 + ["slowed 1"] * 2
    assert world.pauses == [1, 1]
    assert len(world.judged) == 5


async def test_a_right_password_is_answered_at_once() -> None:
    world = World()
    await world.fail(20)
    pauses = len(world.pauses)
    assert await world.attempt(PASSWORD, recalls=False) == "in"
    assert len(world.pauses) == pauses
    assert (await world.fail(1))[0].startswith("slowed"), "it forgives nothing"


async def test_pauses_grow_to_a_bound() -> None:
    world = World()
    await world.fail(60)
    assert sorted(set(world.pauses)) == [1, 2, 4, LONGEST_PAUSE]
    assert world.pauses == sorted(world.pauses)


async def test_one_guess_at_a_time_is_judged() -> None:
    world = World()
    await world.fail(ALLOWED)
    world.gate = asyncio.Event()
    first = asyncio.create_task(world.attempt("one"))
    while "one" not in world.judged:
        await asyncio.sleep(0)
    assert await world.attempt("two") == "slowed 1"
    world.gate.set()
    assert await first == "slowed 1"
    assert "two" not in world.judged


async def test_a_pause_outlasts_the_connection_of_its_client() -> None:
    world = World()
    await world.fail(ALLOWED)
    world.waits = asyncio.Event()
    first = asyncio.create_task(world.attempt("one"))
    while not world.pauses:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert await world.attempt("two") == "slowed 1"
    assert "two" not in world.judged
    world.clock.advance(1)
    world.waits.set()
    assert await world.attempt("two") == "slowed 1"
    assert "two" in world.judged


async def test_a_burst_of_guesses_is_judged_once() -> None:
    """The first burst cannot be told from a build farm; what follows it can."""
    world = World()
    outcomes = []
    for name in ("first", "second"):
        world.gate = asyncio.Event()
        burst = [asyncio.create_task(world.attempt(f"{name} {number}")) for number in range(20)]
        await asyncio.sleep(0)  # each has begun
        world.gate.set()
        outcomes.append({(await each).split()[0] for each in burst})
    assert outcomes == [{"denied"}, {"slowed"}]
    assert [each for each in world.judged if each.startswith("second")] == ["second 0"]


async def test_a_farm_with_right_passwords_is_never_slowed() -> None:
    world = World()
    assert set(await asyncio.gather(*(world.attempt(PASSWORD, recalls=False) for _ in range(50)))) == {"in"}
    await world.fail(ALLOWED)
    assert set(await asyncio.gather(*(world.attempt(PASSWORD) for _ in range(50)))) == {"in"}


async def test_known_wrong_passwords_take_no_turn() -> None:
    world = World()
    await world.attempt("old")
    await world.fail(ALLOWED)
    judged = len(world.judged)
    assert [await world.attempt("old") for _ in range(3)] == ["slowed 1"] * 3
    assert (len(world.judged), world.pauses) == (judged, [1])


async def test_addresses_do_not_slow_each_other() -> None:
    world = World()
    await world.fail(ALLOWED)
    assert await world.fail(1, THERE) == ["denied"]


@pytest.mark.parametrize(
    ("address", "same"),
    [("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:192.0.2.1", "192.0.2.1")],
    ids=["one network of 64 bits", "an embedded address"],
)
async def test_addresses_of_one_client_count_as_one(address: str, same: str) -> None:
    world = World()
    await world.fail(ALLOWED, address)
    assert await world.fail(1, same) == ["slowed 1"]
    assert await world.fail(1, "2001:db8:0:1::1") == ["denied"]


async def test_failures_are_forgotten() -> None:
    world = World()
    await world.fail(ALLOWED)
    world.clock.advance(FORGOTTEN_SECONDS)
    assert await world.fail(1) == ["denied"]


async def test_the_number_of_addresses_is_bounded() -> None:
    world = World()
    for number in range(10_050):
        await world.fail(1, f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(world.attempts._known) == 10_000


@pytest.mark.parametrize("client", ["", "unix", "fe80::1%eth0x/"], ids=["none", "no address", "malformed"])
async def test_a_client_without_an_address_is_not_slowed(client: str) -> None:
    world = World()
    assert set(await world.fail(ALLOWED + 2, client)) == {"denied"}


async def test_it_can_be_switched_off() -> None:
    world = World(allowed=0)
    assert set(await world.fail(50)) == {"denied"}


async def test_tokens_are_neither_counted_nor_slowed() -> None:
    world = World()
    texts = [str(new_token()) for _ in range(20)]
    assert {await world.attempt(text) for text in texts} == {"denied"}
    await world.fail(ALLOWED)
    assert {await world.attempt(text) for text in texts} == {"denied"}


async def test_a_line_of_the_log_names_the_address(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.fail(10)
    assert [each.getMessage() for each in caplog.records] == [f"log-ins from {HERE} are slowed down: 3 have failed"]


# Over HTTP.


async def ask(served: Served, headers: dict[str, str], path: str = "/root/dev/+simple/") -> tuple[int, str | None]:
    async with served.get(path, headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


async def log_in(served: Served, password: str, **headers: str) -> tuple[int, str]:
    body = json.dumps({"user": "ann", "password": password})
    async with served.request(
        "POST", "/+login", data=body, headers={"Accept": "application/json", **headers}
    ) as answer:
        return answer.status, await answer.text()


async def test_basic_credentials_and_log_ins_count_together(serve: Serve, instant: None) -> None:
    async with serve(failed_logins=2) as served:
        ann = await served.user("ann")
        assert await ask(served, basic("ann", "wrong")) == (401, None)
        assert (await log_in(served, "also wrong"))[0] == 401
        assert await ask(served, basic("ann", "wrong, too")) == (429, "1")
        status, text = await log_in(served, "wrong again")
        assert (status, json.loads(text)["message"]) == (429, "too many log-ins from this address have failed")
        assert await ask(served, {}) == (200, None)
        status, text = await log_in(served, PASSWORD)
        assert status == 200
        token = json.loads(text)["result"]["password"]
        assert await ask(served, ann) == (200, None)
        assert await ask(served, {"X-Devpi-Auth": base64.b64encode(f"ann:{token}".encode()).decode()}) == (200, None)
        assert (await ask(served, basic("ann", "wrong")))[0] == 429


async def test_an_upload_is_slowed_with_words_for_its_client(serve: Serve, instant: None) -> None:
    async with serve(failed_logins=1) as served:
        await served.user("ann")
        await ask(served, basic("ann", "wrong"))
        async with served.request("POST", "/legacy/", headers=basic("ann", "no")) as answer:
            assert (answer.status, answer.reason) == (429, "too many log-ins from this address have failed")
            assert "try again in 1 s" in await answer.text()


async def test_a_proxy_is_asked_for_the_address_only_if_it_is_trusted(serve: Serve, instant: None) -> None:
    for trusted, last in ((("127.0.0.0/8",), 401), ((), 429)):
        async with serve(failed_logins=1, trusted_proxies=trusted) as served:
            await served.user("ann")
            for address, expected in (("192.0.2.1", 401), ("192.0.2.1", 429), ("192.0.2.2", last)):
                headers = {**basic("ann", f"{address} {expected}"), "X-Forwarded-For": address}
                assert (await ask(served, headers))[0] == expected


async def test_nginx_is_told_no(serve: Serve, instant: None) -> None:
    async with serve(failed_logins=1) as served:
        await served.user("ann")
        answers = [
            await ask(served, {**basic("ann", word), "X-Original-URI": "/root/dev/+simple/"}, "/+authcheck")
            for word in ("one", "two")
        ]
        assert answers == [(401, None), (403, None)]


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses end at once."""

    async def no_pause(_seconds: float) -> None: ...

    made: Any = LoginAttempts.__init__

    def without(
        self: LoginAttempts, allowed: int, clock: Any, *, sleep: Callable[[float], Awaitable[None]] = no_pause
    ) -> None:
        made(self, allowed, clock, sleep=sleep)

    monkeypatch.setattr(LoginAttempts, "__init__", without)
