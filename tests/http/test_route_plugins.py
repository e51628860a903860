"""Routes of plugins: served with their permission, kept apart from names of users, and refused at the start when something is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Provider, hookimpl
from pkgindex_core.plugins import load_plugins
from pkgindex_core.rules.permissions import Action
from pkgindex_http import opening, plugin
from pkgindex_http.commands.serving import serve as run_server
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Checked, OnIndex, Public, Route, RouteTable, Variant
from pkgindex_http.settings import ServerSettings
from pkgindex_http.wire.replies import Reply, json_reply
from tests.http.conftest import PASSWORD, Serve, basic

READ = OnIndex(Action.READ, about="index")


async def answer(ask: Ask) -> Reply:
    return json_reply({"who": ask.principal.label, "index": ask.index, "values": dict(ask.values)})


class Offering:
    """A plugin with routes below a name."""

    def __init__(self, name: str, *routes: Any) -> None:
        self.name = name
        self.routes = routes

    @hookimpl
    def pkgindex_routes(self) -> list[Provider[Any]]:
        return [Provider(name=self.name, summary="a fake", make=lambda _context: self.routes)]


class One(Offering):
    """A plugin that returns its route instead of a list."""

    def __init__(self, name: str, single: Route) -> None:
        super().__init__(name)
        self.routes = single  # type: ignore[assignment]  # wrong on purpose


def route(path: str, permission: Any = READ, method: str = "GET", **more: Any) -> Route:
    return Route(method, path, permission, answer, "a fake", **more)


async def test_a_plugins_route_asks_for_its_permission_first(serve: Serve) -> None:
    offering = Offering(
        "hello",
        route("/+hello", Public("a test")),
        route("/{user}/{index}/+hello/{word}[/]"),
        route("/{user}/{index}/+hello/{word}", OnIndex(Action.INDEX_MODIFY, about="index"), method="POST"),
    )
    async with serve(plugins=load_plugins(program=plugin, extra=[offering], entry_points=False)) as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        async with served.get("/+hello") as said:
            assert (said.status, (await said.json())["index"]) == (200, "root/dev")
        for headers, status in (({}, 401), (basic("root"), 200), (anna, 200), (basic("anna", "wrong"), 401)):
            async with served.get("/anna/private/+hello/there/", headers=headers) as said:
                assert said.status == status
        async with served.get("/anna/private/+hello/there", headers=anna) as said:
            expected = {"user": "anna", "index": "private", "word": "there"}
            assert await said.json() == {"who": "anna", "index": "anna/private", "values": expected}
        async with served.request("POST", "/root/dev/+hello/there", headers=anna) as said:
            assert said.status == 403
        async with served.request("PUT", "/root/dev/+hello/there") as said:
            assert (said.status, said.headers["Allow"]) == (405, "HEAD, GET, POST")
        async with served.get("/+hello/", headers=basic("root", PASSWORD)) as said:
            assert said.status == 404


SOURCE = r"plugin 'tests\.http\.test_route_plugins\.Offering' \(handed in by the program; .*\)"


@pytest.mark.parametrize(
    ("offering", "problem"),
    [
        (Offering("hello", route("/+hello", None)), f"{SOURCE}: GET /\\+hello: it has no permission"),
        (
            Offering("hello", route("/+hello", variants=(Variant(lambda _: True, answer, "read"),))),  # type: ignore[arg-type]  # wrong on purpose
            "it has no permission",
        ),
        (One("hello", route("/+hello")), "make returned a Route; it must return a list of Routes"),
        (
            Offering("hello", Route("GET", "/+hello", READ, lambda _: json_reply({}), "a fake")),  # type: ignore[arg-type, return-value]  # wrong on purpose
            "the handler must be a coroutine function; write it with async def",
        ),
        (Offering("hello", "GET /"), "'GET /' is not a Route"),
        (Offering("hello", route("/hello")), r"the path must begin with /\+hello or /\{user\}/\{index\}/\+hello"),
        (Offering("hello", route("/{user}/+hello")), "the path must begin with"),
        (Offering("hello", route("/{user}/{index}/{project}/+hello")), "the path must begin with"),
        (Offering("hello", route("/+hello-more")), "the path must begin with"),
        (Offering("Hello", route("/+Hello")), "the provider's name 'Hello' cannot be part of a URL"),
        (Offering("hello", route("/+hello", method="get")), "the method must be written in capitals"),
        (
            Offering("hello", route("/+hello/{name}", OnIndex(Action.READ, about="project"))),
            r"a permission about a project needs \{project\} in the path",
        ),
        (
            Offering("hello", route("/+hello/{a}", OnIndex(Action.READ, about="file"))),
            r"a permission about a file needs \{filename\} in the path",
        ),
        (
            Offering("simple", route("/{user}/{index}/+simple/")),
            rf"{SOURCE} has routes below \+simple, which is taken by plugin 'pkgindex_http.plugin' \(pkgindex",
        ),
        (Offering("hello", route("/+hello/{a}"), route("/+hello/{b}")), r"two routes for GET /\+hello/\{b\}"),
    ],
)
async def test_a_wrong_route_ends_the_start(offering: Offering, problem: str, serve: Serve) -> None:
    with pytest.raises(Refused, match=problem):
        async with serve(plugins=load_plugins(program=plugin, extra=[offering], entry_points=False)):
            pass


async def test_a_start_that_a_wrong_route_ends_begins_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = load_plugins(program=plugin, extra=[Offering("hello", "GET /")], entry_points=False)
    monkeypatch.setattr(opening, "load_plugins", lambda **_: wrong)
    settings = ServerSettings(data=tmp_path, port=0)
    with pytest.raises(Refused, match="is not a Route"):
        await run_server(settings, [])
    async with Engine.open(settings) as engine:
        assert await engine.store.head() == 0
    assert not (tmp_path / PASSWORD_FILE).exists()


@pytest.mark.parametrize("paths", [("/+hello/{a}/{b}", "/+hello/{b}/{a}"), ("/+hello/{a...}", "/+hello/{b...}")])
async def test_placeholders_in_one_place_have_one_name(paths: tuple[str, str], serve: Serve) -> None:
    """A right is asked for what the path names, and a handler sees the same."""
    offering = Offering("hello", route(paths[0]), route(paths[1], method="POST"))
    with pytest.raises(Refused, match=r"GET /\+hello/.* and POST /\+hello/.* name their placeholders differently"):
        async with serve(plugins=load_plugins(program=plugin, extra=[offering], entry_points=False)):
            pass


def test_two_plugins_of_one_name_are_both_named() -> None:
    with pytest.raises(Refused) as refused:
        load_plugins(
            extra=[Offering("hello", route("/+hello/a")), Offering("hello", route("/+hello/b"))], entry_points=False
        )
    (problem,) = refused.value.problems
    assert problem.startswith("pkgindex_routes: 'hello' is offered by plugin ")
    assert problem.count("test_route_plugins.Offering") == 2


async def test_without_the_servers_own_routes_there_is_no_server(serve: Serve) -> None:
    with pytest.raises(Refused, match="without the routes of the server"):
        async with serve(plugins=load_plugins(entry_points=False)):
            pass


def test_no_text_of_a_user_reaches_a_plugins_route() -> None:
    """A placeholder never takes a segment with `+` before it, and names with one are refused."""
    table = RouteTable((route("/{user}/{index}"), route("/+hello"), route("/{user}/{index}/+hello"), route("/{user}")))
    found = {path: table.match(tuple(path.split("/"))) for path in ("+hello", "a/+hello", "a/b/+hello", "+b/+hello")}
    assert {path: match.methods["GET"].path if match else None for path, match in found.items()} == {
        "+hello": "/+hello",
        "a/+hello": None,
        "a/b/+hello": "/{user}/{index}/+hello",
        "+b/+hello": None,
    }


async def test_the_permission_of_a_check_is_asked_too(serve: Serve) -> None:
    async def refuse(ask: Ask) -> None:
        raise Refused(f"not {ask.values['word']}")

    offering = Offering("hello", route("/+hello/{word}", Checked(Action.ADMIN, refuse)))
    loaded = load_plugins(program=plugin, extra=[offering], entry_points=False)
    async with serve(plugins=loaded) as served, served.get("/+hello/now") as said:
        assert (said.status, "not now" in await said.text()) == (400, True)


async def test_a_handler_without_an_answer_is_an_error_of_the_server(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def forget(_ask: Ask) -> None:
        pass

    forgetful = Route("GET", "/+hello", Public("a test"), forget, "a fake")  # type: ignore[arg-type]  # wrong on purpose
    loaded = load_plugins(program=plugin, extra=[Offering("hello", forgetful)], entry_points=False)
    async with serve(plugins=loaded) as served, served.get("/+hello") as said:
        assert (said.status, "the server failed; the request is not the cause" in await said.text()) == (500, True)
    assert "the handler of GET /+hello returned NoneType and no answer" in caplog.text


async def test_a_method_that_a_plugins_url_lacks_is_told_the_others(serve: Serve) -> None:
    offering = Offering("hello", route("/+hello", Public("a test")))
    loaded = load_plugins(program=plugin, extra=[offering], entry_points=False)
    async with serve(plugins=loaded) as served, served.request("POST", "/+hello") as said:
        assert said.status == 405
        assert "the methods of this URL are HEAD, GET" in await said.text()
