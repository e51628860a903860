"""Every route x method x role, over the socket, against the table of `permission_table`: refused is refused, and changes nothing.

`/+authcheck` is asked about each of them too. It opens what the route opens, and nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from pkgindex_core.changes import PutAttachment, PutRelease, PutUser
from pkgindex_core.models import Attachment, Release, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel, zip_of
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Route
from pkgindex_http.wire.cookies import form_token
from tests.conftest import Tally
from tests.http import permission_table as table
from tests.http.conftest import PASSWORD, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

_DEMO = ProjectName("demo")
_HELD = build_wheel("demo", "1.0")
_NEW = build_wheel("demo", "1.1")
_BODY_DECIDES = {("upload", "others"), ("push", "others")}
"""A token for another project: which project it is stands in the body, which nginx does not show when it asks."""
_FORMS: dict[str, dict[str, str]] = {
    "POST /+logout": {},
    "POST /+users": {"name": "newcomer", "password": PASSWORD, "again": PASSWORD},
    "POST /{user}/+delete": {"confirm": "anna"},
    "POST /{user}/+account": {"do": "token", "name": "ci"},
    "POST /{user}/+new-index": {"name": "fresh", "step": "save"},
    "POST /{user}/{index}/+edit": {"seen": "", "step": "show"},
    "POST /{user}/{index}/+delete": {"confirm": "INDEX"},
    "POST /{user}/{index}/+upload": {},
    "POST /{user}/{index}/+manage/{project}": {"do": "yank", "filename": _HELD.filename},
    "POST /{user}/{index}/+promote/{project}/{version}": {"to": "anna/target"},
}
"""The fields of forms of pages. The browser has a cookie for them."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PUSH", "OPTIONS")

_NAMED = {"+exemptions": "?purl=pkg:pypi/demo", "+advisories": "?id=X-1"}
"""The queries of deletions whose path does not name the thing."""


class Scene(Struct, frozen=True):
    """A server with a public and a private index of the same content, and everybody's credentials."""

    served: Served
    headers: dict[str, dict[str, str]]
    token_id: str


@asynccontextmanager
async def scene(serve: Serve, index: str) -> AsyncIterator[Scene]:
    """Everything as it is before each request. `index` is the default one."""
    async with serve(default_index=index) as served:
        await served.engine.store.apply([PutUser(User(name="anna", password_hash=await _hash(served)))], who="[test]")
        for name in ("stranger", "reader", "uploader"):
            await served.user(name)
        lists: dict[str, Any] = {"acl_upload": ("anna", "uploader"), "volatile": True}
        await served.index("anna/public", **lists)
        await served.index("anna/private", acl_read=("anna", "reader", "uploader"), **lists)
        await served.index("anna/target", acl_upload=(":AUTHENTICATED:",))
        for name in ("anna/public", "anna/private"):
            await _fill(served, IndexName(name))

        async def token(user: str = "anna", **limits: Any) -> tuple[dict[str, str], str]:
            text, kept = await served.engine.tokens.make(user, who="[test]", **limits)
            return basic("__token__", text), kept.id

        ours = ("anna/public", "anna/private", "anna/target")
        headers = {
            "nobody": {},
            "owner": basic("anna"),
            "login": (await token(kind="login", seconds=60))[0],
            "reads": (await token(actions=("read",)))[0],
            "uploads": (await token(actions=("upload",)))[0],
            "here": (await token(indexes=ours))[0],
            "elsewhere": (await token(indexes=("anna/other",)))[0],
            "project": (await token(projects=("demo",)))[0],
            "others": (await token(projects=("another",)))[0],
            "expired": (await token(seconds=-1))[0],
        }
        # Log-ins, since a password costs more to verify than everything else here.
        for name in ("stranger", "reader", "uploader", "root"):
            headers[name] = (await token(name, kind="login", seconds=60))[0]
        headers["api"], token_id = await token()
        yield Scene(served, headers, token_id)


_hashes: dict[str, str] = {}


async def _hash(served: Served) -> str:
    """The hash of the password as this server makes it, made once: another one is renewed when it is used, and that is a commit."""
    if PASSWORD not in _hashes:
        _hashes[PASSWORD] = await served.engine.passwords.hash(PASSWORD)
    return _hashes[PASSWORD]


