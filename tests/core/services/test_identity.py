from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropToken,
    MirrorNames,
    MirrorPage,
    PutFile,
    PutIndex,
    PutToken,
    PutUser,
)
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Denied, Refused, Unavailable
from pkgindex_core.models import IndexConfig, PageHead, Token, User
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Credentials, Principal
from pkgindex_core.rules.permissions import DELEGABLE
from pkgindex_core.services.administering.identity import NOBODY
from pkgindex_core.testing.index_cases.values import DEMO, hosted, mirrored
from pkgindex_core.tokens import LOGIN_SECONDS, new_token, parse_token
from pkgindex_core.tools import passwords
from tests.core.services.conftest import DEV, PASSWORD, PYPI, Open


def basic(username: str, secret: str) -> Credentials:
    return Credentials(username=username, secret=secret)


async def test_nobody_is_who_presents_nothing(open_world: Open) -> None:
    async with open_world() as world:
        nobody = await world.engine.identity.identify(None)
        assert nobody == replace(NOBODY, house=nobody.house)
        assert nobody.house.index_types >= {"mirror", "stage"}


async def test_whoever_asks_asks_under_the_rules_of_the_house(open_world: Open) -> None:
    async with open_world(open_registration=True, restrict_modify=("anna", ":leads")) as world:
        await world.user("anna")
        text, _ = await world.engine.tokens.make("anna", who="anna")
        for credentials in (
            None,
            Credentials(username="anna", secret=PASSWORD),
            Credentials(username="__token__", secret=text),
        ):
            house = (await world.engine.identity.identify(credentials)).house
            assert (house.open_registration, house.restrict_modify) == (True, ("anna", ":leads"))


