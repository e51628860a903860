"""`/+authcheck` says what the route that is asked about would say to the same credentials."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import OnIndex, Public, Route
from tests.conftest import Tally
from tests.http.conftest import Serve, Served, basic

_DEMO = build_wheel("demo", "1.0")
_VALUES = {
    "{user}": "anna",
    "{index}": "public",
    "{project}": "demo",
    "{version}": "1.0",
    "{a}": _DEMO.sha256[:3],
    "{b}": _DEMO.sha256[3:16],
    "{c}": "demo",
    "{filename}": _DEMO.filename,
    "{path...}": "index.html",
    "{id}": "0123456789ab",
}


async def checked(served: Served, uri: str, headers: dict[str, str] | None = None, *, method: str = "") -> int:
    extra = {"X-Original-Method": method} if method else {}
    given = {**(headers or {}), "X-Original-URI": uri, **extra}
    async with served.get("/+authcheck", headers=given) as answer:
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert answer.headers["Cache-Control"] == "no-store"
        return int(answer.status)


@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if isinstance(each.permission, OnIndex)],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_the_answer_is_that_of_the_route(serve: Serve, route: Route) -> None:
    """For the owner, a stranger and nobody, on a private index and on one that is missing."""
    async with serve(default_index="anna/private") as served:
        people: dict[str, dict[str, str]] = {
            "owner": await served.user("anna"),
            "stranger": await served.user("ben"),
            "nobody": {},
        }
        await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",))
        values = {
            "user": "anna",
            "index": "private",
            "project": "demo",
            "version": "1.0",
            "a": "abc",
            "b": "0" * 13,
            "filename": "demo-1.0.tar.gz",
        }
        path = route.path.removesuffix("[/]")
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        for where in {path, path.replace("private", "nowhere")}:
            for who, headers in people.items():
                here = who == "owner" and (where == path)
                expected = 200 if here else 401 if who == "nobody" and where == path else 403
                assert await checked(served, where, headers, method=route.method) == expected, (where, who)


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if isinstance(each.permission, Public)], ids=lambda route: route.path
)
async def test_what_is_open_is_open(serve: Serve, route: Route) -> None:
    async with serve() as served:
        assert await checked(served, route.path.removesuffix("[/]"), method=route.method) == 200


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/anna/private/+simple/", 200),
        ("/anna/private/+simple/?x=/anna/dev", 200),
        ("http://packages.example.org/anna/private/+simple/", 200),
        ("https://user:word@packages.example.org/anna/private/+simple/", 200),
        ("/anna/pr%69vate/+simple/", 200),
        ("/root/dev/../../anna/private/+simple/", 403),
        ("/root/dev/%2e%2e/private/+simple/", 403),
        ("//anna/private/+simple/", 200),
        ("/anna//private/+simple/", 403),
        ("anna/private/+simple/", 403),
        ("/anna/private/+nothing", 403),
        ("/anna/private/+simple/a/b/c/d/e", 403),
        ("\\anna", 403),
    ],
)
async def test_how_the_url_may_be_written(serve: Serve, uri: str, expected: int) -> None:
    """What the server itself would not read as a URL of the index is permitted to nobody."""
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        assert await checked(served, uri, anna) == expected


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"outside_url": "https://packages.example.org/pypi"}, {}),
        # Beside the setting the header says nothing (see below).
        (
            {"outside_url": "https://packages.example.org/pypi", "trusted_proxies": ("127.0.0.1",)},
            {"X-Forwarded-Prefix": "/other"},
        ),
    ],
)
async def test_a_prefix_is_taken_off(serve: Serve, options: dict[str, Any], headers: dict[str, str]) -> None:
    async with serve(**options) as served:
        anna = await served.user("anna") | headers
        await served.index("anna/private", acl_read=("anna",))
        assert await checked(served, "/pypi/anna/private/+simple/", anna) == 200
        assert await checked(served, "/pypi/anna/private/+simple/", headers) == 401
        assert await checked(served, "https://packages.example.org/pypi/anna/private/+simple/", anna) == 200
        assert await checked(served, "/pypi/pypi/anna/private/+simple/", anna) == 403


@pytest.mark.parametrize(
    ("mount", "spelled"),
    [
        ("/pypi", "/pypi"),
        ("/pypi", "/%70ypi"),
        ("/pypi", "/%70%79%70%69"),
        ("/pypi", "//pypi"),
        ("/pypi", "///%70ypi"),
        ("/pypi", "/pypi/"),
        ("/pypi/", "/pypi"),
        ("/%70ypi", "/pypi"),
        ("/pypi/of+us", "//pypi/of%2Bus"),
        ("", ""),
        ("", "/"),
    ],
)
async def test_a_prefix_is_taken_off_however_it_is_spelled(serve: Serve, mount: str, spelled: str) -> None:
    """nginx decodes and merges before it compares. What stays on by mistake is the URL of another index, whose owner lets everybody in."""
    async with serve(outside_url=f"https://packages.example.org{mount}") as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        await served.user("pypi")
        await served.index("pypi/anna")
        await served.index("pypi/of+us")
        assert await checked(served, f"{spelled}/anna/private/") == 401
        assert await checked(served, f"{spelled}/anna/private") == 401
        assert await checked(served, f"{spelled}/anna/private?x=/pypi/anna") == 401
        assert await checked(served, f"https://packages.example.org{spelled}/anna/private", anna) == 200
        assert await checked(served, f"{spelled}/") == await checked(served, spelled or "/") == 200


@pytest.mark.parametrize(
    "path", ["/pypi%2Fanna/private", "/pypi//../anna/private", "/./pypi/anna/private", "/%2Fpypi/anna", "pypi/"]
)
async def test_a_prefix_that_the_server_does_not_read_is_permitted_to_nobody(serve: Serve, path: str) -> None:
    async with serve(outside_url="https://packages.example.org/pypi") as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        assert await checked(served, path, anna) == 403


async def test_a_header_of_the_client_takes_nothing_off(serve: Serve) -> None:
    """nginx passes on what its configuration does not set: a client would choose which URL is judged."""
    async with serve(trusted_proxies=("127.0.0.1",)) as served:
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        for prefix in ("/anna/private/+simple", "/anna/private", "/anna"):
            header = {"X-Forwarded-Prefix": prefix}
            assert await checked(served, "/anna/private/+simple/simple/", header) == 401
            assert await checked(served, "/anna/private/anna", header) == 401


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_wrong_credentials_open_what_they_open_at_the_route(serve: Serve, route: Route, tally: Tally) -> None:
    async with serve(default_index="anna/public") as served:
        await served.user("anna")
        await served.index("anna/public", acl_upload=("anna",), volatile=True)
        await served.put(_DEMO, index=IndexName("anna/public"))
        path = route.path.removesuffix("[/]")
        for name, value in _VALUES.items():
            path = path.replace(name, value)
        path += "?project=demo" if path == "/+explain" else ""
        # Trusted publishing is off, which is 403 to everybody.
        for headers in (basic("anna", "wrong"), {"Authorization": "Odd x"}, basic("nobody-at-all", "x")):
            for kind in ("application/json", "text/html"):
                given = {**headers, "Accept": kind, "Content-Type": kind}
                told = await checked(served, path, given, method=route.method)
                async with served.request(route.method, path, headers=given) as answer:
                    opened = answer.status not in {401, 403}
                    if (
                        not (route.envelope and route.path == "/+login")
                        and "+authcheck" not in path
                        and "/_/oidc/" not in path
                    ):
                        assert (told == 200) == opened, (path, headers, kind, told, answer.status)
                        tally("+authcheck: cells compared with the route", 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/+explain?project=demo&index=anna/private"),
        ("GET", "/+explain?project=demo&index=anna/public"),
        ("GET", "/anna/private?no_projects="),
        ("GET", "/anna/private/"),
        ("GET", "{file}.metadata"),
        ("HEAD", "{file}"),
        ("GET", "/anna/kept"),
        ("DELETE", "/anna/kept"),
        ("DELETE", "/anna/kept/demo"),
        ("DELETE", "/anna/kept/demo/1.0"),
        ("DELETE", "/anna"),
        ("GET", "/hidden"),
        ("GET", "/nobody-at-all"),
        ("PUT", "/anna/private"),
        ("PUT", "/hidden"),
        ("POST", "/anna/private/"),
        ("POST", "/root/pypi/"),
    ],
)
async def test_what_a_query_an_option_or_an_origin_decides(serve: Serve, method: str, path: str, tally: Tally) -> None:
    """Beside the matrix: cells that depend on more than route and role. What the route refuses, `/+authcheck` refuses."""
    async with serve(default_index="anna/public") as served:
        people = {
            "nobody": {},
            "anna": await served.user("anna"),
            "ben": await served.user("ben"),
            "root": basic("root"),
        }
        await served.user("hidden")
        for name, options in (
            ("anna/public", {}),
            ("anna/private", {"acl_read": ("anna",)}),
            ("anna/kept", {"volatile": False}),
            ("hidden/private", {"acl_read": ("hidden",)}),
            ("root/pypi", {"type": "mirror", "mirror_url": "https://pypi.invalid/simple/"}),
        ):
            await served.index(name, **{"acl_upload": ("anna",), "volatile": True, **options})
        file = await served.put(_DEMO, index=IndexName("anna/private"))
        await served.put(_DEMO, index=IndexName("anna/kept"))
        for projects in (("demo",), ("other",)):
            text, _ = await served.engine.tokens.make("anna", who="[test]", projects=projects)
            people[projects[0]] = basic("__token__", text)
        assert file.sha256
        path = path.format(file=f"/anna/private/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}")
        for who, headers in people.items():
            for origin in ({}, {"Origin": "https://elsewhere.example.org"}):
                given = {
                    **headers,
                    **origin,
                    "Content-Type": "multipart/form-data; boundary=x",
                    "Accept": "application/json",
                }
                told = await checked(served, path, given, method=method)
                if method == "DELETE" and not origin and who in {"anna", "root", "demo"} and told == 200:
                    continue  # it would be gone; who may is the matrix's subject
                async with served.request(method, path, headers=given) as answer:
                    refused = answer.status in {401, 403, 404}
                    assert (told != 200) == refused, (who, origin, told, answer.status, await answer.text())
                    tally("+authcheck: cells compared with the route", 1)


async def test_methods_have_their_own_permissions(serve: Serve) -> None:
    async with serve() as served:
        ben = await served.user("ben")
        await served.user("anna")
        await served.index("anna/dev", acl_upload=("anna",))
        assert await checked(served, "/anna/dev/+simple/", ben) == 200
        assert await checked(served, "/anna/dev/+simple/", ben, method="HEAD") == 200
        assert await checked(served, "/legacy/", ben, method="POST") == 403
        assert await checked(served, "/legacy/", method="POST") == 401
        assert await checked(served, "/anna/dev/+simple/", ben, method="BREW") == 403
        assert await checked(served, "/ben/+tokens", ben) == 200
        assert await checked(served, "/root/+tokens", ben) == 403


async def test_a_token_for_one_project_opens_that_ones_page(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        text, _ = await served.engine.tokens.make("anna", who="[test]", projects=("demo",))
        token = basic("__token__", text)
        assert await checked(served, "/anna/private/+simple/Demo/", token) == 200
        assert await checked(served, "/anna/private/+simple/other/", token) == 403


async def test_wrong_credentials_are_401_and_no_url_is_400(serve: Serve) -> None:
    async with serve() as served:
        assert await checked(served, "/root/dev/+simple/", basic("root", "wrong")) == 401
        async with served.get("/+authcheck") as answer:
            assert answer.status == 400


async def test_a_proxy_that_does_not_say_the_method_lets_the_log_in_through(serve: Serve) -> None:
    """devpi-lockdown's configuration for nginx has no X-Original-Method. A URL without a GET is checked by its own method."""
    async with serve() as served:
        assert await checked(served, "/+login") == 200
        assert await checked(served, "/legacy/") == 401
        assert await checked(served, "/legacy/", basic("root")) == 200
        assert await checked(served, "/+login", method="PUT") == 403


@pytest.mark.parametrize(
    "condition",
    [
        {"If-Match": '"x"'},
        {"If-Match": "*"},
        {"If-None-Match": "*"},
        {"If-None-Match": '"x"'},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"},
        {"Range": "bytes=0-0", "If-Range": '"x"'},
        {"Range": "bytes=100-"},
    ],
)
async def test_preconditions_are_about_the_page(serve: Serve, condition: dict[str, str]) -> None:
    """nginx passes the client's on, and understands 200, 401 and 403 alone."""
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        await served.index("anna/private", acl_read=("anna",))
        for who, expected in ((anna, 200), (ben, 403), ({}, 401)):
            assert await checked(served, "/anna/private/+simple/", who | condition) == expected