async def _fill(served: Served, index: IndexName) -> None:
    await served.put(_HELD, index=index)
    archive = await served.engine.blobs.put(zip_of({"index.html": b"<h1>demo</h1>"}))
    documentation = Attachment(
        kind="doczip", filename="demo-1.0.doc.zip", version="1.0", sha256=archive.sha256, size=archive.size,
        added=served.engine.clock.now(),
    )  # fmt: skip
    release = Release(version="1.0", metadata=b'{"name": "demo", "version": "1.0"}')
    changes = [PutRelease(index, _DEMO, release), PutAttachment(index, _DEMO, documentation)]
    await served.engine.store.apply(changes, who="[test]")


def _address(route: Route, scene: Scene, index: str, project: str = "demo") -> str:
    values = {
        "{at}": str(scene.served.engine.store.seen()),
        "{user}": "newcomer" if (route.method, route.path) == ("PUT", "/{user}[/]") else "anna",
        "{index}": "fresh" if route.method == "PUT" else index.partition("/")[2],
        "{project}": project,
        "{version}": "1.0",
        "{a}": _HELD.sha256[:3],
        "{b}": _HELD.sha256[3:16],
        "{c}": project,
        "{digest}": _HELD.sha256,
        "{namespace}": "acme",
        "{filename}": _HELD.filename,
        "{path...}": "index.html",
        "{id}": scene.token_id,
    }
    path = route.path.removesuffix("[/]")
    for placeholder, value in values.items():
        path = path.replace(placeholder, value)
    assert "{" not in path, f"nothing is said for a placeholder of {route.path}"
    queries = {"/+explain": "?project=demo", "DELETE": _NAMED.get(path.rpartition("/")[2], "")}
    return path + queries.get(path, queries.get(route.method, ""))


def _body(name: str, index: str) -> dict[str, Any]:
    """What makes the request of a route succeed."""
    if name == "GET /+authcheck":
        return {"headers": {"X-Original-URI": f"/{index}/+simple/demo/"}}
    right = table.ROUTES[name][0]
    if name in _FORMS:
        return _form(_FORMS[name], index)
    if right == "upload":
        return {"data": encode_form(upload_parts(_NEW)), "headers": {"Content-Type": CONTENT_TYPE.decode()}}
    bodies: dict[str, Any] = {
        "POST /_/oidc/mint-token": {"token": "x"},
        "POST /_/oidc/burn-token": {"token": "x"},
        "POST /+login": {"user": "anna", "password": PASSWORD},
        "PUT /{user}[/]": {"password": PASSWORD},
        "PATCH /{user}[/]": {"title": "A title"},
        "PUT /{user}/{index}[/]": {"bases": ""},
        "PATCH /{user}/{index}[/]": ["title=A title"],
        "PATCH /{user}/{index}/{project}[/]": ["inheritance_rules=allow all"],
        "POST /{user}/{index}/+exemptions": {"purl": "pkg:pypi/demo", "reason": "a fix"},
        "POST /{user}/+token-create": {"allowed": ["pkg_read"], "projects": ["demo"]},
        "PATCH /{user}/{index}/+f/{a}/{b}/{filename}": {"yanked": True},
        "POST /{user}/{index}/+f/{a}/{b}/{filename}": {"reportversion": "1", "testenvs": {}},
        "PUSH /{user}/{index}[/]": {"name": "demo", "version": "1.0", "targetindex": "anna/target"},
    }
    return {"json": bodies[name]} if name in bodies else {}


def _form(fields: dict[str, str], index: str) -> dict[str, Any]:
    """A form as a browser sends it whose person is known by credentials: with the token for its cookie."""
    given = {"form_token": form_token("key"), **{name: value.replace("INDEX", index) for name, value in fields.items()}}
    cookie = {"Cookie": "pkgindex-form=key"}
    if fields:
        return {"data": given, "headers": cookie}
    parts = [("form_token", None, given["form_token"].encode()), ("content", _NEW.filename, _NEW.data)]
    return {"data": encode_form(parts), "headers": {**cookie, "Content-Type": CONTENT_TYPE.decode()}}


def test_the_table_and_the_router_have_the_same_routes() -> None:
    """A route that nobody has thought about fails here."""
    assert {f"{route.method} {route.path}" for route in ROUTES} == set(table.ROUTES)


