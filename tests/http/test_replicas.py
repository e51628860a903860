"""A replica of a server, both real and in this process, over a socket: what it has, what it refuses, and what it does in trouble."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import Commit, DropFile, DropIndex, DropToken, PutFile, PutIndex, PutUser, YankFile
from pkgindex_core.formats.feed import decode_commits, decode_head
from pkgindex_core.models import File, Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.permissions import Action
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools.clearing import announce, announced
from pkgindex_core.tools.replica_notes import read_note
from pkgindex_http.opening import opened_engine
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import OnIndex, Public
from pkgindex_http.server import Server
from pkgindex_http.settings import ServerSettings
from tests.database_server import DatabaseServer
from tests.http.conftest import HOSTED, PASSWORD, MirroredStart, Serve, Served, basic, hash_of, loaded_plugins
from tests.http.test_replays import Pair, get

PATIENCE = 60.0
PRIVATE = IndexName("anna/private")
DEMO = ProjectName("demo")
ONE, TWO = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds, for as long as a slow machine may take."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def replica_of(
    url: str, credentials: str, data: Path, *, copied: bool = True, **options: Any
) -> AsyncIterator[Served]:
    """A replica in this process. With `copied`, it has the first copy already."""
    settings = ServerSettings(
        data=data,
        follow=url.replace("http://", f"http://{credentials}@"),
        access_log=False,
        shutdown_timeout=5.0,
        **options,
    )
    async with opened_engine(settings, plugins=loaded_plugins(), followers=True) as engine:
        server = Server(engine, settings)
        host, port = (await server.start("127.0.0.1", 0))[0]
        try:
            async with aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"}) as client:
                served = Served(server, f"http://{host}:{port}", client)
                if copied:
                    await until(lambda: is_level(served))
                yield served
        finally:
            await server.stop()


async def ready(served: Served) -> dict[str, Any]:
    async with served.get("/+ready") as answer:
        return dict(await answer.json(content_type=None))


async def is_level(served: Served) -> bool:
    told = (await ready(served))["replica"]
    return bool(told["follows"] and told["whole"] and told["lag_serials"] == 0)


def has(served: Served, head: Serial) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await served.engine.store.head() >= head

    return condition


async def same(replica: Served, primary: Served) -> None:
    """Wait until the replica has the newest commit of the primary."""
    await until(has(replica, await primary.engine.store.head()))


async def listed(served: Served, path: str, headers: dict[str, str] | None = None) -> list[str]:
    async with served.get(path, headers={"Accept": JSON_V1, **(headers or {})}) as answer:
        assert answer.status == 200, await answer.text()
        return [file["filename"] for file in json.loads(await answer.read())["files"]]


async def status(served: Served, path: str, headers: dict[str, str] | None = None) -> int:
    async with served.get(path, headers={"Accept": JSON_V1, **(headers or {})}) as answer:
        return int(answer.status)


async def shown_status(served: Served) -> dict[str, Any]:
    async with served.get("/+status", headers=basic("root")) as answer:
        return dict(json.loads(await answer.read())["result"])


async def with_anna(primary: Served) -> None:
    """A private index of anna's with a file, which ben may read."""
    for name in ("anna", "ben", "eve"):
        await primary.user(name)
    await primary.index(PRIVATE, acl_read=("ben",), acl_upload=("anna",))
    await primary.put(ONE, index=PRIVATE)


ROOT = f"root:{PASSWORD.replace(' ', '%20')}"


