from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import DropToken, PutIndex
from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_core.models import ANONYMOUS
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Credentials, Principal, TokenScope
from pkgindex_core.rules.kept_options import mirror_options, whitelist
from pkgindex_core.rules.option_values import parse_options
from tests.core.services.conftest import DEV, PYPI, Open

ROOT = Principal(name="root")
ANNA = Principal(name="anna")
NOBODY = Principal()


async def test_a_fresh_store_has_a_mirror_a_stage_and_a_root_nobody_knows(open_world: Open) -> None:
    async with open_world() as world:
        tree = await world.engine.store.tree()
        assert set(tree.indexes) == {DEV, PYPI}
        dev, pypi = tree.indexes[DEV], tree.indexes[PYPI]
        assert (dev.bases, dev.volatile, dev.acl_read, dev.acl_upload) == ((PYPI,), False, (ANONYMOUS,), ("root",))
        assert (pypi.type, pypi.volatile, pypi.acl_read) == ("mirror", False, (ANONYMOUS,))
        place = world.engine.settings.data / "root-password"
        assert place.stat().st_mode & 0o777 == 0o600
        assert len(place.read_text().strip()) >= 32
        # A second start changes nothing, also when an index was taken away on purpose.
        head = await world.engine.store.head()
        assert await world.engine.prepare() is None
        assert await world.engine.store.head() == head


async def test_only_root_makes_users_and_only_they_and_root_change_them(open_world: Open) -> None:
    async with open_world() as world:
        engine = world.engine
        for principal in (NOBODY, ANNA):
            with pytest.raises(Denied):
                await engine.users.create("anna", "secret", principal=principal)
        await engine.users.create("anna", "secret", principal=ROOT)
        with pytest.raises(Conflict):
            await engine.users.create("anna", "secret", principal=ROOT)
        await engine.users.modify("anna", principal=ANNA, password="new", email="anna@example.test")
        with pytest.raises(Denied):
            await engine.users.modify("anna", principal=Principal(name="ben"), password="stolen")
        with pytest.raises(Denied):
            await engine.users.delete("root", principal=ROOT)


async def test_a_user_with_a_permanent_index_stays(open_world: Open) -> None:
    async with open_world() as world:
        engine = world.engine
        await engine.users.create("anna", "secret", principal=ROOT)
        await engine.indexes.create("anna/dev", {"volatile": "no"}, principal=ANNA)
        await engine.indexes.create("anna/scratch", {}, principal=ANNA)
        with pytest.raises(Denied, match="user 'anna' has non-volatile index: dev"):
            await engine.users.delete("anna", principal=ROOT)
        with pytest.raises(Denied, match="non-volatile"):
            await engine.indexes.delete(IndexName("anna/dev"), principal=ANNA)
        await engine.indexes.modify(IndexName("anna/dev"), {"volatile": True}, principal=ANNA)
        await engine.users.delete("anna", principal=ROOT)
        assert set((await world.engine.store.tree()).indexes) == {DEV, PYPI}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"vlatile": "no"}, "indexconfig got unexpected keyword arguments: vlatile=no"),
        ({"bases": "root/nowhere"}, "does not exist"),
        ({"bases": "nonsense"}, "invalid base index spec: 'nonsense'"),
        ({"volatile": "perhaps"}, "Unknown boolean value 'perhaps'."),
        ({"mirror_whitelist_inheritance": "both"}, "must be 'intersection' or 'union'"),
        ({"mirror_whitelist": "not a name!"}, "invalid project name"),
        ({"acl_upload": "a b"}, "username 'a b' contains characters that aren't allowed"),
        ({"type": "other"}, "unknown index type"),
        ({"type": "mirror"}, "mirror_url"),
        ({"type": "mirror", "mirror_url": "ftp://host/"}, "'mirror_url' option must be a URL"),
        ({"type": "mirror", "mirror_url": "https://host/", "acl_toxresult_upload": "anna"}, "unexpected keyword"),
        ({"type": "mirror", "mirror_url": "https://host/", "mirror_cache_expiry": "-1"}, "must be an integer"),
    ],
)
async def test_bad_options_are_refused_and_change_nothing(
    open_world: Open, options: dict[str, Any], complaint: str
) -> None:
    async with open_world() as world:
        head = await world.engine.store.head()
        with pytest.raises(Refused, match=complaint):
            await world.engine.indexes.create("root/new", options, principal=ROOT)
        assert await world.engine.store.head() == head