@pytest.mark.parametrize("index", ["anna/public", "anna/private"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_who_may_do_what(serve: Serve, route: Route, index: str, tally: Tally) -> None:
    """Every role, each from the same state: the answer is the table's, and what is refused leaves no commit."""
    name = f"{route.method} {route.path}"
    right, status, *command = table.ROUTES[name]
    problems = []
    compared = 0
    waiting = list(table.ROLES)
    while waiting:
        async with scene(serve, index) as here:
            while waiting:
                role = waiting.pop(0)
                expected = table.mark(right, role, private=index == "anna/private")
                before = await here.served.engine.store.head()
                told = await _told(here, route, index, role)
                found, words = await _ask(here, route, index, role)
                changed = await here.served.engine.store.head() != before
                problem = _judge(expected, found, words, status, is_command=bool(command) and route.method != "GET")
                if (
                    expected in "0p"
                    and not problem
                    and "{index}" in route.path
                    and (expected == "0" or "{project}" in route.path)
                ):
                    absent = {"index": "anna/nowhere"} if expected == "0" else {"project": "nowhere"}
                    _, elsewhere = await _ask(here, route, role=role, **{"index": index, **absent})
                    if elsewhere.replace("nowhere", "private" if expected == "0" else "demo") != words:
                        problem = f"says {words!r}, but of what is not there {elsewhere!r}"
                if name != "GET /+authcheck":
                    compared += 1
                    problem += _compare(told, expected, found, by_body=(right, role) in _BODY_DECIDES)
                if changed and expected != "+":
                    problem += " and changed something"
                if problem:
                    problems.append(f"{role}: {problem}")
                if changed:
                    break
    tally("permission matrix: requests", len(table.ROLES))
    tally("+authcheck: cells compared with the route", compared)
    assert not problems, "\n".join([name, *problems])


def _judge(expected: str, found: int, words: str, status: int, *, is_command: bool) -> str:
    wanted = {"+": status, "?": 403 if is_command else 401, "-": 403, "0": 404, "p": 404, "u": 401}[expected]
    return "" if found == wanted else f"{found} instead of {wanted} ({expected}): {words[:160]}"


def _compare(told: int, expected: str, found: int, *, by_body: bool) -> str:
    """What is wrong with the answer of `/+authcheck`, beside that of the route."""
    if expected == "+" and found == 404:  # permitted, and not there
        return "" if told in {200, 403} else f" and +authcheck says {told} of what is not there"
    wanted = 200 if expected == "+" or by_body else 401 if expected == "?" else 403
    return "" if told == wanted else f" and +authcheck says {told} instead of {wanted}, the route {found}"


async def _told(scene: Scene, route: Route, index: str, role: str) -> int:
    """What `/+authcheck` says of a request, with the headers that nginx passes on."""
    given = _body(f"{route.method} {route.path}", index)
    kind = {"Content-Type": "application/json"} if "json" in given else {}
    headers = {**scene.headers[role], **kind, **given.get("headers", {})}
    headers |= {"X-Original-URI": _address(route, scene, index), "X-Original-Method": route.method}
    async with scene.served.get("/+authcheck", headers=headers) as answer:
        return int(answer.status)


async def _ask(scene: Scene, route: Route, index: str, role: str, project: str = "demo") -> tuple[int, str]:
    given = _body(f"{route.method} {route.path}", index)
    headers = {**scene.headers[role], **given.pop("headers", {})}
    path = _address(route, scene, index, project)
    async with scene.served.request(route.method, path, headers=headers, **given) as answer:
        words = (await answer.read()).decode(errors="replace")
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        return answer.status, words


async def test_other_methods_do_nothing(serve: Serve, tally: Tally) -> None:
    """A method that a path does not have is 404 or 405, for nobody as for root, and changes nothing."""
    asked = 0
    async with scene(serve, "anna/public") as here:
        before = await here.served.engine.store.head()
        known = {(route.method, route.path) for route in ROUTES}
        for path, route in {route.path: route for route in ROUTES}.items():
            for method in _METHODS:
                if (method, path) in known or (method == "HEAD" and ("GET", path) in known):
                    continue
                for role in ("nobody", "owner", "root"):
                    address = _address(route, here, "anna/public")
                    async with here.served.request(method, address, headers=here.headers[role]) as answer:
                        assert answer.status in {401, 404, 405}, (method, path, role, answer.status)
                    asked += 1
        assert await here.served.engine.store.head() == before
    tally("permission matrix: requests", asked)
