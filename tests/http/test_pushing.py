"""Pushes as devpi's client sends them: the method, the documents, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import PutAttachment, PutRelease
from pkgindex_core.models import Attachment, Event, Release, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.testing.wheels import build_sdist, build_wheel, zip_of
from pkgindex_http import plugin
from tests.http.conftest import HOSTED, PASSWORD, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

DEV = IndexName("alice/dev")
PROD = IndexName("alice/prod")
HELLO = ProjectName("hello-pkg")
JSON = {"Accept": "application/json", "Content-Type": "application/json"}


async def team(served: Served, **prod: Any) -> dict[str, str]:
    """Two indexes of one user, the second not volatile; the header by which she is known."""
    alice = await served.user("alice")
    await served.index(DEV, acl_upload=("alice",))
    await served.index(PROD, acl_upload=("alice",), **{"volatile": False, **prod})
    async with served.get(f"/{DEV}/+simple/", headers=alice) as answer:
        assert answer.status == 200  # her password's hash is renewed now, if ever: a commit that no test below counts
    return {**alice, **JSON}


async def release(served: Served, index: IndexName = DEV, *, docs: bool = True, content: str = "1") -> None:
    """`hello_pkg` 1.0: a wheel with a test result, an sdist, metadata and documentation."""
    now = served.engine.clock.now()
    history = (Event(what="upload", at=now, who="alice", target=index),)
    built = build_wheel("hello_pkg", "1.0", files={"hello_pkg.py": content.encode()})
    await served.put(built, index=index, project="hello_pkg", history=history)
    await served.put(build_sdist("hello_pkg", "1.0"), index=index, project="hello_pkg", history=history)
    result = await served.engine.blobs.put(b'{"testenvs": {}}')
    archive = await served.engine.blobs.put(zip_of({"index.html": f"docs {content}".encode()}))
    attachments = [
        Attachment(
            kind="toxresult",
            filename=f"{built.filename}.toxresult-20261122142248-0",
            version="1.0",
            about=built.filename,
            sha256=result.sha256,
            size=result.size,
            added=now,
        ),
        Attachment(
            kind="doczip",
            filename="hello-pkg-1.0.doc.zip",
            version="1.0",
            sha256=archive.sha256,
            size=archive.size,
            added=now,
        ),
    ]
    await served.engine.store.apply(
        [
            PutRelease(index, HELLO, Release(version="1.0", metadata=b'{"name":"hello_pkg","version":"1.0"}')),
            *(PutAttachment(index, HELLO, each) for each in attachments if docs or each.kind != "doczip"),
        ],
        who="[test]",
    )


async def push(served: Served, headers: dict[str, str], *, method: str = "PUSH", path: str = "", **wanted: Any) -> Any:
    body = {"name": "hello_pkg", "version": "1.0", "targetindex": PROD, **wanted}
    body = {key: value for key, value in body.items() if value is not None}
    async with served.request(method, path or f"/{DEV}", headers=headers, json=body) as answer:
        assert answer.content_type == "application/json"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Devpi-Api-Version"] == "2"
        return answer.status, await answer.json()


async def holdings(served: Served, index: IndexName = PROD) -> tuple[list[str], list[str], list[bytes]]:
    """Names of files and attachments, and metadata, that an index has of the project."""
    store = served.engine.store
    page = await store.page(index, HELLO)
    return (
        sorted(row.filename for row in page.rows) if page else [],
        [each.filename for each in await store.attachments(index, HELLO)],
        [each.metadata for each in await store.releases(index, HELLO)],
    )


@pytest.mark.parametrize("method", ["PUSH", "POST"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_golden_push(serve: Serve, method: str, slash: str) -> None:
    """Everything of the release, in devpi's order, in one commit; the second time 409, and nothing is written."""
    async with serve() as served:
        alice = await team(served)
        await release(served)
        before = await served.engine.store.head()
        status, answer = await push(served, alice, method=method, path=f"/{DEV}{slash}")
        assert status == 200, answer
        assert answer["type"] == "actionlog"
        wheel = decode_file((await served.engine.store.page(PROD, HELLO)).rows[0].body)  # type: ignore[union-attr]  # it is there
        files = {}
        for row in (await served.engine.store.page(PROD, HELLO)).rows:  # type: ignore[union-attr]  # it is there
            wheel = decode_file(row.body)
            files[row.filename] = f"{PROD}/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{row.filename}"  # type: ignore[index]  # hosted
        wheel_path = files["hello_pkg-1.0-py3-none-any.whl"]
        assert answer["result"] == [
            [200, "register", "hello_pkg", "1.0", "->", "alice/prod"],
            [200, "store_releasefile", wheel_path],
            [200, "store_toxresult", f"{wheel_path}.toxresult-20261122142248-0"],
            [200, "store_releasefile", files["hello_pkg-1.0.tar.gz"]],
            [200, "store_doczip", "hello_pkg", "1.0", "->", "alice/prod"],
        ]
        after = await served.engine.store.head()
        assert after == before + 1
        assert await holdings(served) == await holdings(served, DEV)
        status, answer = await push(served, alice, method=method)
        assert (status, answer["message"]) == (
            409,
            "hello_pkg-1.0-py3-none-any.whl already exists in non-volatile index",
        )
        assert await served.engine.store.head() == after