async def test_everything_is_copied(serve: Serve, tmp_path: Path) -> None:
    """Commits, files, users and tokens: readers of a private index log in at the replica with what they have."""
    async with serve() as primary:
        await with_anna(primary)
        token, kept = await primary.engine.tokens.make("ben", who="[test]", indexes=(PRIVATE,))
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            assert await replica.engine.store.commits(Serial(0)) == await primary.engine.store.commits(Serial(0))
            assert await replica.engine.uuid() == await primary.engine.uuid()
            page = f"/{PRIVATE}/+simple/demo/"
            for headers in (basic("ben"), basic("anna"), basic("__token__", token)):
                assert await listed(replica, page, headers) == [ONE.filename]
            assert await status(replica, page) == 401
            assert await status(replica, page, basic("eve")) == 404
            path = f"/{PRIVATE}/+f/{ONE.sha256[:3]}/{ONE.sha256[3:16]}/{ONE.filename}"
            async with replica.get(path, headers=basic("ben")) as answer:
                assert await answer.read() == ONE.data
            async with replica.get(f"{path}.metadata", headers=basic("ben")) as answer:
                assert await answer.read() == ONE.metadata
            await primary.put(TWO, index=PRIVATE)
            await primary.engine.store.apply(
                [YankFile(PRIVATE, DEMO, ONE.filename, "broken"), DropToken(kept.id)], who="[test]"
            )
            await same(replica, primary)
            assert await listed(replica, page, basic("ben")) == [ONE.filename, TWO.filename]
            assert await status(replica, page, basic("__token__", token)) == 401
            assert (await shown_status(replica))["role"] == "REPLICA"
            # devpi's client logs in where the replica says, and has a token for the replica.
            async with replica.get(f"/{PRIVATE}/+api") as answer:
                login = json.loads(await answer.read())["result"]["login"]
            assert login == f"{primary.url}/+login"
            async with primary.client.post(login, json={"user": "ben", "password": PASSWORD}) as answer:
                token = json.loads(await answer.read())["result"]["password"]
            await same(replica, primary)
            assert await listed(replica, page, basic("ben", token)) == [ONE.filename, TWO.filename]


async def test_what_writes_is_refused_and_the_primary_is_named(serve: Serve, tmp_path: Path) -> None:
    async with serve() as primary:
        await with_anna(primary)
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            writing = [
                route
                for route in ROUTES
                if route.method != "GET"
                and not isinstance(route.permission, Public)
                and not (isinstance(route.permission, OnIndex) and route.permission.action is Action.REFRESH)
            ]
            assert len(writing) > 15
            for route in writing:
                path = route.path.removesuffix("[/]").replace("{user}/{index}", PRIVATE)
                for name in ("{user}", "{project}", "{version}", "{a}", "{b}", "{filename}", "{id}"):
                    path = path.replace(name, "anna")
                async with replica.request(route.method, path, headers=basic("anna")) as answer:
                    said = await answer.text()
                    assert answer.status == 403, (route.path, said)
                    assert f"read-only replica of {primary.url}" in said, (route.path, said)
            async with replica.request("POST", "/+login", json={"user": "ben", "password": PASSWORD}) as answer:
                assert answer.status == 403
                assert primary.url in await answer.text()
            assert await replica.engine.store.commits(Serial(0)) == await primary.engine.store.commits(Serial(0))


async def test_without_its_primary_it_serves_what_it_has(tmp_path: Path) -> None:
    """And says so; when the primary is there again, it follows again."""
    data = tmp_path / "primary"
    async with primary_at(data) as primary:
        await with_anna(primary)
        port = primary.address[1]
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            await primary.server.stop()
            await until(lambda: stopped_following(replica))
            page = f"/{PRIVATE}/+simple/demo/"
            assert await listed(replica, page, basic("ben")) == [ONE.filename]
            told = await ready(replica)
            assert (told["ready"], told["write"], told["replica"]["follows"]) == (True, False, False)
            assert await status(replica, "/+ready?for=follow") == 503
            assert primary.url in (await shown_status(replica))["replica-problem"]
            again = Server(primary.engine, primary.server.settings)
            await again.start("127.0.0.1", port)
            try:
                await primary.put(TWO, index=PRIVATE)
                await same(replica, primary)
                await until(lambda: is_level(replica))
                assert await listed(replica, page, basic("ben")) == [ONE.filename, TWO.filename]
                assert await status(replica, "/+ready?for=follow") == 200
            finally:
                await again.stop()


async def stopped_following(served: Served) -> bool:
    return not (await ready(served))["replica"]["follows"]


