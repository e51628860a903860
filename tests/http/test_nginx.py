"""The nginx configurations of the documentation, in a real nginx before a real server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_http.requests import Ask
from pkgindex_http.settings import RemoteUser
from tests.directory import free_port
from tests.http.conftest import Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.proxy import nginx

PAGE = Path(__file__).parents[2] / "pkgindex_http/PROXIES.md"
# nginx takes passwords as they are, too.
HTPASSWD = "anna:{PLAIN}word\nben:{PLAIN}word\n"


def example(name: str) -> str:
    """A configuration as the documentation shows it."""
    found = re.search(rf"<!-- nginx: {name} -->\n```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@asynccontextmanager
async def behind_nginx(served: Served, place: Path, name: str) -> AsyncIterator[str]:
    """Run nginx with an example in front of a server; the URL under which it answers."""
    port = free_port()
    host, own = served.address
    server = (
        example(name)
        .replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        .replace("http://127.0.0.1:3141", f"http://{host}:{own}")
        .replace("/etc/nginx/packages.htpasswd", str(place / "htpasswd"))
    )
    (place / "htpasswd").write_text(HTPASSWD)
    async with nginx(place, server, port):
        yield f"http://127.0.0.1:{port}"


async def test_nginx_asks_before_it_lets_anybody_in(serve: Serve, tmp_path: Path, wheel: BuiltFile) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",))
        async with behind_nginx(served, tmp_path, "authcheck") as url, aiohttp.ClientSession() as client:
            page = f"{url}/anna/private/+simple/"
            async with client.get(page) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            for headers, expected in ((anna, 200), (ben, 403), (basic("anna", "wrong"), 401)):
                async with client.get(page, headers=headers) as answer:
                    assert answer.status == expected
            async with client.get(f"{url}/root/dev/+simple/") as answer:
                assert answer.status == 200
            async with client.get(f"{url}/+authcheck", headers={"X-Original-URI": "/anna/private/+simple/"}) as answer:
                assert answer.status == 404  # internal: only nginx asks
            for headers, expected in ((ben, 403), (anna, 200)):
                body, kind = encode_form(upload_parts(wheel)), CONTENT_TYPE.decode()
                async with client.post(
                    f"{url}/anna/private/", data=body, headers={**headers, "Content-Type": kind}
                ) as answer:
                    assert answer.status == expected


_FORGED = {
    "X-Forwarded-Prefix": "/anna/private/+simple",
    "X-Forwarded-Host": "evil.example.org",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "192.0.2.1",
    "X-Original-URI": "/root/dev/+simple/",
    "X-Original-Method": "GET",
    "X-Remote-User": "anna",
    "X-Proxy-Secret": "x" * 20,
}
"""What a client sends that would like to be taken for the proxy."""


@pytest.mark.parametrize("name", ["authcheck", "remote user"])
async def test_what_a_client_forges_does_not_come_through(serve: Serve, tmp_path: Path, name: str) -> None:
    """nginx passes on what its configuration does not set: the examples set everything that a server behind it believes."""
    seen: list[tuple[str, str]] = []
    forged = {**_FORGED, "X-Remote-User": "anna" if name == "authcheck" else "root"}
    options = {"remote_user": RemoteUser(header="X-Remote-User", secret="x" * 20)} if name == "authcheck" else {}
    async with serve(trusted_proxies=("127.0.0.1",), **options) as served:
        await served.user("anna", "word")
        await served.index("anna/private", acl_read=("anna",))
        locate = served.server.locate

        def watched(request: web.BaseRequest, target: str, method: str) -> Ask:
            seen.extend((key, value) for key, value in request.headers.items() if value in forged.values())
            return locate(request, target, method)

        served.server.locate = watched  # type: ignore[method-assign]  # every request passes it
        async with behind_nginx(served, tmp_path, name) as url, aiohttp.ClientSession() as client:
            credentials = basic("anna", "word") if name == "remote user" else {}
            async with client.get(f"{url}/+api", headers={**forged, **credentials}) as answer:
                assert answer.status == 200
                assert (await answer.json())["result"]["login"] == f"{url}/+login"
            for path in ("/anna/private/+simple/", "/anna/private/+simple/secret/", "/anna"):
                async with client.get(f"{url}{path}", headers=forged) as answer:
                    assert answer.status in {401, 403}, path
            async with client.post(f"{url}/anna/private/", headers=forged, data=b"x") as answer:
                assert answer.status == 401
    # nginx sets these two in the question alone; to the server itself they say nothing.
    assert {key for key, _ in seen} <= {"X-Original-URI", "X-Original-Method"}, seen


async def test_nginx_names_the_user(serve: Serve, tmp_path: Path) -> None:
    secret = re.search(r'X-Proxy-Secret "(.*)";', example("remote user"))
    assert secret is not None
    remote = RemoteUser(header="X-Remote-User", secret=secret[1])
    async with serve(trusted_proxies=("127.0.0.1",), remote_user=remote) as served:
        await served.user("anna", "another word")
        await served.index("anna/private", acl_read=("anna",))
        async with behind_nginx(served, tmp_path, "remote user") as url, aiohttp.ClientSession() as client:
            page = f"{url}/anna/private/+simple/"
            for headers, expected in (
                (basic("anna", "word"), 200),
                (basic("ben", "word"), 404),
                (basic("ben", "word") | {"X-Remote-User": "anna"}, 404),
                (basic("anna", "another word"), 401),
                ({"X-Remote-User": "anna"}, 401),
                ({}, 401),
            ):
                async with client.get(page, headers=headers) as answer:
                    assert answer.status == expected, headers
