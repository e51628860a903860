"""Users, tokens, and the tree of indexes."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import (
    DropIndex,
    DropProject,
    DropToken,
    DropUser,
    FileAbsent,
    IndexIs,
    MirrorNames,
    MirrorPage,
    PutFile,
    PutIndex,
    PutToken,
    PutUser,
)
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Missing
from pkgindex_core.models import IndexConfig, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    NOWHERE,
    OTHER,
    PROD,
    START,
    head,
    hosted,
    mirror,
    mirrored,
    stage,
    user,
)


def token(token_id: str, name: str = "ann", **fields: object) -> Token:
    return Token(id=token_id, user=name, secret_sha256=sha256_of(token_id.encode()), **fields)  # type: ignore[arg-type]  # short


class UserCases(IndexStoreCases):
    async def test_a_user_comes_back_whole(self) -> None:
        ann = User(
            name="ann",
            password_hash="$argon2id$v=19$…",
            email="ann@example.org",
            title="Ünïcode",
            description="a\nb",
            created=START,
            modified=START,
            custom_data={"deep": [1, {"x": None}]},
        )
        await self.commit(PutUser(ann))
        assert await self.store.user("ann") == ann
        assert list(await self.store.users()) == [ann]

    async def test_nobody_is_none(self) -> None:
        assert await self.store.user("ann") is None
        assert list(await self.store.users()) == []

    async def test_users_are_listed_by_name(self) -> None:
        for name in ("carl", "ann", "bob"):
            await self.commit(PutUser(user(name)))
        assert [it.name for it in await self.store.users()] == ["ann", "bob", "carl"]

    async def test_a_user_is_replaced_and_the_past_keeps_the_old_one(self) -> None:
        first = await self.commit(PutUser(user("ann", email="old@example.org")))
        second = await self.commit(PutUser(user("ann", email="new@example.org")))
        await self.commit(DropUser("ann"))
        emails = [it.email if it else None for it in [await self.store.user("ann", at=at) for at in (first, second)]]
        assert emails == ["old@example.org", "new@example.org"]
        assert await self.store.user("ann") is None
        assert [it.email for it in await self.store.users(at=first)] == ["old@example.org"]
        assert await self.store.user("ann", at=Serial(0)) is None

    async def test_a_user_put_and_dropped_in_one_list_was_never_there(self) -> None:
        serial = await self.commit(PutUser(user("ann")), DropUser("ann"))
        assert await self.store.user("ann", at=serial) is None
        assert await self.store.user("ann") is None

    async def test_dropping_nobody_is_missing(self) -> None:
        with pytest.raises(Missing) as caught:
            await self.commit(DropUser("ann"))
        assert (caught.value.what, caught.value.name) == ("user", "ann")

    async def test_a_user_with_indexes_is_not_dropped(self) -> None:
        await self.seed()
        with pytest.raises(Conflict):
            await self.commit(DropUser("ann"))
        with pytest.raises(Conflict):
            await self.commit(DropUser("ann"), DropIndex(DEV), DropIndex(PROD))
        await self.commit(DropIndex(DEV), DropIndex(PROD), DropUser("ann"))
        assert await self.store.user("ann") is None

    async def test_a_token_comes_back_whole(self) -> None:
        whole = token(
            "t1",
            name="ann",
            kind="login",
            created=START,
            expires=START,
            indexes=("ann/*",),
            projects=("demo*",),
            actions=("upload",),
        )
        await self.commit(PutUser(user("ann")), PutToken(whole))
        assert await self.store.token("t1") == whole
        assert list(await self.store.tokens("ann")) == [whole]

    async def test_a_token_needs_its_user(self) -> None:
        with pytest.raises(Missing) as caught:
            await self.commit(PutToken(token("t1")))
        assert caught.value.what == "user"

    async def test_a_token_is_replaced_and_revoked(self) -> None:
        await self.commit(PutUser(user("ann")), PutToken(token("t1")))
        await self.commit(PutToken(token("t1", expires=START)))
        replaced = await self.store.token("t1")
        assert replaced is not None
        assert replaced.expires == START
        await self.commit(DropToken("t1"))
        assert await self.store.token("t1") is None
        assert list(await self.store.tokens("ann")) == []
        with pytest.raises(Missing):
            await self.commit(DropToken("t1"))

    async def test_tokens_are_listed_by_creation_and_then_id(self) -> None:
        await self.commit(PutUser(user("ann")), PutUser(user("bob")))
        for token_id, created, name in (("b", 5, "ann"), ("a", 5, "ann"), ("z", 1, "ann"), ("x", 0, "bob")):
            await self.commit(PutToken(token(token_id, name, created=created)))
        assert [it.id for it in await self.store.tokens("ann")] == ["z", "a", "b"]

    async def test_tokens_go_with_their_user(self) -> None:
        await self.commit(PutUser(user("ann")), PutToken(token("t1")))
        await self.commit(DropUser("ann"))
        await self.commit(PutUser(user("ann")))
        assert await self.store.token("t1") is None


class TreeCases(IndexStoreCases):
    async def test_a_configuration_comes_back_whole(self) -> None:
        config = IndexConfig(
            name=DEV,
            bases=(PROD, MIRROR),
            volatile=False,
            acl_read=(),
            acl_upload=("ann", ":AUTHENTICATED:"),
            title="Ünïcode",
            description="…",
            custom_data=[1, "two"],
            options={"mirror_whitelist": ["*"], "mirror_whitelist_inheritance": "union", "plugin": {"x": 1}},
        )
        serial = await self.commit(PutUser(user("ann")), PutIndex(config))
        tree = await self.store.tree()
        assert tree.indexes == {DEV: config}
        assert tree.serial == serial

    async def test_a_configuration_made_with_tuples_is_what_is_stored(self) -> None:
        config = stage(DEV, options={"mirror_whitelist": ("*", "six"), "plugin": {"x": [(1, (2,))]}})
        await self.commit(PutUser(user("ann")), PutIndex(config))
        assert (await self.store.tree()).indexes == {DEV: config}
        serial = await self.commit(PutIndex(config), require=[IndexIs(config)])
        (commit,) = await self.store.commits(Serial(serial - 1))
        assert commit.changes == (PutIndex(config),)

    async def test_the_tree_changes_with_configurations_only(self) -> None:
        serial = await self.seed()
        before = await self.store.tree()
        await self.commit(PutFile(DEV, DEMO, hosted("demo-1.tar.gz")))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("demo-1.tar.gz"),)))
        assert await self.store.tree() == before
        assert before.serial == serial

    async def test_past_trees_stay_readable(self) -> None:
        first = await self.seed()
        second = await self.commit(PutIndex(stage(DEV, bases=(MIRROR,))))
        third = await self.commit(DropIndex(PROD))
        trees = [await self.store.tree(at=at) for at in (Serial(0), first, second, third)]
        assert [tree.serial for tree in trees] == [0, first, second, third]
        assert [tree.indexes[DEV].bases for tree in trees[1:]] == [(), (MIRROR,), (MIRROR,)]
        assert [PROD in tree.indexes for tree in trees] == [False, True, True, False]
        assert await self.store.tree() == trees[-1]

    async def test_a_tree_between_its_changes_has_the_earlier_serial(self) -> None:
        serial = await self.seed()
        later = await self.commit(PutUser(user("bob")))
        assert (await self.store.tree(at=later)).serial == serial

    async def test_an_index_made_and_dropped_in_one_list_moves_the_tree(self) -> None:
        await self.seed()
        serial = await self.commit(PutIndex(stage(NOWHERE)), DropIndex(NOWHERE))
        tree = await self.store.tree()
        assert tree.serial == serial
        assert NOWHERE not in tree.indexes

    async def test_an_index_needs_its_owner(self) -> None:
        with pytest.raises(Missing) as caught:
            await self.commit(PutIndex(stage(DEV)))
        assert (caught.value.what, caught.value.name) == ("user", "ann")

    async def test_an_index_never_changes_its_type(self) -> None:
        await self.seed()
        with pytest.raises(Conflict):
            await self.commit(PutIndex(mirror(DEV)))
        assert not (await self.store.tree()).indexes[DEV].mirrored

    async def test_an_index_never_becomes_mirrored_or_hosted(self) -> None:
        await self.commit(
            PutUser(user("ann")), PutIndex(stage(DEV, type="own")), PutIndex(stage(PROD, type="own", mirrored=True))
        )
        for config in (stage(DEV, type="own", mirrored=True), stage(PROD, type="own")):
            with pytest.raises(Conflict):
                await self.commit(PutIndex(config))
        indexes = (await self.store.tree()).indexes
        assert (indexes[DEV].mirrored, indexes[PROD].mirrored) == (False, True)

    async def test_what_an_index_holds_goes_by_what_is_stored_of_it_and_not_by_its_type(self) -> None:
        await self.commit(
            PutUser(user("ann")), PutIndex(stage(DEV, type="own")), PutIndex(stage(PROD, type="own", mirrored=True))
        )
        for index, page in ((DEV, PutFile(DEV, DEMO, hosted("demo-1.zip"))), (PROD, MirrorPage(PROD, DEMO, head()))):
            await self.commit(page)
            assert await self.store.page(index, DEMO) is not None
        for change in (PutFile(PROD, DEMO, hosted("demo-2.zip")), MirrorPage(DEV, DEMO, head())):
            with pytest.raises(Conflict):
                await self.commit(change)

    async def test_dropping_no_index_is_missing(self) -> None:
        await self.seed()
        with pytest.raises(Missing) as caught:
            await self.commit(DropIndex(NOWHERE))
        assert (caught.value.what, caught.value.name) == ("index", NOWHERE)

    async def test_an_index_is_dropped_with_all_it_holds(self) -> None:
        await self.seed()
        held = await self.commit(
            PutFile(DEV, DEMO, hosted("demo-1.tar.gz"), "Demo"), PutFile(PROD, DEMO, hosted("demo-1.tar.gz"))
        )
        dropped = await self.commit(DropIndex(DEV))
        assert (await self.standing(DEV, DEMO)).holds is False
        assert (await self.standing(DEV, DEMO)).stamp == dropped
        assert await self.store.page(DEV, DEMO) is None
        assert list(await self.store.projects(DEV)) == []
        assert await self.store.project_count(DEV) == 0
        assert await self.store.find_file(DEV, "demo-1.tar.gz", [DEMO]) is None
        assert await self.store.taken(DEV, "demo-1.tar.gz") is None
        assert {index for index, *_ in await self.peek_files()} == {PROD}
        assert await self.files(DEV, DEMO, at=held) == {"demo-1.tar.gz": hosted("demo-1.tar.gz")}
        assert [row.display_name for row in await self.store.projects(DEV, at=held)] == ["Demo"]

    async def test_a_dropped_index_forgets_its_tombstones(self) -> None:
        await self.seed()
        file = hosted("demo-1.tar.gz")
        await self.commit(PutFile(DEV, DEMO, file), PutFile(PROD, DEMO, file))
        await self.commit(DropProject(DEV, DEMO), DropProject(PROD, DEMO))
        await self.commit(DropIndex(DEV), PutIndex(stage(DEV)))
        assert await self.store.taken(DEV, file.filename) is None
        await self.commit(PutFile(DEV, OTHER, file), require=[FileAbsent(DEV, file.filename)])
        with pytest.raises(Conflict):
            await self.commit(PutFile(PROD, OTHER, file))

    async def test_a_dropped_index_comes_back_empty_even_as_another_type(self) -> None:
        await self.seed()
        held = await self.commit(PutFile(DEV, DEMO, hosted("demo-1.tar.gz")))
        await self.commit(DropIndex(DEV))
        await self.commit(PutIndex(mirror(DEV)))
        assert await self.store.page(DEV, DEMO) is None
        first = await self.commit(MirrorPage(DEV, DEMO, head("Demo"), put=(mirrored("demo-2.tar.gz"),)))
        assert set(await self.files(DEV, DEMO) or ()) == {"demo-2.tar.gz"}
        assert set(await self.files(DEV, DEMO, at=held) or ()) == {"demo-1.tar.gz"}
        assert set(await self.files(DEV, DEMO, at=first) or ()) == {"demo-2.tar.gz"}
        await self.commit(DropIndex(DEV), PutIndex(stage(DEV)), PutFile(DEV, DEMO, hosted("demo-3.tar.gz")))
        assert set(await self.files(DEV, DEMO) or ()) == {"demo-3.tar.gz"}
        assert await self.store.page(DEV, DEMO, at=first) is None
        assert await self.store.project_count(DEV) == 1

    async def test_an_index_dropped_in_the_list_that_filled_it_was_never_full(self) -> None:
        await self.seed()
        serial = await self.commit(PutFile(DEV, DEMO, hosted("demo-1.tar.gz")), DropIndex(DEV))
        assert await self.store.page(DEV, DEMO, at=serial) is None
        assert list(await self.store.projects(DEV, at=serial)) == []

    async def test_a_dropped_mirror_forgets_pages_and_names(self) -> None:
        await self.seed()
        stored = await self.commit(
            MirrorPage(MIRROR, DEMO, head(), put=(mirrored("demo-1.tar.gz"), mirrored("odd.zip"))),
            MirrorNames(MIRROR, put=((DEMO, "Demo"),), validators={"etag": "x"}),
        )
        await self.commit(DropIndex(MIRROR))
        await self.commit(PutIndex(mirror(MIRROR)))
        assert await self.store.page(MIRROR, DEMO) is None
        assert await self.store.page(MIRROR, DEMO, at=stored) is None
        assert await self.store.find_file(MIRROR, "odd.zip", []) is None
        assert await self.store.project_count(MIRROR) == 0
        listing = await self.store.listing(MIRROR)
        assert (listing.stamp, listing.count, dict(listing.validators)) == (0, 0, {})
        assert [rows async for rows in self.store.listed_names(MIRROR)] == []

    async def test_indexes_that_share_a_prefix_are_strangers(self) -> None:
        await self.seed()
        twin = IndexName("ann/dev2")
        await self.commit(PutIndex(stage(twin)), PutFile(twin, ProjectName("demo"), hosted("demo-1.tar.gz")))
        assert await self.store.page(DEV, DEMO) is None
        await self.commit(DropIndex(DEV))
        assert await self.files(twin, DEMO) is not None
