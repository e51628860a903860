"""The search over HTTP: JSON, the page, XML-RPC; and that nobody finds what they may not read."""

from __future__ import annotations

import xmlrpc.client
from typing import Any

import pytest

from pkgindex_core.changes import MirrorNames, PutRelease
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, MIRROR, MirroredStart, Serve, Served, basic

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def publish(served: Served, name: str, *, index: IndexName = HOSTED, **metadata: Any) -> None:
    """Put a wheel with its metadata into an index, and wait until it is found."""
    await served.put(build_wheel(name.replace("-", "_"), "1.0"), index=index, project=name)
    encoded = encode_metadata({"name": name, "version": "1.0", **metadata})
    await served.engine.store.apply(
        [PutRelease(index, ProjectName(name), Release(version="1.0", metadata=encoded))], who="[test]"
    )
    await served.engine.cataloguing.caught_up()


async def found(served: Served, query: str, path: str = "/+search", **headers: str) -> list[str]:
    async with served.client.get(f"{served.url}{path}", params={"q": query}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return [f"{each['index']} {each['name']}" for each in (await answer.json())["projects"]]


async def page(served: Served, path: str, **headers: str) -> tuple[int, str]:
    async with served.get(path, headers={**BROWSER, **headers}) as answer:
        return answer.status, await answer.text()


async def test_a_search_answers_a_document(serve: Serve) -> None:
    async with serve() as served:
        await publish(served, "fast-json", summary="Parses JSON", requires_dist=["attrs>=20"], requires_python=">=3.9")
        async with served.get("/+search?q=json+depends:attrs") as answer:
            assert await answer.json() == {
                "query": "json depends:attrs",
                "index": None,
                "projects": [
                    {
                        "name": "fast-json",
                        "project": "fast-json",
                        "index": "root/dev",
                        "mirrored": False,
                        "url": f"{served.url}/root/dev/fast-json",
                        "version": "1.0",
                        "summary": "Parses JSON",
                        "described": True,
                    }
                ],
                "next": None,
                "behind": 0,
                "complete": True,
            }
        for query, names in (
            ("parses", ["root/dev fast-json"]),
            ("fsat-json", ["root/dev fast-json"]),
            ("import:fast_json", ["root/dev fast-json"]),
            ("python:3.12", ["root/dev fast-json"]),
            ("python:3.8", []),
            ("-json", []),
        ):
            assert await found(served, query) == names, query
        assert await found(served, "json", "/root/dev/+search") == ["root/dev fast-json"]


async def test_an_upload_is_found_at_once(serve: Serve) -> None:
    async with serve() as served:
        assert await found(served, "demo") == []
        await served.put(build_wheel("demo", "1.0"))
        assert await found(served, "demo") == ["root/dev demo"]


async def test_a_result_has_parts(serve: Serve) -> None:
    async with serve() as served:
        for number in range(25):
            await served.put(build_wheel(f"demo{number:02}", "1.0"))
        await served.engine.cataloguing.caught_up()
        names: list[str] = []
        url = f"{served.url}/root/dev/+search?q=demo&limit=10"
        while url:
            async with served.client.get(url) as answer:
                document = await answer.json()
            names += [each["name"] for each in document["projects"]]
            assert len(document["projects"]) <= 10
            url = document["next"]
        assert names == [f"demo{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("q=depend:", "needs a project"),
        ("q=foo:bar", "is no restriction"),
        ("q=%22open", "quotation mark is missing"),
        ("q=python:new", "is no version"),
        ("q=index:pypi", "write USER/INDEX"),
        ("q=a&after=x", "no place"),
        ("q=a&limit=0", "no number from 1 to 100"),
        ("q=%00", "U+0000"),
    ],
)
async def test_what_is_no_query_is_an_error_that_says_why(serve: Serve, query: str, says: str) -> None:
    async with serve() as served:
        async with served.get(f"/+search?{query}") as answer:
            assert answer.status == 400
            assert says in await answer.text()
        status, text = await page(served, f"/+search?{query}")
        if "limit" not in query:
            assert (status, says.replace('"', "&#34;") in text) == (400, True)