@pytest.mark.parametrize(
    ("wanted", "status", "message"),
    [
        ({"version": "7.7"}, 400, "there are no files for hello_pkg 7.7 on stage alice/dev"),
        ({"name": "nothing"}, 400, "there are no files for nothing 1.0 on stage alice/dev"),
        ({"name": "../x"}, 400, "there are no files for ../x 1.0 on stage alice/dev"),
        ({"no_docs": True, "only_docs": True}, 400, "can't use 'no_docs' and 'only_docs' together"),
        ({"targetindex": "prod"}, 400, "targetindex not in format user/index"),
        ({"targetindex": "a/b/c"}, 400, "targetindex not in format user/index"),
        ({"bold": 1, "also": 2}, 400, "unknown additional options: also, bold"),
        ({"targetindex": "alice/nonexist"}, 404, "The stage alice/nonexist could not be found."),
        ({"targetindex": "bob/secret"}, 404, "The stage bob/secret could not be found."),
        ({"targetindex": "bob/dev"}, 401, "user 'alice' cannot upload to 'bob/dev'"),
        ({"only_docs": True}, 404, "no release/files found for hello_pkg 1.0"),
        ({"version": None}, 400, "the document does not fit: Object missing required field `version`"),
        ({"version": 1.0}, 400, "the document does not fit: Expected `str`, got `float` - at `$.version`"),
        ({"targetindex": None}, 400, "a push needs a `targetindex`, or a `posturl` with `username` and `password`"),
    ],
)
async def test_what_cannot_be_pushed_is_said_as_devpi_says_it(
    serve: Serve, wanted: dict[str, Any], status: int, message: str
) -> None:
    """One clear message, and nothing changes."""
    async with serve() as served:
        alice = await team(served)
        await served.user("bob")
        await served.index("bob/dev", acl_upload=("bob",))
        await served.index("bob/secret", acl_upload=("bob",), acl_read=("bob",))
        await release(served, docs=False)
        head = await served.engine.store.head()
        got, answer = await push(served, alice, **wanted)
        assert (got, answer["message"]) == (status, message)
        assert await served.engine.store.head() == head


async def test_a_refused_target_costs_nobody_his_token(serve: Serve) -> None:
    """devpi's client drops its token when a 401 has a `location`."""
    async with serve() as served:
        alice = await team(served)
        await served.user("bob")
        await served.index("bob/dev", acl_upload=("bob",))
        await release(served)
        body = {"name": "hello_pkg", "version": "1.0", "targetindex": "bob/dev"}
        async with served.request("PUSH", f"/{DEV}", headers=alice, json=body) as answer:
            assert answer.status == 401
            assert "location" not in answer.headers
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


async def test_what_may_not_be_read_cannot_be_pushed(serve: Serve) -> None:
    """Anonymous: 403. A stranger to a private index: there is no such index. A reader may push to what is his."""
    async with serve() as served:
        await team(served)
        await release(served)
        bob = {**await served.user("bob"), **JSON}
        await served.index("bob/dev", acl_upload=("bob",))
        assert (await push(served, JSON))[0] == 403
        assert (await push(served, JSON, method="POST"))[0] == 403
        assert (await push(served, bob, targetindex="bob/dev"))[0] == 200
        await served.index(DEV, acl_upload=("alice",), acl_read=("alice",))
        for method in ("PUSH", "POST"):
            status, answer = await push(served, bob, method=method, targetindex="bob/dev")
            assert (status, answer["message"]) == (404, "The stage alice/dev could not be found.")


async def test_documentation_alone_or_left_out(serve: Serve) -> None:
    async with serve() as served:
        alice = await team(served)
        await release(served)
        status, answer = await push(served, alice, only_docs=True)
        assert status == 200
        assert [each[1] for each in answer["result"]] == ["register", "store_doczip"]
        files, attachments, releases = await holdings(served)
        assert (files, attachments) == ([], ["hello-pkg-1.0.doc.zip"])
        assert releases
        page = await served.engine.store.page(PROD, HELLO)
        assert page is not None
        assert page.head.versions == ("1.0",)
        status, answer = await push(served, alice, no_docs=True)
        assert status == 200
        assert [each[1] for each in answer["result"]] == [
            "register",
            "store_releasefile",
            "store_toxresult",
            "store_releasefile",
        ]
        assert await holdings(served) == await holdings(served, DEV)


