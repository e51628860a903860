"""`GET /{user}/{index}/{project}[/{version}]`: devpi's documents, redirects, installers, and who is told what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pkgindex_core.changes import MirrorPage, PutRelease
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import File, PageHead, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http.devpi.installers import is_installer
from tests.http.conftest import HOSTED, Serve, Served

JSON = {"Accept": "application/json", "User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)"}
SIMPLE = "application/vnd.pypi.simple.v1+json"
DEMO = ProjectName("demo")


async def told(served: Served, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with served.get(path, headers={**JSON, **(headers or {})}) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Devpi-Api-Version"] == "2"
        return answer.status, json.loads(await answer.read())


async def describe(served: Served, index: IndexName, version: str, summary: str) -> None:
    metadata = encode_metadata({"name": "demo", "version": version, "summary": summary})
    await served.engine.store.apply(
        [PutRelease(index, DEMO, Release(version=version, metadata=metadata))], who="[test]"
    )


@pytest.mark.parametrize("path", ["/root/dev/demo", "/root/dev/demo/"])
async def test_a_project_is_its_versions_with_absolute_links(serve: Serve, wheel: BuiltFile, path: str) -> None:
    async with serve() as served:
        await served.put(wheel)
        await served.put(build_sdist("demo", "2.0"))
        await describe(served, HOSTED, "1.0", "first")
        status, document = await told(served, path)
        assert (status, document["type"]) == (200, "projectconfig")
        assert list(document["result"]) == ["1.0", "2.0"]
        entry = document["result"]["1.0"]
        assert entry["summary"] == "first"
        (link,) = entry["+links"]
        assert link["href"].startswith(f"{served.url}/root/dev/+f/")
        async with served.client.get(link["href"]) as answer:
            assert await answer.read() == wheel.data


async def test_links_begin_with_the_url_that_the_client_has(serve: Serve, wheel: BuiltFile) -> None:
    async with serve(outside_url="https://packages.example/index") as served:
        await served.put(wheel)
        _, document = await told(served, "/root/dev/demo")
        assert document["result"]["1.0"]["+links"][0]["href"].startswith("https://packages.example/index/root/dev/+f/")


async def test_a_version_by_any_spelling(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        for spelling in ("1.0", "1", "1.0.0/"):
            status, document = await told(served, f"/root/dev/demo/{spelling}")
            assert (status, document["type"], document["result"]["version"]) == (200, "versiondata", "1.0")
        status, document = await told(served, "/root/dev/demo/9")
        assert (status, document["message"]) == (404, "The version 9 of project demo does not exist.")


async def test_what_is_missing_is_said_in_devpis_words(serve: Serve) -> None:
    async with serve() as served:
        assert await told(served, "/root/dev/nope") == (404, {"message": "no project 'nope'"})
        assert await told(served, "/root/no/nope") == (404, {"message": "The stage root/no could not be found."})


async def test_names_that_are_not_normalised_are_sent_on(serve: Serve) -> None:
    async with serve() as served:
        for path, location in (
            ("/root/dev/De_Mo", "./de-mo"),
            ("/root/dev/De_Mo/?ignore_bases=", "../de-mo/?ignore_bases="),
            ("/root/dev/De_Mo/1.0", "../de-mo/1.0"),
            ("/root/dev/De_Mo/1.0%2Bx/", "../../de-mo/1.0%2Bx/"),
        ):
            async with served.get(path, headers=JSON) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, location)


async def test_inherited_versions_stand_in_the_shadow_and_may_be_left_out(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        top = await served.index("root/top", bases=(HOSTED,))
        await served.put(wheel)
        await served.put(build_wheel("demo", "2.0"))
        other = await served.put(build_sdist("demo", "1.0"), index=top)
        _, document = await told(served, "/root/top/demo")
        assert list(document["result"]) == ["1.0", "2.0"]
        entry = document["result"]["1.0"]
        assert entry["+links"][0]["href"].endswith(other.filename)
        assert entry["+shadowing"][0]["+links"][0]["href"].startswith(f"{served.url}/root/dev/")
        _, document = await told(served, "/root/top/demo?ignore_bases=")
        assert list(document["result"]) == ["1.0"]
        assert "+shadowing" not in document["result"]["1.0"]


async def test_a_layer_that_may_not_be_read_is_not_told_of(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        ann = await served.user("ann")
        private = await served.index("ann/private", acl_read=("ann",))
        await served.index("root/top", bases=(private,))
        await served.put(wheel, index=private)
        assert await told(served, "/root/top/demo") == (404, {"message": "no project 'demo'"})
        status, document = await told(served, "/root/top/demo", ann)
        assert (status, list(document["result"])) == (200, ["1.0"])
        for path in ("/ann/private/demo", "/ann/private/demo/1.0"):
            # To devpi's client a 401 is an error that cannot be; everybody else is challenged.
            assert (await told(served, path))[0] == 403
            async with served.get(path, headers={"Accept": "application/json"}) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert (await told(served, path, await served.user("ben")))[0] == 404


async def test_a_private_name_is_not_taken_from_a_mirror_and_one_that_is_stale_is_served(
    serve: Serve, wheel: BuiltFile
) -> None:
    async with serve() as served:
        mirror = await served.index("root/pypi", type="mirror", mirror_url="https://example.org/simple/")
        await served.index("root/dev", bases=(mirror,), volatile=False, acl_upload=("root",))
        public = File(
            filename="demo-9.0.tar.gz", version="9.0", digests={"sha256": "c" * 64}, url="https://example.org/x"
        )
        await served.engine.store.apply([MirrorPage(mirror, DEMO, PageHead(), (public,))], who="[mirror]")
        _, document = await told(served, "/root/dev/demo")
        assert list(document["result"]) == ["9.0"]
        assert set(document["result"]["9.0"]) == {"name", "version", "+links"}
        await served.put(wheel)
        _, document = await told(served, "/root/dev/demo")
        assert list(document["result"]) == ["1.0"]
        # Nobody can ask the upstream here: what was never stored is unknown, not absent.
        assert (await told(served, "/root/dev/other"))[0] == 503


async def test_a_quarantined_project_has_no_versions(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        await served.engine.project_statuses.mark(HOSTED, DEMO, "quarantined", "", principal=Principal(name="root"))
        assert (await told(served, "/root/dev/demo"))[1]["result"] == {}
        assert (await told(served, "/root/dev/demo/1.0"))[0] == 404


async def test_installers_get_the_simple_page(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        for path in ("/root/dev/demo", "/root/dev/demo/"):
            for headers in ({"User-Agent": "pip/24.0 {}", "Accept": "*/*"}, {"Accept": SIMPLE}):
                async with served.get(path, headers=headers) as answer:
                    assert answer.status == 200
                    assert "User-Agent" in answer.headers["Vary"]
                    assert answer.content_type in {"text/html", SIMPLE}
                    page = await answer.text()
                assert wheel.filename in page
            async with served.get(path, headers={"Accept": SIMPLE}) as answer:
                (file,) = json.loads(await answer.read())["files"]
                url = answer.url.join(type(answer.url)(file["url"], encoded=True))
            async with served.client.get(url) as answer:
                assert await answer.read() == wheel.data


def test_who_is_an_installer() -> None:
    for agent in ("pip/24.0 {}", "uv/0.5", "a b pip/1", "Python-urllib/3.9 setuptools/40", "pex/2"):
        assert is_installer(agent)
    for agent in ("", "devpi-client/7.3.0 (py3.11.7; linux)", "curl/8", "xpip/1", "pip", "Mozilla/5.0 (pip/1)"):
        assert not is_installer(agent)
