"""The permission test: every route says what it needs, and is refused to who lacks it."""

from __future__ import annotations

import pytest

from pkgindex_http.routes import ROUTES, Checked, OnIndex, Public, Route, RouteTable
from tests.http.conftest import Serve, basic


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_a_permission(route: Route) -> None:
    assert isinstance(route.permission, Public | OnIndex | Checked)
    assert route.summary
    if isinstance(route.permission, Public):
        assert route.permission.why
        assert route.method == "GET" or route.path in {"/+login", "/legacy"}


def test_no_changing_method_hangs_on_a_reading_permission() -> None:
    for route in ROUTES:
        if route.method != "GET" and not isinstance(route.permission, Public):
            assert route.permission.action not in {"read", "explain", "status"}, route


@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if not isinstance(each.permission, Public)],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_private_index_answers_nothing_to_strangers(serve: Serve, route: Route) -> None:
    """Anonymous: 401 with a challenge (403 where devpi's client sends a command). With credentials but without the right: the same 404 as an index that is not there."""
    async with serve(default_index="anna/private") as served:
        owner = await served.user("anna")
        stranger = await served.user("ben")
        await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",))
        values = {
            "{user}": "anna",
            "{index}": "private",
            "{project}": "demo",
            "{version}": "1.0",
            "{a}": "abc",
            "{b}": "0" * 13,
            "{filename}": "demo-1.0-py3-none-any.whl",
        }
        path = route.path.removesuffix("[/]")
        for placeholder, value in values.items():
            path = path.replace(placeholder, value)
        if route.path == "/+explain":
            path += "?project=demo"
        async with served.request(route.method, path) as answer:
            if route.envelope and route.method != "GET":
                assert answer.status == 403
                assert answer.content_type == "application/json"
            else:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert "anna" not in await answer.text()
        async with served.request(route.method, path, headers=stranger) as answer:
            assert answer.status == 404
            text = await answer.text()
        missing = path.replace("private", "nowhere")
        if missing != path:
            async with served.request(route.method, missing, headers=stranger) as answer:
                assert answer.status == 404
                assert (await answer.text()).replace("nowhere", "private") == text
        async with served.request(route.method, path, headers=owner) as answer:
            assert answer.status not in {401, 403, 500}


def test_literals_win_over_placeholders() -> None:
    table = RouteTable()
    match = table.match(("simple", "demo", ""))
    assert match is not None
    assert match.methods["GET"].path == "/simple/{project}/"
    assert table.match(("root", "dev", "+nothing", "")) is None
    assert table.match(("", "dev")) is None


async def test_wrong_credentials_are_refused_everywhere(serve: Serve) -> None:
    async with serve() as served:
        for headers in (
            basic("root", "wrong"),
            basic("nobody"),
            {"Authorization": "Basic !!"},
            {"Authorization": "Odd x"},
        ):
            async with served.get("/simple/", headers=headers) as answer:
                assert answer.status == 401


async def test_what_can_only_be_deleted_is_no_page(serve: Serve) -> None:
    async with serve() as served:
        for path in ("/root/dev/demo", "/root/dev/demo/", "/simple/demo/1.0", "/root/dev/"):
            async with served.get(path) as answer:
                assert answer.status == 404
            async with served.request("PUT", path) as answer:
                assert answer.status == 405
