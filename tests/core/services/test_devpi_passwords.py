"""Hashes that devpi made, with what made them there: passlib's argon2, and the salted sha256 of old versions."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutUser
from pkgindex_core.errors import Denied, StorageFull
from pkgindex_core.formats.password_hashes import affordable_argon2, from_devpi
from pkgindex_core.models import User
from pkgindex_core.protocols import Credentials
from tests.core.services.conftest import PASSWORD, Open, World

ARGON2 = {
    "argon2id": "$argon2id$v=19$m=65536,t=3,p=4$UColhHAOwXjvXYuRMgZAaA$rmDCQfIVZF429XM3pefyG1eJ49eCAwx2wzaCXho5Ns8",
    "argon2i": "$argon2i$v=19$m=512,t=2,p=2$y/k/x/jfm/Peu3cOYSwlpA$WV0h32WZhOWUn/GprUrezCVyEEWd6/zGt7ZbMBivmSc",
    "argon2d": "$argon2d$v=19$m=512,t=2,p=2$vXeulVJKKeW8914r5ZyzFg$09LSlZxa6k8XrKMEvgF/YgRldvi/FJkYV0GnV0ApfAk",
}
SALT = "2XtPiXGu1fqfUwqhtJZSyg=="
SALTED = "e6d81299dd087e5f803e7be111e6ca826963305af17a363e7d4bbd4d16bae5c1"
PAIRS = {
    **{name: (text, "") for name, text in ARGON2.items()},
    "salted": (SALTED, SALT),
    "salted, in one": (f"{SALT}:{SALTED}", ""),
    "salted, Python 2": ("f6418d92ba8009cb29075111e9014aa346fc98a5b41f7d873267aa67a362567d", f"{SALT}\n"),
}


async def moved_in(world: World, pwhash: str, pwsalt: str = "") -> User:
    stored = from_devpi(pwhash, pwsalt)
    assert stored is not None
    user = User(name="anna", password_hash=stored, email="anna@example.com")
    await world.engine.store.apply([PutUser(user)], who="[test]")
    return user


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
async def test_a_password_of_devpi_gets_in_and_is_kept_as_one_of_ours(open_world: Open, pair: tuple[str, str]) -> None:
    async with open_world() as world:
        user = await moved_in(world, *pair)
        with pytest.raises(Denied):
            await world.engine.identity.identify(Credentials(username="anna", secret="wrong"))
        assert await world.engine.store.user("anna") == user
        for _ in range(2):
            principal = await world.engine.identity.identify(Credentials(username="anna", secret=PASSWORD))
            assert principal.name == "anna"
        renewed = await world.engine.store.user("anna")
        assert renewed is not None
        assert renewed.password_hash.startswith("$argon2id$v=19$m=32768,t=2,p=1$")
        assert replace(renewed, password_hash=user.password_hash) == user
        assert (await world.engine.store.commits(await world.engine.store.head() - 1))[-1].who == "[login]"


async def test_a_full_disk_keeps_nobody_out(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        await moved_in(world, ARGON2["argon2i"])

        async def full(*_: object, **__: object) -> None:
            raise StorageFull("no room")

        monkeypatch.setattr(world.engine.store, "apply", full)
        assert (await world.engine.identity.identify(Credentials(username="anna", secret=PASSWORD))).name == "anna"


async def test_a_password_that_is_changed_meanwhile_is_not_undone(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        old = await moved_in(world, ARGON2["argon2i"])
        apply = world.engine.store.apply

        async def late(changes: object, **options: object) -> object:
            monkeypatch.undo()
            await world.user("anna", "another")
            return await apply(changes, **options)

        monkeypatch.setattr(world.engine.store, "apply", late)
        await world.engine.identity.identify(Credentials(username="anna", secret=PASSWORD))
        with pytest.raises(Denied):
            await world.engine.identity.identify(Credentials(username="anna", secret=PASSWORD))
        assert await world.engine.passwords.verify((await world.engine.store.user("anna")).password_hash, "another")
        assert old.password_hash == ARGON2["argon2i"]


@pytest.mark.parametrize(
    "text",
    [
        "$argon2id$v=19$m=16777216,t=1,p=1$UColhHAOwXjvXYuRMgZAaA$rmDCQfIVZF429XM3pefyG1eJ49eCAwx2wzaCXho5Ns8",
        "$argon2id$v=19$m=65536,t=100000,p=1$UColhHAOwXjvXYuRMgZAaA$rmDCQfIVZF429XM3pefyG1eJ49eCAwx2wzaCXho5Ns8",
        "$argon2id$v=19$m=65536,t=1,p=65536$UColhHAOwXjvXYuRMgZAaA$rmDCQfIVZF429XM3pefyG1eJ49eCAwx2wzaCXho5Ns8",
        "$argon2id$rubbish",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        SALTED,
    ],
    ids=["memory", "passes", "lanes", "rubbish", "bcrypt", "no salt"],
)
async def test_a_hash_that_costs_too_much_or_is_of_another_kind_opens_nothing(open_world: Open, text: str) -> None:
    assert not affordable_argon2(text)
    assert from_devpi(text) is None
    async with open_world() as world:
        assert not await world.engine.passwords.verify(text, PASSWORD)
