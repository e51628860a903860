"""`/+authcheck` says what the route that is asked about would say to the same credentials."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import OnIndex, Public, Route
from tests.http.conftest import Serve, Served, basic


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
        ("//anna/private/+simple/", 403),
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
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Prefix": "/pypi"}),
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
        text, _ = await served.engine.identity.make_token("anna", who="[test]", projects=("demo",))
        token = basic("__token__", text)
        assert await checked(served, "/anna/private/+simple/Demo/", token) == 200
        assert await checked(served, "/anna/private/+simple/other/", token) == 403


async def test_wrong_credentials_are_401_and_no_url_is_400(serve: Serve) -> None:
    async with serve() as served:
        assert await checked(served, "/root/dev/+simple/", basic("root", "wrong")) == 401
        async with served.get("/+authcheck") as answer:
            assert answer.status == 400


async def test_a_proxy_that_does_not_say_the_method_lets_the_log_in_through(serve: Serve) -> None:
    """devpi-lockdown's configuration for nginx has no X-Original-Method; a URL that has no GET is asked about as what it is."""
    async with serve() as served:
        assert await checked(served, "/+login") == 200
        assert await checked(served, "/legacy/") == 401
        assert await checked(served, "/legacy/", basic("root")) == 200
        assert await checked(served, "/+login", method="GET") == 403