@asynccontextmanager
async def primary_at(data: Path) -> AsyncIterator[Served]:
    """A server over a data directory on disk, begun with root and an index."""
    settings = ServerSettings(data=data, access_log=False, shutdown_timeout=5.0)
    async with opened_engine(settings, plugins=loaded_plugins(), mirrors=False) as engine:
        if not await engine.store.head():
            root = User(name="root", password_hash=hash_of(PASSWORD))
            await engine.store.apply(
                [PutUser(root), PutIndex(index_config(HOSTED, acl_upload=("root",)))], who="[test]"
            )
        server = Server(engine, settings)
        host, port = (await server.start("127.0.0.1", 0))[0]
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as client:
                yield Served(server, f"http://{host}:{port}", client)
        finally:
            await server.stop()


async def test_a_token_for_some_indexes_copies_these(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No name, hash or commit of others is in the copy. Bases that everybody may read come along."""
    caplog.set_level("INFO")
    async with serve() as primary:
        await with_anna(primary)
        await primary.index("anna/hidden", acl_read=("anna",), acl_upload=("anna",))
        await primary.put(build_wheel("hiddenproject", "1.0"), index=IndexName("anna/hidden"))
        await primary.index("ben/over", bases=(PRIVATE, HOSTED))
        await primary.index("ben/torn", bases=("anna/hidden",))
        token, _ = await primary.engine.tokens.make(
            "ben", who="[test]", actions=("follow",), indexes=("ben/*", "anna/*")
        )
        async with replica_of(primary.url, f"__token__:{token}", tmp_path / "copy") as replica:
            tree = await replica.engine.store.tree()
            assert set(tree.indexes) == {PRIVATE, HOSTED, "ben/over"}
            raw = repr(await replica.engine.store.commits(Serial(0)))
            assert "argon2" not in raw
            assert "hidden" not in raw
            assert "eve" not in raw
            assert [user.name for user in await replica.engine.store.users()] == ["anna", "ben", "root"]
            assert await replica.engine.store.head() == await primary.engine.store.head()
            note = await read_note(replica.engine.store)
            assert note is not None
            assert not note.everything
            assert replica.engine.replica is not None
            assert list(replica.engine.replica.left_out) == ["ben/torn"]
            assert f"a copy of {PRIVATE}, ben/over, {HOSTED}" in caplog.text
            assert "ben/torn is left out" in caplog.text
            # Nobody of the primary has a password here: readers come from a directory, or a proxy.
            assert await status(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == 401
            await primary.put(TWO, index=PRIVATE)
            await primary.index("ben/new")
            await primary.put(ONE, index=IndexName("ben/new"))
            await same(replica, primary)
            assert await listed(replica, "/ben/new/+simple/demo/") == [ONE.filename]
            page = await replica.engine.store.page(PRIVATE, DEMO)
            assert page is not None
            assert [row.filename for row in page.rows] == [ONE.filename, TWO.filename]


async def test_rights_of_a_token_change(serve: Serve, tmp_path: Path) -> None:
    """An index that it may not read any more leaves the copy. One that it may read since lately lacks its past, and stays out."""
    async with serve() as primary:
        await with_anna(primary)
        await primary.index("anna/later", acl_read=("anna",))
        await primary.put(ONE, index=IndexName("anna/later"))
        token, _ = await primary.engine.tokens.make("ben", who="[test]", actions=("follow",), indexes=("anna/*",))
        async with replica_of(primary.url, f"__token__:{token}", tmp_path / "copy") as replica:
            assert set((await replica.engine.store.tree()).indexes) == {PRIVATE}
            configs = (await primary.engine.store.tree()).indexes
            await primary.engine.store.apply(
                [
                    PutIndex(changed_config(configs[PRIVATE], acl_read=("anna",))),
                    PutIndex(changed_config(configs[IndexName("anna/later")], acl_read=("anna", "ben"))),
                ],
                who="[test]",
            )
            await primary.put(TWO, index=IndexName("anna/later"))
            await primary.index("anna/open", acl_read=("ben",))
            await same(replica, primary)
            await until(lambda: is_level(replica))
            assert set((await replica.engine.store.tree()).indexes) == {"anna/open"}
            note = await read_note(replica.engine.store)
            assert note is not None
            assert note.without == ("anna/later",)
            assert "anna/later" in (await shown_status_of(replica))


async def shown_status_of(served: Served) -> str:
    """The status as an administrator sees it. A part has no root with a password, so the question is asked by the back door."""
    from pkgindex_http.replicas import status_of

    return repr(await status_of(served.engine, runs=True))


@pytest.mark.parametrize("seen", [False, True], ids=["first copy", "copy goes on"])
async def test_a_file_that_was_deleted_before_it_was_copied(serve: Serve, tmp_path: Path, seen: bool) -> None:
    """The commit that names it is not shown without the one that removed it, and the copy does not stop at it."""
    copy = tmp_path / "copy"
    async with serve() as primary:
        await with_anna(primary)
        if seen:
            async with replica_of(primary.url, ROOT, copy):
                pass
        await primary.put(TWO, index=PRIVATE)
        await primary.engine.store.apply([DropFile(PRIVATE, DEMO, TWO.filename)], who="[test]")
        await primary.index("anna/gone", acl_upload=("anna",))
        await primary.put(build_wheel("gone", "1.0"), index=IndexName("anna/gone"))
        await primary.engine.store.apply([DropIndex(IndexName("anna/gone"))], who="[test]")
        async with replica_of(primary.url, ROOT, copy) as replica:
            assert await replica.engine.store.commits(Serial(0)) == await primary.engine.store.commits(Serial(0))
            assert await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename]
            assert not await replica.engine.blobs.owns(TWO.sha256)
            assert await replica.engine.blobs.owns(ONE.sha256)


async def test_wrong_bytes_are_not_taken(tmp_path: Path) -> None:
    """A file that is damaged at the primary: its commit is not shown, and everything from it on waits until the file is whole."""
    data = tmp_path / "primary"
    async with primary_at(data) as primary:
        await with_anna(primary)
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            before = await primary.engine.store.head()
            blob = await primary.engine.blobs.put(TWO.data)
            path = await primary.engine.blobs.locate(blob.sha256, filename=TWO.filename)
            assert isinstance(path, Path)
            path.chmod(0o600)
            path.write_bytes(TWO.data[:-1] + bytes([TWO.data[-1] ^ 1]))
            file = File(filename=TWO.filename, version="2.0", digests={"sha256": blob.sha256}, size=blob.size)
            await primary.engine.store.apply([PutFile(PRIVATE, DEMO, file)], who="[test]")
            await until(lambda: stopped_following(replica))
            assert "other bytes than those of demo-2.0" in (await shown_status(replica))["replica-problem"]
            assert await replica.engine.store.head() == before
            assert await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename]
            path.write_bytes(TWO.data)
            await same(replica, primary)
            assert await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename, TWO.filename]


async def test_a_primary_that_went_back_is_not_followed(tmp_path: Path) -> None:
    """Restored from an older backup, with fewer commits, and with other ones; and another server under its URL."""
    data, old, copy = tmp_path / "primary", tmp_path / "old", tmp_path / "copy"
    async with primary_at(data) as primary:
        await with_anna(primary)
    shutil.copytree(data, old)
    async with primary_at(data) as primary:
        await primary.put(TWO, index=PRIVATE)
        async with replica_of(primary.url, ROOT, copy) as replica:
            has_two = await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben"))
            assert has_two == [ONE.filename, TWO.filename]
    async with primary_at(old) as primary:
        await refused(primary, copy, "it went back")
        await primary.index("anna/other")
        await primary.index("anna/another")
        await refused(primary, copy, "their histories differ")
    async with primary_at(tmp_path / "new") as primary:
        await refused(primary, copy, "another index than the one that was copied")


async def refused(primary: Served, copy: Path, why: str) -> None:
    async with replica_of(primary.url, ROOT, copy, copied=False) as replica:

        async def told() -> bool:
            return why in (await shown_status(replica))["replica-problem"]

        await until(told)
        assert await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename, TWO.filename]


async def test_a_store_of_its_own_does_not_become_a_replica(serve: Serve, tmp_path: Path) -> None:
    async with primary_at(tmp_path / "own") as own:
        head = await own.engine.store.head()
    async with serve() as primary:
        await with_anna(primary)
        async with replica_of(primary.url, ROOT, tmp_path / "own", copied=False) as replica:

            async def told() -> bool:
                return "another index" in (await shown_status(replica))["replica-problem"]

            await until(told)
            assert await replica.engine.store.head() == head
            assert await read_note(replica.engine.store) is None


async def test_a_copy_of_the_primary_goes_on_as_a_replica(tmp_path: Path) -> None:
    """A backup saves the first copy."""
    data = tmp_path / "primary"
    async with primary_at(data) as primary:
        await with_anna(primary)
    shutil.copytree(data, tmp_path / "copy")
    async with primary_at(data) as primary:
        await primary.put(TWO, index=PRIVATE)
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            assert await listed(replica, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename, TWO.filename]


async def test_before_the_first_copy_nothing_is_absent(serve: Serve, tmp_path: Path) -> None:
    """503 and not 404, while it is not known what there is."""
    async with serve() as primary:
        url = primary.url
    async with replica_of(url, ROOT, tmp_path / "copy", copied=False) as replica:
        for path in ("/root/dev/+simple/demo/", "/simple/", "/anna/", "/"):
            assert await status(replica, path) == 503, path
        assert await status(replica, "/+live") == 200
        assert await status(replica, "/+ready") == 503
        assert await status(replica, "/+status") == 200
    async with replica_of(url, ROOT, tmp_path / "copy", copied=False) as again:
        assert await status(again, "/simple/") == 503


async def test_mirrors_of_the_primary(mirrored: MirroredStart, tmp_path: Path) -> None:
    """The primary asks its upstream; pages arrive as commits, files when they are requested. What is not known is 503."""
    async with mirrored() as world:
        primary = world.served
        token, _ = await primary.engine.tokens.make("root", who="[test]")
        async with replica_of(primary.url, f"__token__:{token}", tmp_path / "copy") as replica:
            assert await listed(replica, "/root/dev/+simple/demo/") == ["demo-1.0-py3-none-any.whl"]
            async with replica.get("/root/dev/+simple/demo/", headers={"Accept": JSON_V1}) as answer:
                (file,) = json.loads(await answer.read())["files"]
            path = f"/root/pypi/+f/{file['hashes']['sha256'][:3]}/{file['hashes']['sha256'][3:16]}/{file['filename']}"
            async with replica.get(path) as answer:
                data = await answer.read()
                assert answer.status == 200
            async with replica.get(f"{path}.metadata") as answer:
                assert answer.status == 200
                assert b"Name: demo" in await answer.read()
            assert await status(replica, "/root/dev/+simple/nothing/") == 404
            asked = world.upstream.count("page")
            async with replica.request("POST", "/root/pypi/+simple/demo/refresh") as answer:
                assert answer.status == 302
            assert world.upstream.count("page") == asked + 1
            await primary.server.stop()
            await until(lambda: stopped_following(replica))
            assert await status(replica, "/root/dev/+simple/unknown/") == 503
            async with replica.get("/root/dev/+simple/demo/", headers={"Accept": JSON_V1}) as answer:
                assert answer.status == 200
                assert "X-PkgIndex-Stale" in answer.headers
            async with replica.get(path) as answer:
                assert await answer.read() == data


async def test_the_answer_waits_for_a_commit(serve: Serve) -> None:
    async with serve() as primary:
        token, _ = await primary.engine.tokens.make("root", who="[test]")
        head = await primary.engine.store.head()
        (commit,) = await primary.engine.store.commits(Serial(head - 1))
        path = f"/+changes?after={head}&at={commit.at}&wait=30"

        async def ask() -> bytes:
            async with primary.get(path, headers=basic("__token__", token)) as answer:
                assert answer.status == 200
                return bytes(await answer.read())

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        await primary.put(ONE)
        first, *lines = (await asking).split(b"\n")
        assert decode_head(first).head == head + 1
        (arrived,) = decode_commits(filter(None, lines), head)
        assert [arrived] == list(await primary.engine.store.commits(head))


async def test_thousands_of_commits_arrive_in_order(serve: Serve, tmp_path: Path) -> None:
    async with serve() as primary:
        await primary.put(ONE)
        for number in range(3000):
            await primary.engine.store.apply([YankFile(HOSTED, DEMO, ONE.filename, f"{number}")], who="[test]")
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            ours = [commit async for commit in every_commit(replica)]
            assert ours == [commit async for commit in every_commit(primary)]
            assert len(ours) > 3000


async def every_commit(served: Served) -> AsyncIterator[object]:
    after = Serial(0)
    while commits := await served.engine.store.commits(after):
        for commit in commits:
            yield commit
        after = commits[-1].serial


async def test_two_replicas_and_a_replica_of_a_replica(serve: Serve, tmp_path: Path) -> None:
    async with serve() as primary:
        await with_anna(primary)
        async with (
            replica_of(primary.url, ROOT, tmp_path / "one") as one,
            replica_of(primary.url, ROOT, tmp_path / "two") as two,
            replica_of(one.url, ROOT, tmp_path / "three") as three,
        ):
            await primary.put(TWO, index=PRIVATE)
            for each in (one, two, three):
                await same(each, primary)
                assert await listed(each, f"/{PRIVATE}/+simple/demo/", basic("ben")) == [ONE.filename, TWO.filename]


async def test_a_replica_in_postgresql(serve: Serve, tmp_path: Path, database_server: DatabaseServer) -> None:
    """Also one of some indexes, whose log has commits without changes."""
    async with serve() as primary:
        await with_anna(primary)
        token, _ = await primary.engine.tokens.make("ben", who="[test]", actions=("follow",), indexes=("anna/*",))
        for name, credentials in (("everything", ROOT), ("part", f"__token__:{token}")):
            database_server.sql(f"CREATE DATABASE {name}")
            store = database_server.url(name)
            for wheel in (TWO, build_wheel("other", name.replace("everything", "1.0").replace("part", "2.0"))):
                await primary.put(wheel, index=PRIVATE)
                async with replica_of(primary.url, credentials, tmp_path / name, store=store) as replica:
                    await same(replica, primary)
                    page = await replica.engine.store.page(PRIVATE, DEMO)
                    assert page is not None
                    assert [row.filename for row in page.rows] == [ONE.filename, TWO.filename]
                    assert await replica.engine.blobs.owns(wheel.sha256)
            database_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def test_its_figures(serve: Serve, tmp_path: Path) -> None:
    async with serve() as primary, replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
        async with replica.get("/+metrics", headers=basic("root")) as answer:
            told = await answer.text()
        assert "pkgindex_replica_lag_serials 0" in told
        assert "pkgindex_replica_lag_seconds 0" in told
        assert "pkgindex_replica_follows 1" in told
        async with primary.get("/+metrics", headers=basic("root")) as answer:
            assert "pkgindex_replica" not in await answer.text()


async def test_a_clearing_of_the_copy_takes_nothing_that_is_copied(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that lies here without a commit, and that `gc` removes between being found and being named, is fetched again."""
    async with serve() as primary:
        await with_anna(primary)
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            await replica.engine.blobs.put(TWO.data)
            store, blobs = replica.engine.store, replica.engine.blobs
            replay = store.replay

            async def cleared_before(commits: Sequence[Commit]) -> None:
                if any(isinstance(change, PutFile) for commit in commits for change in commit.changes):
                    held = await announce(store, await announced(store), "", [TWO.sha256])
                    await replay(commits)
                    assert await blobs.drop(TWO.sha256)
                    await announce(store, held, "", [])
                    return
                await replay(commits)

            monkeypatch.setattr(store, "replay", cleared_before)
            await primary.put(TWO, index=PRIVATE)
            await same(replica, primary)

            async def is_there() -> bool:
                return await blobs.owns(TWO.sha256)

            await until(is_there)


async def test_a_copy_that_is_not_whole_any_more_repeats_no_answer(serve: Serve, tmp_path: Path) -> None:
    """A file is missing at the primary, so the copy must have further commits before it shows anything again."""
    async with serve() as primary:
        await primary.put(ONE)
        async with replica_of(primary.url, ROOT, tmp_path / "copy") as replica:
            pair = Pair(replica.server)
            await pair.kept(get())
            state = replica.engine.replica
            assert state is not None
            assert state.note is not None
            state.note = replace(state.note, until=Serial(await replica.engine.store.head() + 1))
            said, repeated = await pair.asked(get())
            assert not repeated
            assert said.startswith(b"HTTP/1.1 503 ")
