"""The permission test: every route says what it needs, and is refused to who lacks it."""

from __future__ import annotations

import pytest

from pkgindex_core.rules.permissions import ABOUT_A_USER, Action
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Checked, Glanced, OnIndex, Public, Route, RouteTable
from pkgindex_http.wire.paths import split_path
from pkgindex_http.wire.replies import Reply
from tests.http.conftest import Serve, basic


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_a_permission(route: Route) -> None:
    assert isinstance(route.permission, Public | OnIndex | Checked | Glanced)
    assert route.summary
    if isinstance(route.permission, Public | Glanced):
        assert route.permission.why
        assert route.method == "GET" or route.path in {
            "/+login", "/+logout", "/legacy", "/_/oidc/mint-token", "/_/oidc/burn-token",
            "/+osv/v1/query", "/+osv/v1/querybatch",
        }  # fmt: skip


def test_no_changing_method_hangs_on_a_reading_permission() -> None:
    questions = {"/pypi[/]", "/RPC2"}
    """XML-RPC asks by POST."""
    for route in ROUTES:
        if route.method != "GET" and route.path not in questions and isinstance(route.permission, OnIndex | Checked):
            assert route.permission.action not in {"read", "explain", "status"}, route


@pytest.mark.parametrize(
    "route",
    [
        each
        for each in ROUTES
        # Users are hidden and shown by rules of their own (`test_accounts`, `test_log_in_pages`), and so is where an index is made for one.
        # Counts are shown of the indexes that one may read (`test_metrics`), and the feed has those that one may copy (`test_replicas`).
        # Decisions are listed about the files of which one may ask why (`test_policies`).
        if isinstance(each.permission, OnIndex | Checked)
        and each.path not in {"/{user}[/]", "/{user}/+delete", "/+users", "/+changes", "/+decisions"}
        and each.permission.action not in {Action.INDEX_CREATE, Action.METRICS}
    ],
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
            "{id}": "0123456789ab",
            "{a}": "abc",
            "{b}": "0" * 13,
            "{c}": "demo",
            "{filename}": "demo-1.0-py3-none-any.whl",
            "{path...}": "index.html",
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
            assert isinstance(route.permission, OnIndex | Checked)
            assert answer.status == (403 if route.permission.action in ABOUT_A_USER else 404)
            text = await answer.text()
        missing = path.replace("private", "nowhere")
        if missing != path:
            async with served.request(route.method, missing, headers=stranger) as answer:
                assert answer.status == 404
                assert (await answer.text()).replace("nowhere", "private") == text
        async with served.request(route.method, path, headers=owner) as answer:
            assert answer.status not in {401, 403, 500}


def test_literals_win_over_placeholders() -> None:
    table = RouteTable(ROUTES)
    match = table.match(("simple", "demo", ""))
    assert match is not None
    assert match.methods["GET"].path == "/simple/{project}/"
    assert table.match(("root", "dev", "+nothing", "")) is None
    assert table.match(("", "dev")) is None


async def _answer(_: object) -> Reply:
    return Reply()


def _table(*paths: str) -> RouteTable:
    return RouteTable(tuple(Route("GET", path, Public("test"), _answer, "test") for path in paths))


@pytest.mark.parametrize(
    ("path", "route", "rest"),
    [
        ("/a/+doc/index.html", "/{project}/+doc/{path...}", "index.html"),
        ("/a/+doc/", "/{project}/+doc/{path...}", ""),
        ("/a/+doc/b/+c/d/", "/{project}/+doc/{path...}", "b/+c/d/"),
        ("/a/+doc/b%20c", "/{project}/+doc/{path...}", "b c"),
        ("/a/+doc/about", "/{project}/+doc/about", None),
        ("/a/+doc/about/us", "/{project}/+doc/{path...}", "about/us"),
        ("/a/+doc/one/two", "/{project}/+doc/{page}/two", None),
        ("/a/+doc/one/three", "/{project}/+doc/{path...}", "one/three"),
        ("/a/+doc", None, None),
        ("/+a/+doc/x", None, None),
        ("/a/+doc/../x", None, None),
        ("/a/+doc/%2e%2e/x", None, None),
        ("/a/+doc/x%2fy", None, None),
        ("/a/+doc/x%5cy", None, None),
        ("/a/+doc/x//y", None, None),
        ("/a/+doc/x%00", None, None),
    ],
)
def test_the_rest_of_a_path_is_taken_last_and_whole(path: str, route: str | None, rest: str | None) -> None:
    """Literals first, then placeholders, then the rest; what `paths` refuses is refused in it too."""
    table = _table("/{project}/+doc/{path...}", "/{project}/+doc/about", "/{project}/+doc/{page}/two")
    segments = split_path(path)
    match = table.match(segments) if segments is not None else None
    assert (match.methods["GET"].path if match else None) == route
    assert (match.values.get("path") if match else None) == rest


def test_the_rest_of_a_path_stands_at_its_end() -> None:
    with pytest.raises(LookupError):
        _table("/{path...}/x")


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
        for path in ("/root/dev/demo/refresh", "/simple/demo/1.0", "/legacy"):
            async with served.get(path) as answer:
                assert answer.status == 404
            async with served.request("PUT", path) as answer:
                assert answer.status == 405
