"""Options of projects over the protocol, as devpi 7 has them: `PATCH` on a project, and documents with `?v=2`."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.http.conftest import Serve, Served

Answer = tuple[int, dict[str, Any]]


async def ask(served: Served, method: str, path: str, body: Any = None, *, who: str = "root:") -> Answer:
    headers = {"Accept": "application/json"}
    if who:
        headers["X-Devpi-Auth"] = b64encode(who.encode()).decode()
    async with served.request(
        method, path, data=json.dumps(body) if body is not None else None, headers=headers
    ) as answer:
        return answer.status, json.loads(await answer.read())


async def versions(served: Served, path: str) -> list[str]:
    status, answer = await ask(served, "GET", path)
    return sorted(answer["result"]) if status == 200 else []


async def test_a_project_that_is_opened_comes_from_the_mirror_too_until_it_is_closed(serve: Serve) -> None:
    async with ScriptedUpstream() as upstream, serve(mirrors=True, upstream=upstream.url, root_password="") as served:
        upstream.add("demo", build_wheel("demo", "9.0"))
        await ask(served, "PUT", "/root/team", {"bases": "root/pypi"})
        await ask(served, "PUT", "/root/derived", {"bases": "root/team"})
        # A name without files is claimed by it.
        assert await ask(served, "PATCH", "/root/team/Demo", {}) == (
            200,
            {"result": {"name": "demo"}, "type": "projectconfig"},
        )
        assert await versions(served, "/root/team/demo") == []
        opened = (200, {"result": {"inheritance_rules": ["allow all"], "name": "demo"}, "type": "projectconfig"})
        assert await ask(served, "PATCH", "/root/team/demo", {"inheritance_rules": "allow all"}) == opened
        assert await versions(served, "/root/team/demo") == ["9.0"]
        # An index that inherits has rules of its own, unless it trusts.
        assert await versions(served, "/root/derived/demo") == []
        await ask(served, "PATCH", "/root/derived", ["trust_inheritance_rules_from=type:not remote"])
        assert await versions(served, "/root/derived/demo") == ["9.0"]
        assert await ask(served, "PATCH", "/root/team/demo?error_on_noop=", {"inheritance_rules": "allow all"}) == (
            400, {"message": "The requested modifications resulted in no changes"},
        )  # fmt: skip
        whole = {"type": "projectconfig", "result": opened[1]["result"]}
        assert await ask(served, "PATCH", "/root/team/demo", whole) == opened
        closed = (200, {"result": {"name": "demo"}, "type": "projectconfig"})
        assert await ask(served, "PATCH", "/root/team/demo", ["inheritance_rules-="]) == closed
        assert await versions(served, "/root/derived/demo") == []


async def test_what_is_refused_changes_nothing(serve: Serve) -> None:
    async with serve(mirrors=True, root_password="") as served:
        await ask(served, "PUT", "/root/team", {})
        head = await served.engine.store.head()
        for path, body, message in (
            ("/root/team/demo", {"inheritance_rules": "allow"}, "Unknown value ['allow'] for inheritance_rules"),
            ("/root/team/demo", {"rules": 1}, "project config got unexpected keyword arguments: rules=1"),
            ("/root/team/demo", {"name": "other"}, "the 'name' of a project can't be changed"),
            ("/root/team/demo", ["inheritance_rules-=allow all"], "doesn't have value 'allow all'"),
            ("/root/pypi/demo", {"inheritance_rules": "allow all"}, "root/pypi takes no projects of its own"),
            ("/root/team/demo", "allow all", ""),
        ):
            status, answer = await ask(served, "PATCH", path, body)
            assert (status, message in answer["message"]) == (400, True), (body, answer)
        assert await served.engine.store.head() == head


async def test_the_bounds_of_lists_count(serve: Serve) -> None:
    async with serve(mirrors=True, root_password="", max_list_entries=2) as served:
        await ask(served, "PUT", "/root/team", {"mirror_whitelist": "one,two"})
        status, answer = await ask(served, "PATCH", "/root/team/three", {"inheritance_rules": "allow all"})
        assert (status, "mirror_whitelist" in answer["message"]) == (400, True)
        assert (await ask(served, "GET", "/root/team"))[1]["result"]["projects"] == []


async def test_a_document_in_devpi_7_s_form_says_which_indexes_give_files_and_why(serve: Serve) -> None:
    async with ScriptedUpstream() as upstream, serve(mirrors=True, upstream=upstream.url, root_password="") as served:
        upstream.add("demo", build_wheel("demo", "9.0"))
        await ask(served, "PUT", "/root/base", {"acl_read": "root"})
        await ask(served, "PUT", "/root/team", {"bases": "root/base,root/pypi"})
        await ask(served, "PATCH", "/root/base/demo", {})
        status, answer = await ask(served, "GET", "/root/team/demo?v=2")
        assert (status, answer["type"]) == (200, "projectconfig_v2")
        assert (answer["result"]["config"], answer["result"]["versions"]) == ({}, {})
        inheritance = answer["result"]["inheritance_info"]
        assert inheritance["has_project_from_remote"] == "unknown"
        assert inheritance["index_bases"] == {"root/team": ["root/base", "root/pypi"], "root/base": [], "root/pypi": []}
        assert [(one["action"], one["name"], one["has_project"]) for one in inheritance["traversal_infos"]] == [
            ("traversed", "root/team", "false"), ("traversed", "root/base", "true"), ("blocked", "root/pypi", "unknown"),
        ]  # fmt: skip
        assert "root/base has demo" in inheritance["traversal_infos"][-1]["reason"]
        # Who may not read the base learns nothing of it.
        status, answer = await ask(served, "GET", "/root/team/demo?v=2", who="")
        assert (status, "root/base" in json.dumps(answer)) == (404, False)
        await ask(served, "PATCH", "/root/team/demo", {"inheritance_rules": "allow all"})
        status, answer = await ask(served, "GET", "/root/team/demo?v=2", who="")
        assert (status, "root/base" in json.dumps(answer)) == (200, False)
        assert list(answer["result"]["versions"]) == ["9.0"]
        assert answer["result"]["config"] == {"inheritance_rules": ["allow all"], "name": "demo"}
        assert answer["result"]["inheritance_info"]["has_project_from_remote"] == "true"


async def test_a_form_that_there_is_not_is_refused(serve: Serve) -> None:
    async with serve(mirrors=True, root_password="") as served:
        await ask(served, "PATCH", "/root/dev/demo", {})
        for path in ("/root/dev/demo", "/root/dev", "/root/dev?no_projects="):
            joined = f"{path}{'&' if '?' in path else '?'}v="
            assert await ask(served, "GET", f"{joined}3") == (
                400, {"message": "The requested result version must be 1 to 2, got 3"},
            )  # fmt: skip
            assert await ask(served, "GET", f"{joined}x") == (
                400, {"message": "The requested result version must be an integer, got 'x'"},
            )  # fmt: skip
            assert (await ask(served, "GET", f"{joined}1"))[0] == 200
        head = await served.engine.store.head()
        assert (await ask(served, "PUT", "/root/new?v=3", {}))[0] == 400
        assert (await ask(served, "PATCH", "/root/dev?v=3", ["title=x"]))[0] == 400
        assert await served.engine.store.head() == head
