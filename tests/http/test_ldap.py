"""Users of a directory at the server: they log in, their groups count, and a directory that is down is nobody's wrong password."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_http import plugin
from tests.directory import Directory, directory, free_port
from tests.http.conftest import PASSWORD, Serve, Served, basic

__all__ = ["directory"]

RIGHT = basic("anna", "anna's word")


def with_ldap(settings: dict[str, Any]) -> Plugins:
    return load_plugins(program=plugin, entry_points=False, settings={"ldap": settings})


async def login(served: Served, name: str, password: str) -> tuple[int, dict[str, Any]]:
    async with served.request("POST", "/+login", json={"user": name, "password": password}) as answer:
        return answer.status, await answer.json()


async def status(served: Served, path: str, headers: dict[str, str]) -> int:
    async with served.get(path, headers=headers) as answer:
        return int(answer.status)


async def test_groups_of_the_directory_open_indexes(serve: Serve, directory: Directory) -> None:
    """With the password itself, and with the token of a log-in."""
    async with serve(plugins=with_ldap(directory.settings())) as served:
        await served.index("root/private", acl_read=(":release managers",))
        assert await status(served, "/root/private/+simple/", RIGHT) == 200
        assert await status(served, "/root/private/+simple/", basic("ben", "ben's word")) == 404
        code, document = await login(served, "anna", "anna's word")
        assert code == 200
        assert await status(served, "/root/private/+simple/", basic("anna", document["result"]["password"])) == 200
        stored = await served.engine.store.user("anna")
        assert stored is not None
        assert not stored.password_hash
        # A second log-in, as a user that exists by now.
        assert (await login(served, "anna", "anna's word"))[0] == 200
        assert (await login(served, "anna", "wrong"))[0] == 401


async def test_a_token_of_a_directory_user_carries_no_groups(serve: Serve, directory: Directory) -> None:
    async with serve(plugins=with_ldap(directory.settings())) as served:
        await served.index("root/private", acl_read=(":developers",))
        text, _ = await served.engine.tokens.make("anna", who="[test]", newcomer=True)
        assert await status(served, "/root/private/+simple/", basic("anna", text)) == 404


async def test_our_own_password_comes_first(serve: Serve, directory: Directory) -> None:
    async with serve(plugins=with_ldap(directory.settings())) as served:
        await served.user("anna")
        assert (await login(served, "anna", PASSWORD))[0] == 200
        assert (await login(served, "anna", "anna's word"))[0] == 401
        assert (await login(served, "root", "root's word"))[0] == 401


async def test_a_directory_that_is_down_is_503_and_keeps_nobody_else_out(serve: Serve, directory: Directory) -> None:
    settings = directory.settings(url=f"ldap://127.0.0.1:{free_port()}")
    async with serve(plugins=with_ldap(settings)) as served:
        own = await served.user("carl")
        code, document = await login(served, "anna", "anna's word")
        assert code == 503
        assert "directory" in document["message"]
        async with served.get("/root/dev/+simple/", headers=RIGHT) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        assert await status(served, "/root/dev/+simple/", own) == 200
        assert await status(served, "/root/dev/+simple/", {}) == 200


@pytest.mark.parametrize("name", ["an na", "ânna", "simple", "x" * 100])
async def test_names_that_no_user_can_have_do_not_reach_the_directory(
    serve: Serve, directory: Directory, name: str
) -> None:
    settings = directory.settings(url=f"ldap://127.0.0.1:{free_port()}")  # asking would be 503
    async with serve(plugins=with_ldap(settings)) as served:
        assert (await login(served, name, "anna's word"))[0] == 401


async def test_nobody_registers_the_name_of_somebody_else_in_the_directory(serve: Serve, directory: Directory) -> None:
    """Users of the index come first, so whoever registered it would be that person."""
    async with serve(plugins=with_ldap(directory.settings()), open_registration=True) as served:
        for headers, expected in ((None, 403), (basic("ben", "ben's word"), 403), (RIGHT, 201)):
            async with served.request("PUT", "/anna", json={"password": PASSWORD}, headers=headers) as answer:
                assert answer.status == expected
