"""Repeated answers: which requests are not parsed again, what ends that, and that a repeated answer counts like any other.

`test_replays_compared` compares both ways to an answer over generated requests.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import resource
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import uvloop
from msgspec.structs import replace
from passlib.hash import ldap_sha1

from pkgindex_core.changes import DropFile, DropToken, DropUser, PutIndex, PutToken, PutUser, YankFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.hookspecs import Provider, hookimpl
from pkgindex_core.models import File, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Build, PageFilter, Ruling
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tokens import new_token
from pkgindex_http import plugin
from pkgindex_http.access_log import AccessLine, AccessLines
from pkgindex_http.routing import Match
from pkgindex_http.server import Server
from pkgindex_http.settings import RemoteUser
from tests.http.conftest import HOSTED, MirroredStart, Serve, Served, basic, hash_of
from tests.http.replay_world import Fakes
from tests.http.shelf import OpenShelf, open_shelf
from tests.http.talks import Talk, counted, without_times

__all__ = ["open_shelf"]

DEMO = ProjectName("demo")
PAGE = "/root/dev/+simple/demo/"


def get(path: str = PAGE, *, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class Pair:
    """One connection, and the requests that were repeated on it and on others."""

    def __init__(self, server: Server, peer: str = "127.0.0.1") -> None:
        self.repeated = counted(server)
        self.server = server
        self.talk = Talk(server, peer)

    async def kept(self, request: bytes) -> bytes:
        """Ask until the answer is repeated. On a slow machine a verdict may have to be looked at again meanwhile."""
        said = b""
        async with asyncio.timeout(20):
            while self.repeated[-1:] != [request]:
                said = await self.talk.say(request)
        return said

    async def asked(self, request: bytes) -> tuple[bytes, bool]:
        """The answer, and whether it was repeated."""
        before = len(self.repeated)
        said = await self.talk.say(request)
        return said, len(self.repeated) > before


async def test_the_third_equal_request_is_not_parsed(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        for request in (get(), get(method="HEAD"), get(Accept_Encoding="gzip"), get(Accept="text/html")):
            first, second, third = [await pair.asked(request) for _ in range(3)]
            assert (first[1], second[1], third[1]) == (False, False, True)
            assert without_times(first[0]) == without_times(third[0])
        (etag,) = re.findall(rb'ETag: ("\w+")', (await pair.asked(get()))[0])
        said = await pair.kept(get(If_None_Match=etag.decode()))
        assert said.startswith(b"HTTP/1.1 304 ")
        assert await Pair(served.server).kept(get())  # on another connection too


async def test_without_memory_nothing_is_repeated(serve: Serve) -> None:
    async with serve(replay_bytes=0) as served:
        await served.put(build_wheel("demo", "1.0"))
        assert served.server.replays is None
        talk = Talk(served.server)
        first, second, third = [without_times(await talk.say(get())) for _ in range(3)]
        assert first == second == third
        assert first.startswith(b"HTTP/1.1 200 ")


async def test_the_memory_is_bounded(serve: Serve) -> None:
    async with serve(replay_bytes=60_000) as served:
        for number in range(30):
            await served.put(build_wheel(f"demo{number}", "1.0"))
        pair = Pair(served.server)
        replays = served.server.replays
        assert replays is not None
        for number in range(30):
            for _ in range(3):
                await pair.talk.say(get(f"/root/dev/+simple/demo{number}/"))
            assert 0 < replays.size <= 60_000
        assert 5 < len(replays) < 20


async def test_no_more_memory_is_taken_than_is_counted(serve: Serve) -> None:
    """An index of many layers, requests of many users, and long paths and names of clients."""
    async with serve() as served:
        bases = tuple([await served.index(f"root/base{number}") for number in range(10)])
        top = await served.index("root/top", bases=bases)
        await served.put(build_wheel("demo", "1.0"), index=top)
        users = [await served.user(f"user{number}") for number in range(20)]
        replays, talk, agent = served.server.replays, Talk(served.server), "agent " * 100
        assert replays is not None
        tracemalloc.start()
        try:
            for user in users:
                for query in (f"?{'x' * 600}", ""):
                    for _ in range(3):
                        await talk.say(get(f"/root/top/+simple/demo/{query}", User_Agent=agent, **user))
            counted, entries = replays.size, len(replays)
            assert entries == 2 * len(users)
            for cache in (
                served.engine.identity.kept,
                served.engine.pages._resolving.kept,
                served.engine.pages._bodies,
            ):
                cache._values.clear()
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            replays.kept = replays._nothing()
            gc.collect()
            assert before - tracemalloc.get_traced_memory()[0] <= counted
        finally:
            tracemalloc.stop()


NEVER = [
    get(version="1.0"),
    get(version="1.0", Connection="keep-alive"),
    get(Connection="close"),
    get(Connection="upgrade", Upgrade="websocket"),
    get(Content_Length="0"),
    get(Expect="100-continue"),
    get(Transfer_Encoding="chunked") + b"0\r\n\r\n",
    get(X_Long="x" * 5000),
    get(method="POST", Content_Length="0"),
    get("/root/dev/+simple/Demo/"),
    get("/root/dev/+simple/absent/"),
    get("/root/dev/+simple/demo/", Accept="image/png"),
    get("/root/dev/+simple/demo/", If_Match='"x"'),
    get("/root/dev/demo/", Accept="application/json"),
    get("/+status"),
    get("/+live"),
    get() + get(),
    get() + b"\r\n",
    b"\r\n" + get(),
]


@pytest.mark.parametrize("request_", NEVER, ids=range(len(NEVER)))
async def test_what_is_never_kept(serve: Serve, request_: bytes) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        for _ in range(4):
            said, repeated = await pair.asked(request_)
            assert said
            assert not repeated
            if pair.talk.is_over:
                pair.talk = Talk(served.server)


async def test_a_plugins_answer_is_not_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may depend on anything, whatever it is made of."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        match = served.server.routes.match(("root", "dev", "+simple", "demo", ""))
        assert match is not None
        route = match.methods["GET"]
        assert route.repeats
        made = Match({"GET": replace(route, repeats=False)}, match.values)
        monkeypatch.setattr(served.server.routes, "match", lambda _: made)
        for _ in range(4):
            assert not (await pair.asked(get()))[1]


PIECES: list[Callable[[bytes], list[bytes]]] = [
    lambda request: [request[:1], request[1:]],
    lambda request: [request[:-1], request[-1:]],
    lambda request: [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(request), request],
    lambda request: [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(request), request, b"\r\n0\r\n\r\n"],
    lambda request: [b"GET /+live HTTP/1.1\r\nHost: x\r\nX-Y: ", request],
    lambda request: [b"P", request],
    lambda request: [b"PUSH", request],
    lambda request: [b"GET /+live HTTP/1.1\r\nHost: x\r\n", request],
]  # fmt: skip


@pytest.mark.parametrize("pieces", PIECES, ids=range(len(PIECES)))
@pytest.mark.parametrize("apart", [True, False])
async def test_bytes_in_the_middle_of_something_else_are_not_taken_for_a_request(
    serve: Serve, pieces: Callable[[bytes], list[bytes]], apart: bool
) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        before = len(pair.repeated)
        await pair.talk.say(*pieces(get()), apart=apart)
        assert len(pair.repeated) == before


async def test_not_before_an_earlier_request_is_answered(serve: Serve) -> None:
    """The kept answer is there at once, and must not overtake the other one."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        said = await pair.talk.say(get("/+live"), get(), get("/+live"), get())
        assert [line.split()[1] for line in re.findall(rb"HTTP/1.1 .*", said)] == [b"200"] * 4
        assert re.findall(rb"alive|ETag", said) == [b"alive", b"ETag", b"alive", b"ETag"]


