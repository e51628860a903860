"""A user that a proxy names counts when the proxy may say so and proves itself, and in no other case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_http.settings import RemoteUser
from tests.http.conftest import PASSWORD, Serve, Served, basic

SECRET = "a secret of the proxy"
REMOTE = RemoteUser(header="X-Remote-User", secret=SECRET, groups_header="X-Remote-Groups")
BY_PROXY = {"X-Proxy-Secret": SECRET}
LOOPBACK = ("127.0.0.0/8",)


def trusting(**changed: Any) -> dict[str, Any]:
    return {"trusted_proxies": LOOPBACK, "remote_user": replace(REMOTE, **changed)}


async def status(
    served: Served, headers: dict[str, str], *, method: str = "GET", path: str = "/anna/private/+simple/"
) -> int:
    async with served.request(method, path, headers=headers) as answer:
        return int(answer.status)


async def private(served: Served) -> dict[str, str]:
    anna = await served.user("anna")
    await served.index("anna/private", acl_read=("anna", ":team"), acl_upload=("anna",))
    return anna


async def test_a_proxy_names_the_user_and_the_groups(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        await private(served)
        assert await status(served, {**BY_PROXY, "X-Remote-User": "anna"}) == 200
        assert await status(served, {**BY_PROXY, "X-Remote-User": "ben"}) == 404
        assert await status(served, {**BY_PROXY, "X-Remote-User": "ben", "X-Remote-Groups": "other, team"}) == 200
        assert await status(served, {**BY_PROXY, "X-Remote-User": ""}) == 401
        assert await status(served, BY_PROXY) == 401


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        (trusting(), {}),
        (trusting(), {"X-Proxy-Secret": "another secret"}),
        (trusting(), {"X-Proxy-Secret": ""}),
        (trusting(), {"X-Other-Secret": SECRET}),
        ({**trusting(), "trusted_proxies": ("10.0.0.0/8",)}, BY_PROXY),
        ({**trusting(), "trusted_proxies": ("10.0.0.0/8",)}, {**BY_PROXY, "X-Forwarded-For": "10.0.0.1"}),
        ({"trusted_proxies": LOOPBACK}, BY_PROXY),
    ],
)
async def test_from_anybody_else_the_header_says_nothing(
    serve: Serve, options: dict[str, Any], headers: dict[str, str]
) -> None:
    async with serve(**options) as served:
        await private(served)
        for name in ("anna", "root"):
            assert await status(served, {**headers, "X-Remote-User": name}) == 401
        # Nor does it take anything away.
        assert await status(served, {**headers, "X-Remote-User": "ben", **basic("anna")}) == 200


async def test_secrets_and_names_that_come_twice_do_not_count(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        await private(served)
        for pairs, expected in (
            ([("X-Proxy-Secret", SECRET), ("X-Proxy-Secret", SECRET), ("X-Remote-User", "anna")], 401),
            ([("X-Proxy-Secret", SECRET), ("X-Remote-User", "ben"), ("X-Remote-User", "anna")], 403),
            (
                [
                    ("X-Proxy-Secret", SECRET),
                    ("X-Remote-User", "ben"),
                    ("X-Remote-Groups", "a"),
                    ("X-Remote-Groups", "team"),
                ],
                403,
            ),
        ):
            async with served.client.get(f"{served.url}/anna/private/+simple/", headers=pairs) as answer:
                assert answer.status == expected


@pytest.mark.parametrize("name", ["root", "an na", "a/b", "simple", "x" * 65, "ânna"])
async def test_nobody_becomes_root_or_an_impossible_user(serve: Serve, name: str) -> None:
    async with serve(**trusting()) as served:
        await private(served)
        assert await status(served, {**BY_PROXY, "X-Remote-User": name}) == 403


async def test_what_is_meant_for_us_wins_over_the_proxys_word(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        anna = await private(served)
        devpi = {"X-Devpi-Auth": anna["Authorization"].removeprefix("Basic ")}
        text, _ = await served.engine.tokens.make("anna", who="[test]", indexes=("anna/other",))
        ben = {**BY_PROXY, "X-Remote-User": "ben"}
        assert await status(served, {**ben, **devpi}) == 200
        # A token narrows, also where the proxy vouches for its user.
        assert await status(served, {**BY_PROXY, "X-Remote-User": "anna", **basic("__token__", text)}) == 404
        # What the proxy itself was shown is no business of ours.
        for authorization in ("Basic bm9ib2R5Om5vdGhpbmc=", "Negotiate abc", "Basic !!"):
            assert await status(served, {**BY_PROXY, "X-Remote-User": "anna", "Authorization": authorization}) == 200


async def test_other_sites_do_not_act_through_a_browser(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        await private(served)
        anna = {**BY_PROXY, "X-Remote-User": "anna"}
        for headers in ({"Origin": "http://evil"}, {"Origin": "null"}):
            assert await status(served, {**anna, **headers}, method="POST", path="/anna/private/") == 403
            assert await status(served, {**anna, **headers}) == 200
        assert await status(served, {**anna, "Origin": served.url}, method="POST", path="/anna/private/") == 400


@pytest.mark.parametrize(("options", "expected"), [({}, 200), ({"restrict_modify": ("root",)}, 403)])
async def test_the_rules_of_the_house_hold_for_those_who_come_by_the_proxy(
    serve: Serve, options: dict[str, Any], expected: int
) -> None:
    async with serve(**trusting(), **options) as served:
        await private(served)
        headers = {**BY_PROXY, "X-Remote-User": "anna"}
        async with served.request("PUT", "/anna/other", headers=headers, json={}) as answer:
            assert answer.status == expected


async def test_a_log_in_through_the_proxy_needs_no_password(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        await private(served)
        headers = {**BY_PROXY, "X-Remote-User": "carl", "X-Remote-Groups": "team"}
        async with served.request("POST", "/+login", headers=headers, json={"user": "carl", "password": ""}) as answer:
            assert answer.status == 200
            token = (await answer.json())["result"]["password"]
        assert await served.engine.store.user("carl") is not None
        assert await status(served, basic("carl", token)) == 200
        async with served.request("POST", "/+login", headers=headers, json={"user": "anna", "password": ""}) as answer:
            assert answer.status == 401
        async with served.request(
            "POST", "/+login", headers=headers, json={"user": "anna", "password": PASSWORD}
        ) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (trusting(secret=""), "remote_user.secret"),
        (trusting(secret="too short"), "remote_user.secret"),
        ({**trusting(), "trusted_proxies": ()}, "trusted_proxies"),
        (trusting(header="X Remote"), "remote_user.header"),
        (trusting(header="X_Remote_User"), "remote_user.header"),
        (trusting(header="Authorization"), "remote_user.header"),
        (trusting(secret_header=""), "remote_user.secret_header"),
        (trusting(groups_header="x-remote-user"), "different names"),
        (trusting(header=""), "remote_user.groups_header"),
    ],
)
async def test_half_a_configuration_does_not_start(serve: Serve, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refused, match=problem) as caught:
        async with serve(**options):
            pass
    assert Path(caught.value.hint.partition(" ")[0]).is_file()  # the document that it names, wherever it is installed


async def test_the_secret_does_not_show_itself(serve: Serve) -> None:
    async with serve(**trusting()) as served:
        assert SECRET not in repr(served.engine.settings)


async def test_an_answer_that_differs_by_proxy_is_not_for_shared_caches(serve: Serve) -> None:
    async with serve(**trusting()) as served, ClientSession() as client:
        await private(served)
        headers = {**BY_PROXY, "X-Remote-User": "anna"}
        async with client.get(f"{served.url}/anna/private/+simple/", headers=headers) as answer:
            assert "public" not in answer.headers.get("Cache-Control", "")


async def test_the_rules_of_the_house_hold_for_those_a_proxy_names(serve: Serve) -> None:
    async with serve(**trusting(), restrict_modify=(":team",)) as served:
        await private(served)
        for groups, expected in (("other", 403), ("team", 200)):
            headers = {**BY_PROXY, "X-Remote-User": "anna", "X-Remote-Groups": groups}
            async with served.request("PUT", f"/anna/{groups}", json={}, headers=headers) as answer:
                assert answer.status == expected
