"""An index as it was: `/+at/{at}/{user}/{index}/+simple/`."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import DropFile, DropIndex, PutFile, PutIndex, PutProject
from pkgindex_core.models import QUARANTINED, PageHead, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, MIRROR, MIRRORED_WHEEL, MirroredStart, Serve, Served

DEMO = ProjectName("demo")


async def page(served: Served, at: object, index: str = HOSTED, project: str = "demo") -> tuple[int, Any]:
    """Status, and the document."""
    async with served.get(f"/+at/{at}/{index}/+simple/{project}/", headers={"Accept": JSON_V1}) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else body.decode()


async def files(served: Served, at: object, index: str = HOSTED, project: str = "demo") -> list[str]:
    status, document = await page(served, at, index, project)
    assert status == 200, document
    return [file["filename"] for file in document["files"]]


async def now(served: Served) -> Serial:
    return await served.engine.store.head()


async def test_later_files_are_left_out(serve: Serve) -> None:
    async with serve() as served:
        first = await served.put(build_wheel("demo", "1.0"))
        before = await now(served)
        second = await served.put(build_wheel("demo", "2.0"))
        await served.put(build_wheel("other", "1.0"))
        assert await files(served, before) == [first.filename]
        assert await files(served, await now(served)) == [first.filename, second.filename]
        status, _ = await page(served, before, project="other")
        assert status == 404
        async with served.get(f"/+at/{before}/{HOSTED}/+simple/", headers={"Accept": JSON_V1}) as answer:
            assert [each["name"] for each in json.loads(await answer.read())["projects"]] == ["demo"]


async def test_links_lead_to_the_present_urls(serve: Serve) -> None:
    async with serve() as served:
        built = build_wheel("demo", "1.0")
        await served.put(built)
        at = await now(served)
        _, document = await page(served, at)
        (file,) = document["files"]
        async with served.get(f"/+at/{at}/{HOSTED}/+simple/demo/{file['url']}") as answer:
            assert await answer.read() == built.data
            assert answer.url.path.startswith(f"/{HOSTED}/+f/")


async def test_every_serial_shows_what_was_shown_then(serve: Serve) -> None:
    """A law: for a history without deletions the past is what a client saw. Answers tell the serial, which is not compared."""
    chance = random.Random(20261130)
    async with serve() as served:
        await served.index("root/team", bases=(HOSTED,))
        seen: dict[Serial, Any] = {}
        put = {}
        for number in range(40):
            index = chance.choice([HOSTED, "root/team"])
            if number % 3 or not put:
                filename = f"demo-{chance.randrange(9)}.{number}-py3-none-any.whl"
                built = build_wheel("demo", filename.split("-")[1])
                put[index, filename] = await served.put(built, index=index)
            else:
                (index, filename), file = chance.choice([*put.items()])
                put[index, filename] = replace(file, yanked=chance.choice([True, False, "broken"]))
                change = PutFile(index, DEMO, put[index, filename], "demo")
                await served.engine.store.apply([change], who="[test]")
            async with served.get("/root/team/+simple/demo/", headers={"Accept": JSON_V1}) as answer:
                seen[await now(served)] = json.loads(await answer.read())
        for serial, document in seen.items():
            status, past = await page(served, serial, "root/team")
            assert status == 200
            for each in (document, past):
                each["meta"].pop("_last-serial")
                for file in each["files"]:
                    file["url"] = file["url"].replace("../", "")
            assert past == document


async def test_what_was_deleted_or_replaced_since_is_left_out(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/dev2", volatile=True)
        kept = await served.put(build_wheel("demo", "1.0"), index="root/dev2")
        gone = await served.put(build_wheel("demo", "2.0"), index="root/dev2")
        await served.put(build_wheel("demo", "3.0"), index="root/dev2")
        at = await now(served)
        await served.engine.store.apply([DropFile("root/dev2", DEMO, gone.filename)], who="[test]")
        await served.put(build_wheel("demo", "3.0", files={"other.py": b""}), index="root/dev2")
        assert await files(served, at, "root/dev2") == [kept.filename]


async def test_readers_filters_and_statuses_are_those_of_now(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        at = await now(served)
        change = PutProject(HOSTED, DEMO, PageHead(status=QUARANTINED))
        await served.engine.store.apply([change], who="[test]")
        assert await files(served, at) == []
        config = (await served.engine.store.tree()).indexes[HOSTED]
        await served.engine.store.apply([PutIndex(replace(config, acl_read=("root",)))], who="[test]")
        status, _ = await page(served, at)
        assert status == 401


async def test_bases_are_those_of_then_as_far_as_they_exist(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/base")
        await served.index("root/team", bases=("root/base", HOSTED))
        first = await served.put(build_wheel("demo", "1.0"), index="root/base")
        second = await served.put(build_wheel("demo", "2.0"))
        at = await now(served)
        await served.engine.store.apply([PutIndex(index_config("root/team"))], who="[test]")
        assert await files(served, at, "root/team") == [first.filename, second.filename]
        await served.engine.store.apply([DropIndex("root/base")], who="[test]")
        assert await files(served, at, "root/team") == [second.filename]


async def test_a_mirror_is_cut_by_upload_time(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        for version, moment in (
            ("2.0", "2026-03-05T10:00:00Z"),
            ("3.0", "2026-03-06T00:00:00Z"),
            ("4.0", None),
            ("5.0", "2998-01-01T00:00:00Z"),
        ):
            world.upstream.add("demo", build_wheel("demo", version), upload_time=moment)
        served = world.served
        await served.engine.pages.refresh(MIRROR, DEMO, principal=Principal())
        older = build_wheel("demo", "2.0").filename
        # The index itself is of today, and no mirror existed before it.
        status, text = await page(served, "2026-03-05", MIRROR)
        assert status == 404
        assert "it was not there at that moment" in text
        at = await now(served)
        assert await files(served, at, MIRROR) == [MIRRORED_WHEEL.filename, older, build_wheel("demo", "3.0").filename]


async def test_a_name_that_is_private_by_now_is_not_told_to_the_upstream(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        at = await now(world.served)
        await world.served.put(build_wheel("demo", "9.0"), index="root/dev")
        asked = world.upstream.count("page")
        status, _ = await page(world.served, at, "root/dev")
        assert status == 404
        assert world.upstream.count("page") == asked


async def test_an_upstream_that_does_not_answer_is_not_taken_for_absence(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        at = await now(world.served)
        await world.upstream.stop()
        status, _ = await page(world.served, at, "root/dev")
        assert status == 503


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        ("999999", "there is no serial 999999 yet"),
        ("9999999999999999", "is no moment"),
        ("2999-01-01", "this moment has not passed"),
        ("2026-02-30", "there is no day 2026-02-30"),
        ("2026-02-20T25:00:00Z", "is no moment"),
        ("yesterday", "is no moment"),
        ("20260220T101112Z", "is no moment"),
    ],
)
async def test_a_moment_that_is_none_is_refused(serve: Serve, at: str, problem: str) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        status, text = await page(served, at)
        assert status == 400
        assert problem in text


@pytest.mark.parametrize("at", ["0", "2020-01-01", "2020-01-01T10:00:00Z", "2020-01-01T10:00:00%2B02:00"])
async def test_before_the_index_there_was_none(serve: Serve, at: str) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        status, text = await page(served, at)
        assert status == 404
        assert "it was not there at that moment" in text
        async with served.get(f"/+at/{at}/{HOSTED}/+simple/", headers={"Accept": JSON_V1}) as answer:
            assert answer.status == 404
            assert "it was not there at that moment" in await answer.text()


async def test_a_list_has_no_names_that_filters_withhold(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.put(build_wheel("other", "1.0"))
        await served.index("root/approved", type="constrained", bases=(HOSTED,), constraints=["demo", "*"])
        for at in ("+simple/", f"{await now(served)}"):
            path = f"/root/approved/{at}" if at == "+simple/" else f"/+at/{at}/root/approved/+simple/"
            async with served.get(path, headers={"Accept": JSON_V1}) as answer:
                assert [each["name"] for each in json.loads(await answer.read())["projects"]] == ["demo"], path


async def test_an_unchanged_past_is_304(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        path = f"/+at/{await now(served)}/{HOSTED}/+simple/demo/"
        async with served.get(path, headers={"Accept": JSON_V1}) as answer:
            tag = answer.headers["ETag"]
        await served.put(build_wheel("demo", "2.0"))
        async with served.get(path, headers={"Accept": JSON_V1, "If-None-Match": tag}) as answer:
            assert answer.status == 304