async def test_not_while_an_earlier_request_is_being_answered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has left the queue, and its answer is not written yet."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        let_go, make = asyncio.Event(), served.engine.listings.projects

        async def wait(*given: Any, **named: Any) -> Any:
            await let_go.wait()
            return await make(*given, **named)

        monkeypatch.setattr(served.engine.listings, "projects", wait)
        before = len(pair.repeated)
        pair.talk.connection.data_received(get("/root/dev/+simple/"))
        while not pair.talk.connection._request_in_progress:
            await asyncio.sleep(0)
        pair.talk.connection.data_received(get())
        assert not pair.talk.line.written
        let_go.set()
        said = await pair.talk.say()
        assert said.count(b"HTTP/1.1 200 ") == 2
        assert said.endswith(_body(await pair.talk.say(get())))
        assert len(pair.repeated) == before + 1


async def test_a_client_that_asks_again_at_once_is_repeated_too(serve: Serve) -> None:
    """Its request is there before the task of the one before waits for the next."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair, request = Pair(served.server), get()
        first = await pair.talk.say(request)
        line, connection, answers = pair.talk.line, pair.talk.connection, 0
        write, loop = line.write, asyncio.get_running_loop()

        def write_and_ask(data: bytes | bytearray | memoryview) -> None:
            nonlocal answers
            write(data)
            answers += 1
            if answers < 10:
                loop.call_soon(connection.data_received, request)

        line.write = write_and_ask  # type: ignore[method-assign]  # a client
        line.written.clear()
        connection.data_received(request)
        async with asyncio.timeout(20):
            while answers < 10:
                await asyncio.sleep(0)
        assert without_times(bytes(line.written)) == 10 * without_times(first)
        assert len(pair.repeated) >= 8


async def test_not_while_the_client_does_not_read(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        pair.talk.connection.pause_writing()
        before = len(pair.repeated)
        pair.talk.connection.data_received(get())
        pair.talk.connection.data_received(get())
        assert len(pair.repeated) == before
        pair.talk.connection.resume_writing()
        await pair.talk.rest()
        assert bytes(pair.talk.line.written).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("close", ["close", "force_close"])
async def test_not_on_a_connection_that_closes(serve: Serve, close: str) -> None:
    async with serve(shutdown_timeout=0.1) as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        before = len(pair.repeated)
        getattr(pair.talk.connection, close)()
        pair.talk.connection.data_received(get())
        assert len(pair.repeated) == before


class World:
    """Changes the store of a running server, as tests of validity say."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.store = served.engine.store

    async def apply(self, *changes: Any) -> None:
        await self.store.apply(list(changes), who="[test]")

    async def change(self, index: IndexName = HOSTED, **options: Any) -> None:
        await self.apply(PutIndex(replace((await self.store.tree()).indexes[index], **options)))

    async def user(self, name: str, password: str) -> None:
        await self.apply(PutUser(User(name=name, password_hash=hash_of(password))))