async def test_a_password_is_verified_once_and_then_remembered(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        await world.user("anna")
        verified = []
        verify = type(world.engine.passwords).verify

        async def counted(pool: object, password_hash: str, password: str) -> bool:
            verified.append(password)
            return await verify(pool, password_hash, password)  # type: ignore[arg-type]  # the pool it was called on

        monkeypatch.setattr(type(world.engine.passwords), "verify", counted)
        for _ in range(5):
            assert (await world.engine.identity.identify(basic("anna", PASSWORD))).name == "anna"
        for _ in range(5):
            with pytest.raises(Denied):
                await world.engine.identity.identify(basic("anna", "wrong"))
        assert verified == [PASSWORD, "wrong"]


async def test_only_commits_about_users_and_tokens_void_identities(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        store = world.engine.store
        await world.user("anna")
        tokens = [(await world.engine.tokens.make("anna", who="[test]"))[0] for _ in range(49)]
        fifty = [basic("anna", PASSWORD), *(basic("__token__", text) for text in tokens)]
        read: list[str] = []
        user, token = store.user, store.token

        async def counted_user(name: str, **at: Any) -> Any:
            read.append(name)
            return await user(name, **at)

        async def counted_token(token_id: str) -> Any:
            read.append(token_id)
            return await token(token_id)

        monkeypatch.setattr(store, "user", counted_user)
        monkeypatch.setattr(store, "token", counted_token)

        async def reads_after(*changes: Change) -> int:
            await store.apply(changes, who="[another process]")
            read.clear()
            for credentials in fifty:
                assert (await world.engine.identity.identify(credentials)).name == "anna"
            return len(read)

        file = hosted("demo-1.0.tar.gz")
        await reads_after(PutUser(User(name="ben")))
        grounds = await reads_after(PutUser(User(name="ben")))
        assert grounds == 1 + 2 * 49, "the user, and a token with its user"
        for change in (
            PutIndex(IndexConfig(name=IndexName("anna/new"))),
            PutFile(DEV, DEMO, file),
            MirrorPage(PYPI, DEMO, PageHead(), put=(mirrored(file.filename),)),
            MirrorPage(PYPI, DEMO, PageHead(), put=(mirrored(file.filename, "learned"),)),
            MirrorNames(PYPI, put=((DEMO, ""),)),
            DropIndex(IndexName("anna/new")),
        ):
            assert await reads_after(change) == 0, change
        assert await reads_after(PutUser(User(name="carl"))) == grounds
        another = Token(id="another", user="ben", secret_sha256=sha256_of(b"secret"))
        assert await reads_after(PutToken(another)) == grounds
        assert await reads_after() == 0


async def test_a_farm_that_starts_cold_costs_one_hash(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever presents the same at the same time shares one verdict; one who goes away takes it from nobody."""
    async with open_world() as world:
        await world.user("anna")
        verified = []
        verify = type(world.engine.passwords).verify

        async def counted(pool: object, password_hash: str, password: str) -> bool:
            verified.append(password)
            return await verify(pool, password_hash, password)  # type: ignore[arg-type]  # the pool it was called on

        monkeypatch.setattr(type(world.engine.passwords), "verify", counted)
        for secret in (PASSWORD, "wrong"):
            asking = [asyncio.create_task(world.engine.identity.identify(basic("anna", secret))) for _ in range(20)]
            await asyncio.sleep(0)
            asking[0].cancel()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert isinstance(answers[0], asyncio.CancelledError)
            told = {answer.name if isinstance(answer, Principal) else type(answer) for answer in answers[1:]}
            assert told == ({"anna"} if secret == PASSWORD else {Denied})
        assert verified == [PASSWORD, "wrong"]


async def test_a_changed_password_ends_the_old_one_at_the_next_request(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        await world.engine.identity.identify(basic("anna", PASSWORD))
        await world.user("anna", "another")
        with pytest.raises(Denied):
            await world.engine.identity.identify(basic("anna", PASSWORD))
        assert (await world.engine.identity.identify(basic("anna", "another"))).name == "anna"


async def test_unknown_users_and_wrong_passwords_are_told_the_same(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        told = set()
        for username in ("anna", "nobody"):
            with pytest.raises(Denied) as refused:
                await world.engine.identity.identify(basic(username, "wrong"))
            told.add((refused.value.message, refused.value.hint, refused.value.anonymous))
        assert len(told) == 1


@pytest.mark.parametrize("username", ["__token__", "anna", ""])
async def test_a_token_is_a_password_of_its_user(open_world: Open, username: str) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, token = await world.engine.tokens.make("anna", who="[test]", indexes=("anna/*",))
        principal = await world.engine.identity.identify(basic(username, text))
        assert principal.name == "anna"
        assert principal.scope is not None
        assert principal.scope.indexes == ("anna/*",)
        assert principal.scope.actions == DELEGABLE
        assert principal.label == f"anna (token {token.id})"
        with pytest.raises(Denied):
            await world.engine.identity.identify(basic("ben", text))
        # Alone as the user name, as some clients send it.
        assert (await world.engine.identity.identify(basic(text, ""))).name == "anna"


async def test_a_revoked_token_ends_at_the_next_request(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, token = await world.engine.tokens.make("anna", who="[test]")
        await world.engine.identity.identify(basic("__token__", text))
        await world.engine.store.apply([DropToken(token.id)], who="[another process]")
        with pytest.raises(Denied):
            await world.engine.identity.identify(basic("__token__", text))


async def test_a_token_expires_without_any_commit(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, _ = await world.engine.tokens.make("anna", who="[test]", seconds=60)
        await world.engine.identity.identify(basic("__token__", text))
        world.clock.move(59)
        await world.engine.identity.identify(basic("__token__", text))
        world.clock.move(1)
        with pytest.raises(Denied, match="expired"):
            await world.engine.identity.identify(basic("__token__", text))


async def test_a_login_has_all_rights_of_its_user_and_old_ones_are_cleared_away(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, seconds = await world.engine.tokens.login("anna", PASSWORD)
        assert seconds == LOGIN_SECONDS
        principal = await world.engine.identity.identify(basic("anna", text))
        assert (principal.name, principal.scope) == ("anna", None)
        world.clock.move(LOGIN_SECONDS + 1)
        with pytest.raises(Denied, match="the log-in has ended: log in again"):
            await world.engine.identity.identify(basic("anna", text))
        await world.engine.tokens.login("anna", PASSWORD)
        assert len(await world.engine.store.tokens("anna")) == 1
        # It is gone now. devpi's client shows the message alone, to somebody who has presented no password.
        with pytest.raises(Denied, match="not any more: log in again"):
            await world.engine.identity.identify(basic("anna", text))


async def test_an_api_token_cannot_log_in(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, _ = await world.engine.tokens.make("anna", who="[test]")
        with pytest.raises(Denied):
            await world.engine.tokens.login("anna", text)


async def test_the_secret_is_nowhere_in_the_store(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, _ = await world.engine.tokens.make("anna", who="[test]")
        parsed = parse_token(text)
        assert parsed is not None
        stored = repr(await world.engine.store.commits(0)) + repr(await world.engine.store.tokens("anna"))
        assert parsed.secret not in stored
        assert PASSWORD not in stored
        assert parsed.secret not in repr(parsed)


@pytest.mark.parametrize("password", ["", "x" * 5000])
async def test_unusable_passwords_are_refused(open_world: Open, password: str) -> None:
    async with open_world() as world:
        with pytest.raises(Refused):
            await world.engine.passwords.hash(password)
        assert not await world.engine.passwords.verify("", password)


def test_a_mistyped_token_is_no_token() -> None:
    text = str(new_token())
    assert parse_token(text) is not None
    for position in range(len(text)):
        other = "0" if text[position] != "0" else "1"
        assert parse_token(text[:position] + other + text[position + 1 :]) is None


async def test_a_log_in_cannot_renew_itself(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        text, _ = await world.engine.tokens.login("anna", PASSWORD)
        for username, password in (("anna", text), (text, "")):
            with pytest.raises(Denied):
                await world.engine.tokens.login(username, password)


async def test_a_new_password_ends_every_log_in_but_the_one_that_set_it(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        login, _ = await world.engine.tokens.login("anna", PASSWORD)
        used, _ = await world.engine.tokens.login("anna", PASSWORD)
        api, _ = await world.engine.tokens.make("anna", who="[test]")
        anna = await world.engine.identity.identify(basic("anna", used))
        await world.engine.users.modify("anna", principal=anna, password="another")
        assert (await world.engine.identity.identify(basic("anna", used))).name == "anna"
        with pytest.raises(Denied):
            await world.engine.identity.identify(basic("anna", login))
        assert (await world.engine.identity.identify(basic("__token__", api))).name == "anna"


async def test_many_may_log_in_at_once_when_an_old_log_in_has_expired(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        await world.engine.tokens.login("anna", PASSWORD)
        world.clock.move(LOGIN_SECONDS + 1)
        await asyncio.gather(*(world.engine.tokens.login("anna", PASSWORD) for _ in range(10)))
        assert len(await world.engine.store.tokens("anna")) == 10


async def test_a_flood_of_guesses_is_turned_away(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_LIMIT", 3)
    async with open_world() as world:
        await world.user("anna")
        guesses = (world.engine.identity.identify(basic("anna", f"guess {number}")) for number in range(20))
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Denied, Unavailable}
        assert (await world.engine.identity.identify(basic("anna", PASSWORD))).name == "anna"


async def test_a_login_does_not_outlive_the_password_that_was_changed_under_it(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes a stolen password ends every log-in, also one that is being made with it just then."""
    async with open_world() as world:
        await world.user("anna")
        anna = Principal(name="anna")
        store = world.engine.store
        apply = store.apply

        async def late(*args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            await world.engine.users.modify("anna", principal=anna, password="another one")
            return await apply(*args, **kwargs)

        monkeypatch.setattr(store, "apply", late)
        with pytest.raises(Denied):
            await world.engine.tokens.login("anna", PASSWORD)
        assert await store.tokens("anna") == []
