"""`acl_download`: those who may fetch files are others than those who may see them listed."""

from __future__ import annotations

import pytest

from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import Serve, Served, basic

EVERYBODY = (":ANONYMOUS:",)
KNOWN = (":AUTHENTICATED:",)
_ROOT = Principal(name="root")
PAGE = "/root/shelf/+simple/demo/"


async def _made(served: Served, acl_read: tuple[str, ...], acl_download: tuple[str, ...]) -> str:
    """The path of a file in an index with these rights."""
    options = {"acl_read": list(acl_read), "acl_download": list(acl_download)}
    name = (await served.engine.indexes.create("root/shelf", options, principal=_ROOT)).name
    file = await served.put(build_wheel("demo", "1.0"), index=name)
    assert file.sha256 is not None
    return f"/root/shelf/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}"


async def _statuses(served: Served, path: str, headers: dict[str, str] | None = None) -> tuple[int, int, int]:
    """Of the page, the file and its metadata."""
    found = []
    for each in (PAGE, path, f"{path}.metadata"):
        async with served.get(each, headers=headers) as answer:
            found.append(answer.status)
    return found[0], found[1], found[2]


async def test_files_can_need_credentials_where_lists_need_none(serve: Serve) -> None:
    async with serve() as served:
        path = await _made(served, EVERYBODY, KNOWN)
        anna = await served.user("anna")
        assert await _statuses(served, path) == (200, 401, 401)
        assert await _statuses(served, path, anna) == (200, 200, 200)
        async with served.get(path, headers=anna) as answer:
            assert "private" in answer.headers["Cache-Control"]


async def test_lists_can_need_credentials_where_files_need_none(serve: Serve) -> None:
    async with serve() as served:
        path = await _made(served, KNOWN, EVERYBODY)
        anna = await served.user("anna")
        assert await _statuses(served, path) == (401, 200, 200)
        assert await _statuses(served, path, anna) == (200, 200, 200)
        assert await _statuses(served, path, basic("anna", "wrong")) == (401, 401, 401)
        async with served.get(path) as answer:
            assert "public" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("action", ["read", "upload"])
async def test_a_token_for_reading_fetches_files(serve: Serve, action: str) -> None:
    async with serve() as served:
        path = await _made(served, KNOWN, KNOWN)
        await served.user("anna")
        text, _ = await served.engine.tokens.make("anna", who="[test]", actions=(action,))
        status = (await _statuses(served, path, basic("__token__", text)))[1]
        assert status == (200 if action == "read" else 404)


async def test_those_who_may_not_fetch_are_told_so(serve: Serve) -> None:
    """They see the page, so that nothing is hidden from them."""
    async with serve() as served:
        path = await _made(served, EVERYBODY, ("ben",))
        assert await _statuses(served, path, await served.user("anna")) == (200, 403, 403)
        assert await _statuses(served, path, await served.user("ben")) == (200, 200, 200)


async def test_a_push_takes_no_files_to_those_who_may_not_fetch_them(serve: Serve) -> None:
    async with serve() as served:
        path = await _made(served, EVERYBODY, ("ben",))
        for name, expected in (("anna", 403), ("ben", 200)):
            headers = await served.user(name)
            await served.index(f"{name}/own")
            wanted = {"name": "demo", "version": "1.0", "targetindex": f"{name}/own"}
            async with served.request("PUSH", "/root/shelf", json=wanted, headers=headers) as answer:
                assert answer.status == expected
            async with served.get(path.replace("root/shelf", f"{name}/own"), headers=headers) as answer:
                assert answer.status == (200 if expected == 200 else 404)