FILE = "demo-1.0-py3-none-any.whl"
CHANGES: dict[str, Callable[[World], Any]] = {
    "upload": lambda world: world.served.put(build_wheel("demo", "2.0")),
    "delete": lambda world: world.apply(DropFile(HOSTED, DEMO, FILE)),
    "yank": lambda world: world.apply(YankFile(HOSTED, DEMO, FILE, "broken")),
    "tree": lambda world: world.change(title="another"),
    "read list": lambda world: world.change(acl_read=("nobody",)),
    "password": lambda world: world.user("anna", "another"),
    "user": lambda world: world.apply(DropUser("anna")),
}


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_ends_the_kept_answer(serve: Serve, what: str, is_known: bool) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.user("anna")
        pair = Pair(served.server)
        request = get(**basic("anna"))
        before = await pair.kept(request)
        await CHANGES[what](World(served))
        if is_known:
            await pair.talk.say(get("/root/dev/+simple/absent/"))  # the plain way learns of the commit
        after, repeated = await pair.asked(request)
        assert not repeated
        assert without_times(before) != without_times(after)
        for _ in range(3):
            assert without_times((await pair.asked(request))[0]) == without_times(after)


async def test_a_new_tree_ends_all_answers(serve: Serve) -> None:
    """They would hold the former tree in memory."""
    async with serve() as served:
        for name in ("demo", "other"):
            await served.put(build_wheel(name, "1.0"))
            await Pair(served.server).kept(get(f"/root/dev/+simple/{name}/"))
        assert served.server.replays is not None
        assert len(served.server.replays) == 2
        await World(served).change(title="another")
        await Talk(served.server).say(get())
        assert served.server.replays is not None
        assert len(served.server.replays) == 0