async def test_nobody_finds_what_they_may_not_read(serve: Serve) -> None:
    async with serve() as served:
        bea, ann = await served.user("bea"), await served.user("ann")
        secret = await served.index("bea/secret", acl_read=("bea",))
        await publish(served, "hidden-tool", index=secret, summary="a common word")
        await publish(served, "open-tool", summary="a common word")
        for query in ("tool", "common", "hidden-tool", "hiden-tool", "index:bea/secret", "", "-nothing"):
            for headers in ({}, ann):
                assert "hidden" not in "".join(await found(served, query, **headers)), query
                _, text = await page(served, f"/+search?q={query}", **headers)
                assert "bea/secret" not in text.replace(query, "")
                assert 'hidden-tool">' not in text.replace(f'value="{query}"', "")
            principal = Principal(name="ann" if headers else None)
            assert await served.engine.searching.near(HOSTED, query, principal=principal) in {(), ("open-tool",)}
        assert await found(served, "tool", **bea) == ["root/dev open-tool", "bea/secret hidden-tool"]
        async with served.get("/bea/secret/+search?q=tool", headers=ann) as answer:
            assert answer.status == 404
        async with served.get("/+search?q=tool", headers=basic("ann", "wrong")) as answer:
            assert answer.status == 401


async def test_a_page_tells_what_depends_on_a_project_and_which_names_are_near(serve: Serve) -> None:
    async with serve() as served:
        secret = await served.index("bea/secret", acl_read=("bea",)) if await served.user("bea") else HOSTED
        await publish(served, "base-tool")
        await publish(served, "user-tool", requires_dist=["base_tool>1"])
        await publish(served, "other-tool", index=secret, requires_dist=["base-tool"])
        _, text = await page(served, "/root/dev/base-tool")
        assert "Required here by" in text
        assert 'root/dev/user-tool">user-tool</a>' in text
        assert "other-tool" not in text
        status, text = await page(served, "/root/dev/baes-tool")
        assert (status, 'href="../../root/dev/base-tool">' in text) == (404, True)
        status, text = await page(served, "/root/dev/othre-tool")
        assert (status, "Did you mean" in text) == (404, False)


async def test_what_admission_keeps_out_is_not_found(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        served = world.served
        names = tuple((ProjectName(name), name) for name in ("own", "own-not", "other"))
        await served.engine.store.apply([MirrorNames(MIRROR, put=names)], who="[test]")
        await publish(served, "own")
        assert await found(served, "own", "/root/dev/+search") == ["root/dev own", "root/pypi own-not"]
        assert await found(served, "own") == ["root/dev own", "root/pypi own", "root/pypi own-not"]


async def test_the_page_works_without_its_script(serve: Serve) -> None:
    async with serve() as served:
        await publish(served, "demo", summary="<script>alert(1)</script>")
        async with served.get("/root/dev/+search?q=demo", headers=BROWSER) as answer:
            text = await answer.text()
            assert answer.status == 200
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert '<a href="../../root/dev/demo">demo</a>' in text
        assert "&lt;script&gt;alert(1)" in text
        assert (await page(served, "/+search"))[0] == 200
        async with served.get("/+search.js") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")


async def test_a_browser_is_sent_from_a_long_list_to_the_search(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        for path in ("/simple/?q=x", "/root/dev/+simple/?q=x"):
            async with world.served.get(path, headers=BROWSER) as answer:
                assert answer.status == 302
                assert answer.headers["Location"].endswith("root/dev/+search?q=x")
        async with world.served.get("/simple/", headers={"Accept": "text/html"}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/pypi", "/RPC2", "/root/dev", "/root/dev/"])
async def test_pip_search_is_answered(serve: Serve, path: str) -> None:
    async with serve() as served:
        await publish(served, "fast-json", summary="Parses JSON")
        words = ["fast", "json"]
        body = xmlrpc.client.dumps(({"name": words, "summary": words}, "or"), "search")
        async with served.request("POST", path, data=body, headers={"Content-Type": "text/xml"}) as answer:
            assert answer.status == 200
            ((rows,), _) = xmlrpc.client.loads(await answer.text())
        assert rows == [{"_pypi_ordering": 0, "name": "fast-json", "version": "1.0", "summary": "Parses JSON"}]


async def test_another_call_is_a_fault(serve: Serve) -> None:
    async with serve() as served:
        body = xmlrpc.client.dumps((), "list_packages")
        async with served.request("POST", "/pypi", data=body, headers={"Content-Type": "text/xml"}) as answer:
            with pytest.raises(xmlrpc.client.Fault, match="list_packages"):
                xmlrpc.client.loads(await answer.text())