async def test_every_wrong_option_is_told_at_once(open_world: Open) -> None:
    async with open_world() as world:
        with pytest.raises(Refused) as refused:
            await world.engine.indexes.create(
                "root/new", {"one": "1", "volatile": "2", "bases": "root/three"}, principal=ROOT
            )
        assert len(refused.value.problems) == 3


async def test_options_are_normalised(open_world: Open) -> None:
    async with open_world() as world:
        made = await world.engine.indexes.create(
            "root/new",
            parse_options(
                [
                    "bases=root/dev, root/pypi",
                    "mirror_whitelist=Foo_Bar,*",
                    "acl_read=:anonymous:,anna,:team",
                    "title=x=y",
                ]
            ),
            principal=ROOT,
        )
        assert made.bases == (DEV, PYPI)
        assert whitelist(made) == ["foo-bar", "*"]
        assert made.acl_read == (ANONYMOUS, "anna", ":team")
        assert made.title == "x=y"


async def test_credentials_of_an_upstream_are_kept_apart(open_world: Open) -> None:
    async with open_world() as world:
        made = await world.engine.indexes.create(
            "root/other", {"type": "mirror", "mirror_url": "https://me:p%40ss@host:8443/simple"}, principal=ROOT
        )
        assert mirror_options(made).url == "https://host:8443/simple"
        assert mirror_options(made).credentials == "me:p@ss"


@pytest.mark.parametrize("name", ["", "a/b", "simple", "+api", "..", "a b", "a\n", "ä", "x" * 65, "-a", "a."])
async def test_names_that_cannot_stand_in_a_url_are_refused(open_world: Open, name: str) -> None:
    async with open_world() as world:
        with pytest.raises(Refused):
            await world.engine.users.create(name, "secret", principal=ROOT)
        if name == "simple":
            return  # taken by a URL as a user's name only
        with pytest.raises(Refused):
            await world.engine.indexes.create(f"root/{name}", {}, principal=ROOT)


async def test_what_is_not_there_is_missing(open_world: Open) -> None:
    async with open_world() as world:
        engine = world.engine
        with pytest.raises(Missing):
            await engine.indexes.config(IndexName("root/nowhere"))
        with pytest.raises(Missing):
            await engine.indexes.create("nobody/dev", {}, principal=ROOT)
        with pytest.raises(Missing):
            await engine.users.modify("nobody", principal=ROOT)


async def test_two_who_change_one_index_at_once_both_get_what_they_asked_for(open_world: Open, tmp_path: Path) -> None:
    """Read, decide, write: whoever was overtaken reads again, and nothing of the other's is lost."""
    async with open_world(store=f"{tmp_path.as_uri().replace('file', 'sqlite', 1)}/index.sqlite") as world:
        engine = world.engine
        changes = [["acl_upload+=anna"], ["acl_upload+=ben"], {"title": "T"}]
        await asyncio.gather(*(engine.indexes.modify(DEV, change, principal=ROOT) for change in changes))
        dev = await engine.indexes.config(DEV)
        assert (set(dev.acl_upload), dev.title) == ({"root", "anna", "ben"}, "T")