async def test_a_change_elsewhere_does_not_end_it_and_is_in_the_serial(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.user("anna")
        pair = Pair(served.server)
        request = get(**basic("anna"))
        before = await pair.kept(request)
        await served.put(build_wheel("other", "1.0"))
        await pair.talk.say(get("/root/dev/+simple/other/"))  # the plain way learns of the commit
        after, repeated = await pair.asked(request)
        assert repeated
        serial = re.compile(rb"X-Devpi-Serial: ([0-9]+)")
        old, new = serial.findall(before), serial.findall(after)
        assert int(new[0]) == int(old[0]) + 1 == served.engine.store.seen()
        assert serial.sub(b"", without_times(before)) == serial.sub(b"", without_times(after))


async def test_tokens_end(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.user("anna")
        world = World(served)
        for expires, ending in ((None, "revoked"), (1, "expired")):
            text = new_token()
            until = Timestamp(served.engine.clock.now() + 700_000) if expires else None
            await world.apply(PutToken(Token(id=text.id, user="anna", secret_sha256=text.secret_sha256, expires=until)))
            pair = Pair(served.server)
            request = get(Authorization=f"Bearer {text}")
            await pair.kept(request)
            if ending == "revoked":
                await world.apply(DropToken(text.id))
                await pair.talk.say(get("/root/dev/+simple/absent/"))  # the plain way learns of the commit
            else:
                while served.engine.clock.now() <= (until or 0):
                    await asyncio.sleep(0.01)
            said, repeated = await pair.asked(request)
            assert not repeated
            assert said.startswith(b"HTTP/1.1 401 ")


async def test_wrong_credentials_are_not_kept(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        for _ in range(4):
            said, repeated = await pair.asked(get(**basic("root", "wrong")))
            assert said.startswith(b"HTTP/1.1 401 ")
            assert not repeated


async def test_a_line_of_htpasswd_ends(open_shelf: OpenShelf, tmp_path: Path) -> None:
    async with open_shelf(authenticate="update,download,list") as shelf:
        shelf.drop(build_wheel("demo", "1.0"))
        pair = Pair(shelf.server)
        request = get("/simple/demo/", **basic("alice", "secret"))
        assert (await pair.kept(request)).startswith(b"HTTP/1.1 200 ")
        (tmp_path / ".htpasswd").write_text(f"alice:{ldap_sha1.hash('another')}\n")
        await asyncio.sleep(0.3)  # the file is looked at four times a second
        await pair.talk.say(get("/simple/demo/", **basic("alice", "wrong")))  # which looks
        said, repeated = await pair.asked(request)
        assert not repeated
        assert said.startswith(b"HTTP/1.1 401 ")


async def test_a_dropped_file_appears(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        shelf.drop(build_wheel("demo", "1.0"))
        pair = Pair(shelf.server)
        assert b"demo-1.0" in await pair.kept(get("/simple/demo/"))
        shelf.drop(build_wheel("demo", "2.0"))
        said, repeated = await pair.asked(get("/simple/demo/"))
        assert not repeated
        assert b"demo-2.0" in said
        (shelf.directory / FILE).unlink()
        assert b"demo-1.0" not in (await pair.asked(get("/simple/demo/")))[0]


async def test_a_mirror_is_asked_when_its_page_expires(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await world.change(mirror_cache_expiry=1)
        pair = Pair(world.served.server)
        request = get("/root/pypi/+simple/demo/")
        await pair.kept(request)
        world.upstream.add("demo", build_wheel("demo", "9.0"))
        async with asyncio.timeout(10):
            while b"demo-9.0" not in (await pair.asked(request))[0]:
                await asyncio.sleep(0.05)


async def test_a_stale_page_is_not_kept(mirrored: MirroredStart) -> None:
    """The next request may find the upstream again."""
    async with mirrored() as world:
        pair = Pair(world.served.server)
        request = get("/root/pypi/+simple/demo/")
        await pair.kept(request)
        await world.upstream.stop()
        await world.change(mirror_cache_expiry=0)
        for _ in range(4):
            said, repeated = await pair.asked(request)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert not repeated


async def test_peers_differ_where_proxies_are_trusted(serve: Serve) -> None:
    remote = RemoteUser(header="X-Remote-User", secret="a secret of the proxy")
    async with serve(trusted_proxies=("127.0.0.0/8",), remote_user=remote) as served:
        await served.put(build_wheel("demo", "1.0"), index=await served.index("root/private", acl_read=("anna",)))
        request = get("/root/private/+simple/demo/", X_Remote_User="anna", X_Proxy_Secret="a secret of the proxy")
        pair = Pair(served.server)
        assert (await pair.kept(request)).startswith(b"HTTP/1.1 200 ")
        other = Talk(served.server, "10.0.0.1")
        before = len(pair.repeated)
        assert (await other.say(request)).startswith(b"HTTP/1.1 401 ")
        assert len(pair.repeated) == before
        wrong = request.replace(b"a secret", b"no secret")
        for _ in range(4):
            assert (await pair.talk.say(wrong)).startswith(b"HTTP/1.1 401 ")


async def test_a_proxy_without_its_secret_is_logged_each_time(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    remote = RemoteUser(header="X-Remote-User", secret="a secret of the proxy")
    async with serve(trusted_proxies=("127.0.0.0/8",), remote_user=remote) as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        for _ in range(4):
            assert (await pair.talk.say(get(X_Remote_User="anna"))).startswith(b"HTTP/1.1 200 ")
        assert not pair.repeated
        assert caplog.text.count("without the right secret") >= 4


async def test_a_repeated_answer_counts_like_another_one(serve: Serve) -> None:
    lines: list[AccessLine] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.args, tuple)
            some = record.args[0]
            assert isinstance(some, AccessLines)
            lines.extend(some.lines)

    access = logging.getLogger("pkgindex.access")
    handler, level = Handler(), access.level
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    try:
        async with serve(access_log=True) as served:
            await served.put(build_wheel("demo", "1.0"))
            await served.user("anna")
            pair = Pair(served.server)
            for request in (get(f"{PAGE}?secret", User_Agent="pip/1", **basic("anna")), get(method="HEAD")):
                await pair.kept(request)
                connection = pair.talk.connection
                connections, deadline = connection._manager, connection._next_keepalive_close_time
                assert connections is not None
                counted_before, here = connections.requests_count, connection._request_count
                await asyncio.sleep(0.01)
                other = Talk(served.server, "10.0.0.9")
                await other.rest()
                assert (await pair.asked(request))[1]
                assert (connections.requests_count, connection._request_count) == (counted_before + 1, here + 1)
                assert connection._next_keepalive_close_time > deadline
                said = await other.say(request)
                assert served.server._access_log is not None
                await served.server._access_log.close()
                plain, repeated, far = lines[-4], lines[-2], lines[-1]
                assert far.client == "10.0.0.9"
                same = {"time": "", "client": "", "ms": 0.0}
                assert replace(plain, **same) == replace(repeated, **same) == replace(far, **same)
                assert repeated.client == plain.client == "127.0.0.1"
                assert repeated.time >= plain.time
                assert repeated.bytes == len(said.partition(b"\r\n\r\n")[2])
    finally:
        access.removeHandler(handler)
        access.setLevel(level)


async def test_the_date_is_that_of_the_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        for date in (b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 02 Jan 1970 00:00:00 GMT"):
            for module in ("listening.replays", "wire.replies"):
                monkeypatch.setattr(f"pkgindex_http.{module}.rfc822_formatted_time", date.decode)
            said, repeated = await pair.asked(get())
            assert repeated
            assert b"\r\nDate: " + date + b"\r\n" in said


async def test_no_secret_is_shown(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        anna = await served.user("anna")
        pair = Pair(served.server)
        await pair.kept(get(**anna))
        replays = served.server.replays
        assert replays is not None
        secret = anna["Authorization"].split()[1]
        for each in (replays, replays.kept, [kept for _, kept in replays.kept.items()], pair.talk.connection):
            assert secret not in repr(each)
            assert "correct horse" not in repr(each)


def _body(said: bytes) -> bytes:
    return said.partition(b"\r\n\r\n")[2]


class HidesByTheMinute:
    """A page filter that hides a file in every other minute."""

    fingerprint = "by the minute"
    by_release = False

    def cut_off(self, tree: Any, start: IndexName, moment: Timestamp) -> Timestamp:
        return Timestamp(moment - moment % 60_000_000)

    def applies(self, tree: Any, start: IndexName) -> bool:
        return start == HOSTED

    def withheld(self, tree: Any, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return Ruling(reason="it is an odd minute") if build.moment // 60_000_000 % 2 else None


class TimedPlugin:
    @hookimpl
    def pkgindex_page_filters(self) -> list[Provider[PageFilter]]:
        return [Provider(name="minutes", summary="a fake", make=lambda _: HidesByTheMinute())]


async def test_a_filter_that_looks_at_the_time(serve: Serve) -> None:
    plugins = load_plugins(program=plugin, extra=[TimedPlugin()])
    async with serve(plugins=plugins) as served:
        clock = ManualClock(Timestamp(60_000_000 * 1000))
        served.engine.pages._clock = clock
        await served.put(build_wheel("demo", "1.0"))
        await served.put(build_wheel("demo", "2.0"))
        pair = Pair(served.server)
        shown = _body(await pair.kept(get()))
        clock.advance(59)
        assert (await pair.asked(get()))[1]
        clock.advance(1)
        said, repeated = await pair.asked(get())
        assert not repeated
        assert _body(said) != shown
        clock.advance(60)
        said, repeated = await pair.asked(get())
        assert (_body(said) == shown, repeated) == (True, False)


async def test_a_store_that_fails_is_the_plain_ways_to_tell(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from pkgindex_core.errors import Unavailable

    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())

        def seen() -> int:
            raise Unavailable("the disk is gone")

        monkeypatch.setattr(served.engine.currency._store, "seen", seen, raising=False)
        said, repeated = await pair.asked(get())
        assert not repeated
        assert said.startswith(b"HTTP/1.1 503 ")


async def test_a_store_that_fails_in_an_unforeseen_way_is_that_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a plugin's store must not end the connection without an answer."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())

        def seen() -> int:
            raise RuntimeError("a defect of the store")

        monkeypatch.setattr(served.engine.currency._store, "seen", seen, raising=False)
        said, repeated = await pair.asked(get())
        assert not repeated
        assert said.startswith(b"HTTP/1.1 500 ")


async def test_kept_answers_hold_nothing_that_the_caches_of_services_drop(serve: Serve) -> None:
    """Those caches bound the memory of resolutions, which grow with the layers of an index, and of verdicts."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.user("anna")
        pair = Pair(served.server)
        request = get(**basic("anna"))
        said = await pair.kept(request)
        for cache in (served.engine.identity.kept, served.engine.pages._resolving.kept):
            ((_, value),) = list(cache.items())[-1:]
            dropped = ref(value)
            del value
            cache._values.clear()
            for _ in range(3):  # aiohttp forgets the last request
                await asyncio.sleep(0)
            gc.collect()
            assert dropped() is None
            again, repeated = await pair.asked(request)
            assert not repeated
            assert without_times(again) == without_times(said)
            assert (await pair.asked(request))[1]


@pytest.mark.parametrize("path", ["/root/dev/+simple/absent/", "/+api", "/root/dev/+simple/demo/"])
async def test_an_idle_connection_holds_no_request(serve: Serve, path: str) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        talk = Talk(served.server)
        await talk.say(get(path))
        assert talk.connection._latest is None


def test_a_commit_is_seen_by_a_request_that_was_begun_later_in_the_same_turn(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop looks for more events within a turn when it got 1024 at once."""
    many = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 3 * many:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 * many if hard < 0 else min(3 * many, hard), hard))

    async def talk() -> None:
        async with serve(max_connections=2 * many) as served:
            await served.put(build_wheel("demo", "1.0"))
            server, early, late = served.server, get(), get(User_Agent="late")
            for request in (early, late):
                await Pair(server).kept(request)
            repeated, asked = counted(server), []
            connections, replays = server._connections, server.replays
            assert connections is not None
            assert replays is not None
            find, known = replays.find, served.engine.currency.known
            before = len(connections._connections)
            with ExitStack() as sockets:
                clients = []
                for number in range(many):
                    clients.append(sockets.enter_context(socket.create_connection(served.address)))
                    while number % 50 == 0 and len(connections._connections) <= before + number:
                        await asyncio.sleep(0)
                while len(connections._connections) < before + many:
                    await asyncio.sleep(0)

                def look(data: bytes, peer: str, **options: Any) -> Any:
                    asked.append(data)
                    kept = find(data, peer, **options)
                    if len(asked) == 1:  # another process commits, and then a client begins its request
                        monkeypatch.setattr(served.engine.currency, "known", lambda: None)
                        clients[-1].sendall(late)
                    return kept

                monkeypatch.setattr(replays, "find", look)
                for client in clients[:-1]:
                    client.sendall(early)
                while len(asked) < many:
                    await asyncio.sleep(0)
                monkeypatch.setattr(served.engine.currency, "known", known)
                assert repeated == [early]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())


async def test_verdicts_of_other_authenticators_end(serve: Serve) -> None:
    """Where they may change at any time: a `Stateful` one that cannot tell at once keeps answers from being kept."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.user("anna")

        class Slow:
            async def state(self) -> int:
                return 1

        served.engine.identity._stateful = [Slow()]  # type: ignore[list-item]  # a fake
        pair = Pair(served.server)
        for _ in range(4):
            assert not (await pair.asked(get(**basic("anna"))))[1]
        await pair.kept(get())  # without credentials nobody is asked


async def test_the_verdict_of_a_directory_ends_with_its_time(serve: Serve) -> None:
    """A directory tells nobody that a user has left. Its verdicts are kept for a minute, repeated or not."""
    fakes = Fakes()
    async with serve(plugins=load_plugins(program=plugin, extra=[fakes])) as served:
        served.engine.identity._clock = clock = ManualClock()
        await served.put(build_wheel("demo", "1.0"), index=await served.index("root/private", acl_read=(":team",)))
        pair = Pair(served.server)
        request = get("/root/private/+simple/demo/", **basic("carl", "secret"))
        await pair.kept(request)
        fakes.elsewhere.groups.clear()
        clock.advance(59)
        assert (await pair.asked(request))[1]
        clock.advance(1)
        said, repeated = await pair.asked(request)
        assert not repeated
        assert said.startswith(b"HTTP/1.1 401 ")


async def test_a_stopped_server_repeats_nothing(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        pair = Pair(served.server)
        await pair.kept(get())
        await served.server.stop()
        assert pair.talk.line.closed