async def test_other_bytes_are_refused_where_nothing_is_overwritten(serve: Serve) -> None:
    async with serve() as served:
        alice = await team(served)
        await release(served, PROD, content="other")
        await release(served)
        head = await served.engine.store.head()
        status, answer = await push(served, alice)
        assert (status, answer["message"]) == (
            409,
            "hello_pkg-1.0-py3-none-any.whl already exists in non-volatile index",
        )
        assert "hello-pkg-1.0.doc.zip" in answer["hint"]
        assert await served.engine.store.head() == head


async def test_histories_are_kept_and_overwriting_is_on_record(serve: Serve) -> None:
    """devpi's order: what was overwritten, how it came to the source, the push."""
    async with serve() as served:
        alice = await team(served, volatile=True)
        await release(served)
        await release(served, PROD, content="old")
        for count in (1, 2):
            status, _ = await push(served, alice)
            assert status == 200
            file = await served.engine.store.file(PROD, HELLO, "hello_pkg-1.0-py3-none-any.whl")
            assert file is not None
            assert [(each.what, each.who, each.source, each.target, each.count) for each in file.history] == [
                ("overwrite", "alice", "", "", count),
                ("upload", "alice", "", DEV, 0),
                ("push", "alice", DEV, PROD, 0),
            ]
        assert await holdings(served) == await holdings(served, DEV)


async def test_a_history_names_no_index_out_of_sight(serve: Serve) -> None:
    async with serve() as served:
        alice = await team(served)
        await served.index(DEV, acl_upload=("alice",), acl_read=("alice",))
        await release(served)
        assert (await push(served, alice, name="hello_pkg", version="1.0", targetindex=PROD))[0] == 200
        for path in (f"/{PROD}/hello-pkg", f"/{PROD}/hello-pkg/1.0"):
            async with served.get(path) as answer:
                everybody = await answer.text()
            assert DEV not in everybody
            assert f'"dst":"{PROD}"' in everybody
            async with served.get(path, headers=alice) as answer:
                assert f'"src":"{DEV}"' in await answer.text()