async def test_a_user_is_made_once(open_world: Open, tmp_path: Path) -> None:
    async with open_world(store=f"{tmp_path.as_uri().replace('file', 'sqlite', 1)}/index.sqlite") as world:
        engine = world.engine
        answers = await asyncio.gather(
            *(engine.users.create("anna", f"password {number}", principal=ROOT) for number in range(3)),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Conflict", "User"]


async def test_a_user_whose_index_is_made_permanent_meanwhile_stays(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen volatile must still be so in the commit that deletes it."""
    async with open_world() as world:
        engine, store = world.engine, world.engine.store
        await engine.users.create("anna", "secret", principal=ROOT)
        await engine.indexes.create("anna/dev", {}, principal=ANNA)
        apply = store.apply
        overtaken: list[bool] = []

        async def overtake(changes: Any, **how: Any) -> Any:
            if not overtaken:
                overtaken.append(True)
                config = await engine.indexes.config(IndexName("anna/dev"))
                await apply([PutIndex(replace(config, volatile=False))], who="[test]")
            return await apply(changes, **how)

        monkeypatch.setattr(store, "apply", overtake)
        with pytest.raises(Denied, match="non-volatile index: dev"):
            await engine.users.delete("anna", principal=ROOT)
        assert overtaken
        assert IndexName("anna/dev") in (await store.tree()).indexes


async def test_a_root_password_that_is_given_is_taken_once_and_written_nowhere(open_world: Open) -> None:
    async with open_world(root_password="given") as world:
        who = await world.engine.identity.identify(Credentials(username="root", secret="given"))
        assert who.name == "root"
        assert not (world.engine.settings.data / "root-password").exists()
        assert "given" not in repr(world.engine.settings)
    async with open_world(root_password="") as world:
        assert (await world.engine.identity.identify(Credentials(username="root", secret=""))).name == "root"
    async with open_world() as world:
        with pytest.raises(Denied):
            await world.engine.identity.identify(Credentials(username="root", secret=""))


async def test_only_both_flags_together_are_devpis_openness(open_world: Open) -> None:
    for options, opened in (
        ({"root_password": "", "open_registration": True}, True),
        ({"root_password": "x", "open_registration": True}, False),
        ({"root_password": ""}, False),
        ({"open_registration": True}, False),
    ):
        async with open_world(**options) as world:
            made = await world.engine.indexes.create("root/new", {}, principal=ROOT)
            assert (made.acl_toxresult_upload == (ANONYMOUS,)) is opened
            assert made.volatile


async def test_a_limited_token_sees_no_more_users_than_its_indexes_show(open_world: Open) -> None:
    async with open_world() as world:
        engine, overview = world.engine, world.engine.overview
        await engine.users.create("anna", "secret", principal=ROOT)
        await engine.users.create("ben", "secret", principal=ROOT, email="ben@example.test")
        await engine.indexes.create("ben/private", {"acl_read": "ben"}, principal=Principal(name="ben"))
        limited = Principal(name="ben", scope=TokenScope(token_id="t", indexes=("ben/*",), actions=("read",)))
        told = await overview.users(limited)
        assert set(told) == {"root", "ben"}  # root by what everybody may read
        assert "email" not in told["ben"]
        assert set(await overview.users(Principal(name="ben"))) == {"root", "ben", "anna"}


async def test_a_password_is_changed_though_a_log_in_ends_meanwhile(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is what the change wanted anyway."""
    async with open_world() as world:
        engine, store = world.engine, world.engine.store
        await engine.users.create("anna", "secret", principal=ROOT)
        await world.engine.tokens.login("anna", "secret")
        (token,) = await store.tokens("anna")
        apply = store.apply

        async def late(changes: Any, **how: Any) -> Any:
            monkeypatch.undo()
            await apply([DropToken(token.id)], who="[test]")
            return await apply(changes, **how)

        monkeypatch.setattr(store, "apply", late)
        await engine.users.modify("anna", principal=ANNA, password="another")
        await world.engine.tokens.login("anna", "another")


async def test_what_documents_repeat_for_everybody_is_bounded(open_world: Open) -> None:
    """`GET /` holds the texts of all users and indexes: nobody fills it for the others."""
    async with open_world() as world:
        engine = world.engine
        await engine.users.create("anna", "secret", principal=ROOT, title="x" * 65_536)
        head = await world.engine.store.head()
        for details in ({"title": "x" * 65_537}, {"custom_data": ["x" * 65_536]}, {"description": "é" * 40_000}):
            with pytest.raises(Refused, match="longer than 65536 bytes"):
                await engine.users.modify("anna", principal=ROOT, **details)
            with pytest.raises(Refused, match="longer than 65536 bytes"):
                await engine.users.create("ben", "secret", principal=ROOT, **details)
            if "custom_data" in details or "title" in details:
                with pytest.raises(Refused, match="longer than 65536 bytes"):
                    await engine.indexes.create("anna/dev", details, principal=ROOT)
        assert await world.engine.store.head() == head
