"""PyPI's JSON of a project and of a version, at the URL of devpi-json-info."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pkgindex_core.changes import PutProject, PutRelease
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import PageHead, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.http.conftest import HOSTED, Serve, Served

DEMO = ProjectName("demo")
SAID = {
    "name": "Demo",
    "version": "1.0",
    "summary": "does it",
    "author": "Anna",
    "classifiers": ["A :: B"],
    "requires_dist": ["six"],
    "requires_python": ">=3.9",
    "project_urls": ["Home, https://example.com/a,b", "https://example.com/bare"],
    "provides_extras": ["x"],
    "platform": ["any", "all"],
}


async def get(served: Served, path: str, **options: object) -> Any:
    async with served.get(path, **options) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        return json.loads(await answer.read())


async def say(served: Served, values: dict[str, object], index: IndexName = HOSTED) -> None:
    release = Release(version=str(values["version"]), metadata=encode_metadata(values))
    await served.engine.store.apply([PutRelease(index, DEMO, release)], who="[test]")


async def test_a_project_with_its_files_and_metadata(serve: Serve) -> None:
    """The newest stable version stands for it; URLs are absolute and lead to the bytes."""
    async with serve() as served:
        wheel, source, newer = build_wheel("demo", "1.0"), build_sdist("demo", "1.0"), build_wheel("demo", "2.0rc1")
        for built in (wheel, source, newer):
            await served.put(built)
        await say(served, SAID)
        document = await get(served, "/root/dev/demo/json")
        info = document["info"]
        assert info["name"] == "Demo"
        assert (info["version"], info["summary"], info["author"]) == ("1.0", "does it", "Anna")
        assert (info["classifiers"], info["requires_dist"], info["provides_extra"]) == (["A :: B"], ["six"], ["x"])
        assert (info["requires_python"], info["platform"]) == (">=3.9", "any, all")
        assert info["project_urls"] == {
            "Home": "https://example.com/a,b",
            "https://example.com/bare": "https://example.com/bare",
        }
        assert (info["yanked"], info["yanked_reason"], info["home_page"], info["license_files"]) == (
            False,
            None,
            "",
            None,
        )
        assert list(document["releases"]) == ["1.0", "2.0rc1"]
        assert [file["filename"] for file in document["urls"]] == [wheel.filename, source.filename]
        assert document["urls"] == document["releases"]["1.0"]
        first = document["urls"][0]
        assert (first["packagetype"], first["python_version"], first["size"]) == ("bdist_wheel", "py3", len(wheel.data))
        assert first["digests"] == {"sha256": wheel.sha256}
        assert (document["urls"][1]["packagetype"], document["urls"][1]["python_version"]) == ("sdist", "source")
        assert first["url"].startswith(f"{served.url}/root/dev/+f/")
        async with served.client.get(first["url"]) as answer:
            assert await answer.read() == wheel.data


async def test_one_version_in_any_spelling(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        newer = build_wheel("demo", "2.0rc1")
        await served.put(newer, yanked="broken")
        for path in ("/root/dev/demo/2.0.0rc1/json", "/root/dev/Demo/2.0rc1/json"):
            document = await get(served, path)
            assert "releases" not in document
            assert document["info"]["version"] == "2.0rc1"
            assert (document["info"]["yanked"], document["info"]["yanked_reason"]) == (True, "broken")
            assert [file["filename"] for file in document["urls"]] == [newer.filename]
        for path in ("/root/dev/demo/3.0/json", "/root/dev/other/json", "/root/dev/other/1.0/json"):
            async with served.get(path) as answer:
                assert answer.status == 404


async def test_which_version_stands_for_a_project(serve: Serve) -> None:
    """The newest stable one that is not yanked; failing that a pre-release; failing that a yanked one; none is 404."""
    async with serve() as served:
        await served.engine.store.apply([PutProject(HOSTED, DEMO, PageHead())], who="[test]")
        async with served.get("/root/dev/demo/json") as answer:
            assert answer.status == 404
        for version, yanked, expected in (
            ("3.0", True, "3.0"),
            ("2.0rc1", False, "2.0rc1"),
            ("1.9", False, "1.9"),
            ("1.10", False, "1.10"),
        ):
            await served.put(build_wheel("demo", version), yanked=yanked)
            assert (await get(served, "/root/dev/demo/json"))["info"]["version"] == expected


async def test_metadata_are_of_the_first_layer_that_has_any(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await say(served, SAID)
        top = await served.index("root/top", bases=(HOSTED,))
        assert (await get(served, f"/{top}/demo/json"))["info"]["summary"] == "does it"
        assert (await get(served, f"/{top}/demo/json"))["urls"][0]["url"].startswith(f"{served.url}/root/dev/")
        await served.put(build_sdist("demo", "1.0"), index=top)
        await say(served, {**SAID, "summary": "nearer"}, top)
        assert (await get(served, f"/{top}/demo/json"))["info"]["summary"] == "nearer"


async def test_a_tag_of_its_bytes(serve: Serve) -> None:
    """Metadata change without a page that changes; how the server is reached is in the URLs."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        tags = set()
        for summary in ("one", "two"):
            await say(served, {**SAID, "summary": summary})
            for host in ("a.example", "b.example"):
                async with served.get("/root/dev/demo/json", headers={"Host": host}) as answer:
                    tags.add(answer.headers["ETag"])
                    assert f"http://{host}/root/dev" in await answer.text()
        assert len(tags) == 4
        async with served.get("/root/dev/demo/json", headers={"Host": host, "If-None-Match": max(tags)}) as answer:
            assert answer.status in {200, 304}
        async with served.get("/root/dev/demo/json", headers={"Host": host}) as answer:
            tag = answer.headers["ETag"]
        async with served.get("/root/dev/demo/json", headers={"Host": host, "If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize("path", ["/anna/private/demo/json", "/anna/private/demo/1.0/json"])
async def test_who_may_not_read_learns_nothing(serve: Serve, path: str) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        index = await served.index("anna/private", acl_read=("anna",))
        await served.put(build_wheel("demo", "1.0"), index=index)
        assert (await get(served, path, headers=anna))["info"]["version"] == "1.0"
        async with served.get(path, headers=ben) as answer:
            assert answer.status == 404
        async with served.get(path) as answer:
            assert answer.status == 401
        async with served.get(path, headers=anna) as answer:
            assert answer.headers["Cache-Control"].startswith("private")


async def test_equal_requests_are_one_build_and_a_commit_is_seen_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a request costs is counted by the pages that are read for it."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await say(served, SAID)
        reads: list[object] = []
        read = served.engine.store.page

        async def counted(*what: Any, **options: Any) -> Any:
            reads.append(what)
            return await read(*what, **options)

        monkeypatch.setattr(served.engine.store, "page", counted)
        answers = await asyncio.gather(*(get(served, "/root/dev/demo/json") for _ in range(10)))
        assert (len(reads), {each["info"]["summary"] for each in answers}) == (1, {"does it"})
        await say(served, {**SAID, "summary": "does more"})
        assert (await get(served, "/root/dev/demo/json"))["info"]["summary"] == "does more"
        assert (await get(served, "/root/dev/demo/1.0/json"))["info"]["summary"] == "does more"
        assert len(reads) == 3
