"""Users of an htpasswd file at the server: who they are, and how soon an edit of the file counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from passlib import hash as kinds

from pkgindex_core.engines.htpasswd.password_file import LOOK_SECONDS
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_http import plugin
from tests.http.conftest import Serve, Served, basic

ALICE = basic("alice", "secret")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".htpasswd"
    path.write_text(f"alice:{kinds.ldap_sha1.hash('secret')}\n")
    return path


def with_file(path: Path) -> Plugins:
    return load_plugins(program=plugin, entry_points=False, settings={"htpasswd": {"path": str(path)}})


async def status(served: Served, headers: dict[str, str]) -> int:
    async with served.get("/root/private/+simple/", headers=headers) as answer:
        return int(answer.status)


async def test_users_of_the_file_have_credentials(serve: Serve, file: Path) -> None:
    async with serve(plugins=with_file(file)) as served:
        await served.index("root/private", acl_read=(":AUTHENTICATED:",))
        assert await status(served, {}) == 401
        assert await status(served, basic("alice", "wrong")) == 401
        assert await status(served, basic("bob", "secret")) == 401
        assert await status(served, ALICE) == 200


async def test_our_own_password_comes_first(serve: Serve, file: Path) -> None:
    async with serve(plugins=with_file(file)) as served:
        await served.index("root/private", acl_read=(":AUTHENTICATED:",))
        own = await served.user("alice")
        assert await status(served, own) == 200
        assert await status(served, ALICE) == 401


@pytest.mark.parametrize("open_registration", [False, True])
async def test_no_password_is_set_here_that_outlives_the_file(
    serve: Serve, file: Path, open_registration: bool
) -> None:
    async def asked(method: str, password: str, headers: dict[str, str]) -> tuple[int, str]:
        async with served.request(method, "/alice", json={"password": password}, headers=headers) as answer:
            return answer.status, await answer.text()

    async with serve(plugins=with_file(file), open_registration=open_registration) as served:
        assert (await asked("PUT", "of her own", ALICE))[0] == (201 if open_registration else 403)
        if open_registration:
            return
        async with served.request("POST", "/+login", json={"user": "alice", "password": "secret"}) as answer:
            token = (await answer.json())["result"]["password"]
        for credentials in (ALICE, basic("alice", token)):
            status_of_change, said = await asked("PATCH", "of her own", credentials)
            assert status_of_change == 403
            assert "password file" in said
        async with served.request("PATCH", "/alice", json={"title": "Alice"}, headers=ALICE) as answer:
            assert answer.status == 200, "the rest is hers to change"
        assert (await asked("PATCH", "of root's making", basic("root")))[0] == 200
        given = basic("alice", "of root's making")
        async with served.request("PATCH", "/alice", json={"password": "of her own"}, headers=given) as answer:
            assert answer.status == 200, "a password here is changed here"


async def test_an_edit_counts_at_the_next_request(serve: Serve, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkgindex_core.engines.htpasswd.password_file.LOOK_SECONDS", 0.0)
    assert LOOK_SECONDS < 1
    async with serve(plugins=with_file(file)) as served:
        await served.index("root/private", acl_read=(":AUTHENTICATED:",))
        assert await status(served, ALICE) == 200
        file.write_text("")
        assert await status(served, ALICE) == 401
        file.write_text(f"alice:{kinds.ldap_sha1.hash('another')}\n")
        assert await status(served, ALICE) == 401
        assert await status(served, basic("alice", "another")) == 200
        file.unlink()
        assert await status(served, basic("alice", "another")) == 503