async def test_push_is_understood_however_its_letters_arrive(serve: Serve) -> None:
    """The parser does not know the method: its name may come in pieces, behind another request, and never from a body."""
    async with serve() as served:
        alice = await team(served)
        await release(served)
        reader, writer = await asyncio.open_connection(*served.address)
        body = b'{"name":"hello_pkg","version":"1.0","targetindex":"alice/prod"}'
        head = (
            f" /{DEV} HTTP/1.1\r\nHost: x\r\nAuthorization: {alice['Authorization']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()

        async def answer() -> int:
            text = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(text.lower().partition("content-length:")[2].partition("\r\n")[0])
            await reader.readexactly(length)
            return int(text.split()[1])

        async def send(*pieces: bytes) -> int:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                async with served.get("/+live") as live:  # the server has seen the piece: it answers later ones
                    assert live.status == 200
            return await answer()

        assert await send(b"PUSH" + head + body) == 200
        assert await send(b"P", b"US", b"H", head[:40], head[40:] + body[:10], body[10:]) == 409
        assert await send(b"P", b"OST" + head + body) == 409
        # A body that begins a piece with the word is what it was.
        odd = b"PUSH " + b"x" * 20
        sent = b"POST /%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        assert await send(sent % (DEV.encode(), alice["Authorization"].encode(), len(odd)), odd) == 400
        assert await send(b"PUSH" + head + body) == 409
        writer.write(b"PUSH /simple/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await answer() == 405
        writer.close()


async def test_uploads_are_still_uploads(serve: Serve) -> None:
    """A form goes the way it went, a reader's right or not; without the right it is refused before its body."""
    async with serve() as served:
        await team(served)
        built = build_wheel("demo", "1.0")
        form = encode_form(upload_parts(built))
        bob = {**await served.user("bob"), "Content-Type": CONTENT_TYPE.decode()}
        await served.index("alice/inbox", acl_upload=("bob",), acl_read=("alice",))
        async with served.request("POST", "/alice/inbox/", headers=bob, data=form) as answer:
            assert answer.status == 200, await answer.text()
        async with served.request("POST", f"/{PROD}/", headers=bob, data=form) as answer:
            assert answer.status == 403
        anonymous = {"Content-Type": CONTENT_TYPE.decode()}
        async with served.request("POST", f"/{PROD}/", headers=anonymous, data=form) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


async def test_root_pushes_only_where_it_may_upload(serve: Serve) -> None:
    async with serve() as served:
        await team(served)
        await release(served)
        status, answer = await push(served, {**basic("root"), **JSON})
        assert (status, answer["message"]) == (401, "user 'root' cannot upload to 'alice/prod'")


async def push_to_server(served: Served, headers: dict[str, str], url: str, **wanted: Any) -> Any:
    wanted = {"targetindex": None, "posturl": url, "username": "root", "password": PASSWORD, **wanted}
    return await push(served, headers, **wanted)


@asynccontextmanager
async def two_servers(serve: Serve, tmp_path: Path) -> AsyncIterator[tuple[Served, dict[str, str], Served]]:
    """One that may push into loopback, with the release and who pushes it; and one that takes uploads into `root/dev`."""
    plugins = load_plugins(program=plugin, settings={"mirror": {"allow_networks": ["127.0.0.0/8"]}})
    async with (
        serve(mirrors=True, plugins=plugins) as served,
        serve(data=tmp_path / "other", root_password=PASSWORD) as other,
    ):
        alice = await team(served)
        await release(served)
        yield served, alice, other


async def test_a_push_to_another_server_of_ours(serve: Serve, tmp_path: Path) -> None:
    """Files and documentation arrive whole; a second time is a success as well. The log has the paths of the source."""
    async with two_servers(serve, tmp_path) as (served, alice, other):
        for register in (True, False):
            status, answer = await push_to_server(
                served, alice, f"{other.url}/{HOSTED}/", register_project=True if register else None
            )
            assert status == 200, answer
            assert answer["type"] == "actionlog"
            assert [each[:2] for each in answer["result"]] == [
                *([[200, "register"]] if register else []),
                [200, "upload"],
                [200, "upload"],
                [200, "docfile"],
            ]
            upload = next(each for each in answer["result"] if each[1] == "upload")
            assert upload[2].startswith("alice/dev/+f/")
            assert upload[3] == ""
        assert await holdings(other, HOSTED) == (
            ["hello_pkg-1.0-py3-none-any.whl", "hello_pkg-1.0.tar.gz"],
            ["hello-pkg-1.0.doc.zip"],
            (await holdings(other, HOSTED))[2],
        )


async def test_what_another_server_refuses_is_502_with_its_words(serve: Serve, tmp_path: Path) -> None:
    async with two_servers(serve, tmp_path) as (served, alice, other):
        status, answer = await push_to_server(served, alice, f"{other.url}/{HOSTED}/", password="wrong")
        assert status == 502
        assert [each[:2] for each in answer["result"]] == [[401, "upload"]]
        status, answer = await push_to_server(served, alice, "http://127.0.0.1:1/")
        assert status == 502
        assert answer["result"][0][:2] == [-1, "exception on release upload:"]
        status, answer = await push_to_server(served, alice, "http://127.0.0.1:1/", register_project=True)
        assert answer["result"][0][:2] == [-1, "exception on register:"]


async def test_nothing_private_is_posted_to_unless_the_operator_says_so(serve: Serve, tmp_path: Path) -> None:
    """And nobody without credentials has anything sent, wherever to."""
    async with (
        serve(mirrors=True, plugins=load_plugins(program=plugin)) as served,
        serve(data=tmp_path / "other", root_password=PASSWORD) as other,
    ):
        alice = await team(served)
        await release(served)
        status, answer = await push_to_server(served, alice, f"{other.url}/{HOSTED}/")
        assert status == 502
        assert "allow_networks" in answer["result"][0][2]
        assert (await push_to_server(served, JSON, f"{other.url}/{HOSTED}/"))[0] == 403
        assert (await holdings(other, HOSTED))[0] == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"posturl": "ftp://example.org/"}, "nothing here can push to such a URL"),
        ({"posturl": "https://"}, "the posturl cannot be used"),
        ({"posturl": "https://x/", "targetindex": PROD}, "unknown additional options: password, posturl, username"),
        ({"password": 5}, "the document does not fit: Expected `str`, got `int` - at `$.password`"),
    ],
)
async def test_pushes_to_a_server_that_cannot_be_done(serve: Serve, wanted: dict[str, Any], message: str) -> None:
    async with serve(mirrors=True, plugins=load_plugins(program=plugin)) as served:
        alice = await team(served)
        await release(served)
        status, answer = await push_to_server(served, alice, "https://example.org/", **wanted)
        assert (status, answer["message"]) == (400, message)
        assert PASSWORD not in str(answer)
