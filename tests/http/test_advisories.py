"""OSV's API, advisories of an index, and the policies that read both."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.book import book_path
from pkgindex_core.engines.advisories.taking_in import make_book
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.http.conftest import HOSTED, Mirrored, Serve, Served, basic, make_store
from tests.http.conftest import MirroredStart as Start
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

ROOT = basic("root")
OLD, NEW = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
QUERY: dict[str, Any] = {"package": {"name": "Demo", "ecosystem": "PyPI"}, "version": "1.0"}


def record(identifier: str, project: str = "demo", fixed: str = "2.0", **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": project}, "ranges": ranges}]
    document = {
        "id": identifier,
        "modified": "2026-01-01T00:00:00Z",
        "summary": f"{project} is bad",
        "affected": affected,
    }
    return document | {"details": "Very.", "references": [{"type": "WEB", "url": "https://example.org/1"}], **more}


def take_in(data: Path, *records: dict[str, Any]) -> None:
    """A book as a feed makes it; servers that run notice it at their next look."""
    feed = data / "feed"
    feed.mkdir(parents=True, exist_ok=True)
    for each in records:
        (feed / f"{each['id']}.json").write_text(json.dumps(each))
    new = book_path(data).with_name("new")
    make_book(feed, new, label="test", now=Timestamp(1))
    new.replace(book_path(data))


def look(served: Served) -> None:
    served.engine.context.advisories.look()  # type: ignore[attr-defined]  # of the book in a file


async def answer(served: Served, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
    async with served.request(method, path, **kwargs) as said:
        return said.status, json.loads(await said.read() or b"null")


async def status(served: Served, path: str, method: str = "GET", **kwargs: Any) -> int:
    async with served.request(method, path, **kwargs) as said:
        await said.read()
        return int(said.status)


def path(file: BuiltFile, index: str = "root/pypi") -> str:
    return f"/{index}/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}"


async def test_the_api_of_osv(serve: Serve, tmp_path: Path) -> None:
    first, second = record("GHSA-1"), record("PYSEC-1", fixed="3.0")
    take_in(
        tmp_path / "data", first, second, record("GHSA-2", "other"), record("OLD-1", withdrawn="2026-02-01T00:00:00Z")
    )
    async with serve() as served:
        assert await answer(served, "POST", "/+osv/v1/query", json=QUERY) == (200, {"vulns": [first, second]})
        queries = [
            QUERY, {**QUERY, "version": "2.0"}, {**QUERY, "version": "3.0"}, {"package": {"purl": "pkg:pypi/other@1"}},
            {"package": {"name": "demo", "ecosystem": "PyPI"}}, {"commit": "abc"},
        ]  # fmt: skip
        said, found = await answer(served, "POST", "/+osv/v1/querybatch", json={"queries": queries})
        named = [[each["id"] for each in result.get("vulns", [])] for result in found["results"]]
        assert (said, named) == (200, [["GHSA-1", "PYSEC-1"], ["PYSEC-1"], [], ["GHSA-2"], ["GHSA-1", "PYSEC-1"], []])
        assert found["results"][0]["vulns"][0] == {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z"}
        assert await answer(served, "GET", "/+osv/v1/vulns/GHSA-1") == (200, first)
        assert await answer(served, "GET", "/+osv/v1/vulns/GHSA-9") == (
            404,
            {"code": 5, "message": "Vulnerability not found."},
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"package": {"name": "demo"}},
        {"package": {"name": "demo", "ecosystem": "npm"}},
        {"package": {"name": "..", "ecosystem": "PyPI"}},
        {"package": {"purl": "pkg:npm/demo@1"}},
        {"package": {"purl": "pkg:pypi/demo@1"}, "version": "1"},
        {"package": {"purl": "pkg:pypi/demo", "name": "demo"}},
        {**QUERY, "page_token": "x"},
        {"package": "demo"},
        [],
    ],
)
async def test_a_wrong_query_is_an_error_of_osv(serve: Serve, tmp_path: Path, wrong: Any) -> None:
    take_in(tmp_path / "data", record("GHSA-1"))
    async with serve() as served:
        for place, body in (("query", wrong), ("querybatch", {"queries": [QUERY, wrong]})):
            said, document = await answer(served, "POST", f"/+osv/v1/{place}", json=body)
            assert (said, document["code"]) == (400, 3)
            assert document["message"]
        said, document = await answer(served, "POST", "/+osv/v1/querybatch", json={"queries": [QUERY] * 1001})
        assert (said, document["message"]) == (400, "Too many queries: at most 1000.")


async def test_a_server_without_advisories_does_not_say_that_all_is_well(serve: Serve) -> None:
    async with serve() as served:
        for method, place in (("POST", "query"), ("GET", "vulns/GHSA-1")):
            async with served.request(method, f"/+osv/v1/{place}", json=QUERY if method == "POST" else None) as said:
                assert (said.status, "no advisories" in await said.text()) == (503, True)


async def test_advisories_of_an_index_are_for_its_readers(serve: Serve, tmp_path: Path) -> None:
    take_in(tmp_path / "data", record("GHSA-1", "other"))
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        own = record("ACME-1")
        place = "/anna/private/+advisories"
        assert (await answer(served, "POST", place, json=own, headers=anna))[0] == 200
        for caller, names in ((anna, ["ACME-1"]), ({}, [])):
            _, found = await answer(served, "POST", "/+osv/v1/query", json=QUERY, headers=caller)
            assert [each["id"] for each in found.get("vulns", [])] == names
            assert (await answer(served, "GET", "/+osv/v1/vulns/ACME-1", headers=caller))[0] == (200 if names else 404)
        assert await answer(served, "GET", place, headers=anna) == (200, {"advisories": [own]})
        assert (await answer(served, "DELETE", f"{place}?id=ACME-1", headers=anna))[0] == 200
        assert await status(served, f"{place}?id=ACME-1", "DELETE", headers=anna) == 404
        assert await answer(served, "GET", place, headers=anna) == (200, {"advisories": []})


async def test_an_advisory_of_an_index_hides_none_of_the_book_or_of_another_index(serve: Serve, tmp_path: Path) -> None:
    gone = {"withdrawn": "2026-02-01T00:00:00Z"}
    take_in(tmp_path / "data", record("MAL-1"))
    async with serve() as served:
        eve = await served.user("eve")
        await served.index("eve/own")
        real, *fakes = record("ACME-1"), record("MAL-1", **gone), record("ACME-1", **gone)
        for index, documents in (("eve/own", fakes), (HOSTED, [real])):
            for each in documents:
                assert await status(served, f"/{index}/+advisories", "POST", json=each, headers=ROOT) == 200
        _, found = await answer(served, "POST", "/+osv/v1/query", json=QUERY, headers=eve)
        assert found == {"vulns": [real, record("MAL-1")]}
        for each in (real, record("MAL-1")):
            assert await answer(served, "GET", f"/+osv/v1/vulns/{each['id']}", headers=eve) == (200, each)


async def test_the_advisories_of_an_index_count_for_the_bound_of_its_owner(serve: Serve) -> None:
    async with serve(max_user_option_bytes=100_000) as served:
        said = [
            await status(
                served, f"/{HOSTED}/+advisories", "POST", json=record(f"X-{number}", details="x" * 40_000), headers=ROOT
            )
            for number in range(3)
        ]
        assert said == [200, 200, 400]
        assert await status(served, f"/{HOSTED}/+advisories?id=X-0", "DELETE", headers=ROOT) == 200


async def test_what_is_no_advisory_is_not_published(serve: Serve) -> None:
    async with serve() as served:
        for wrong in (
            {},
            {"id": "X-1"},
            {"id": "../x", "affected": []},
            record("X-1") | {"affected": []},
            {"id": "X", "details": "x" * 70_000},
            record("X-1", modified="yesterday"),
            record("X-1", withdrawn="no"),
            record("X-1", references=[1]),
        ):
            async with served.request("POST", f"/{HOSTED}/+advisories", json=wrong, headers=ROOT) as said:
                assert said.status == 400, wrong
        assert (await answer(served, "GET", f"/{HOSTED}/+advisories", headers=ROOT))[1] == {"advisories": []}


async def world_with(world: Mirrored, *policies: str) -> None:
    del world.upstream.projects["demo"]
    world.upstream.add("demo", OLD)
    world.upstream.add("demo", NEW)
    await world.change(policies=policies)


async def test_malware_is_hidden_when_a_feed_names_it_and_shown_when_it_is_withdrawn(
    mirrored: Start, tmp_path: Path
) -> None:
    async with mirrored() as world:
        await world_with(world, "malware")
        before, names = await world.page()
        assert names == [OLD.filename, NEW.filename]
        assert await status(world.served, path(OLD)) == 200
        take_in(tmp_path / "data", record("MAL-2026-1"))
        look(world.served)
        assert (await world.page("/root/dev/+simple/demo/"))[1] == [NEW.filename]
        after, _ = await world.get("/root/pypi/+simple/demo/", **{"If-None-Match": before.headers["ETag"]})
        assert after.status == 200
        for url in (path(OLD), f"{path(OLD)}.metadata", path(OLD, "root/dev")):
            assert await status(world.served, url) == 404
        async with world.served.get(path(OLD)) as said:
            assert "malware: MAL-2026-1: demo is bad" in await said.text()
        take_in(tmp_path / "data", record("MAL-2026-1", withdrawn="2026-02-01T00:00:00Z"))
        look(world.served)
        assert (await world.page())[1] == [OLD.filename, NEW.filename]
        assert await status(world.served, path(OLD)) == 200


async def test_policies_without_advisories_are_told(serve: Serve, tmp_path: Path) -> None:
    """By the answer that makes them, in the log at the start, and by a number for an alarm."""
    meter = "pkgindex_advisories_missed_indexes"
    async with serve() as served:
        said, told = await answer(served, "PATCH", "/root/dev", json=["policies+=malware"], headers=basic("root"))
        assert said == 200
        assert "no advisories were taken in yet, so malware lets everything through" in told["message"]
        assert list(await served.engine.examining.all()) == ["root/dev"]
        async with served.get("/+metrics", headers=basic("root")) as metrics:
            assert f"{meter} 1\n" in await metrics.text()
        take_in(tmp_path / "data", record("MAL-1"))
        look(served)
        _, told = await answer(served, "PATCH", "/root/dev", json=["policies+=vulnerabilities"], headers=basic("root"))
        assert "message" not in told
        assert await served.engine.examining.all() == {}
        async with served.get("/+metrics", headers=basic("root")) as metrics:
            assert f"{meter} 0\n" in await metrics.text()


async def test_a_new_book_changes_the_pages_of_the_projects_that_it_is_about(mirrored: Start, tmp_path: Path) -> None:
    """And no other: a feed changes many times a day."""
    urls = ("/root/pypi/+simple/demo/", path(NEW), "/pypi/demo/1.0/json")
    async with mirrored() as world:
        await world_with(world, "malware", "vulnerabilities")
        take_in(tmp_path / "data", record("GHSA-1", "other"))
        look(world.served)
        before = [(await world.get(url))[0].headers["ETag"] for url in urls]
        take_in(tmp_path / "data", record("GHSA-2", "another"))
        look(world.served)
        assert [(await world.get(url))[0].headers["ETag"] for url in urls] == before
        take_in(tmp_path / "data", record("GHSA-3"))
        look(world.served)
        after = [(await world.get(url))[0] for url in urls]
        assert after[0].headers["ETag"] != before[0]
        assert "GHSA-3" in after[0].headers["X-PkgIndex-Warning"]
        assert after[2].headers["ETag"] != before[2]


@pytest.mark.parametrize(
    ("policy", "severity", "hidden"),
    [
        ("vulnerabilities", "CRITICAL", False),
        ("vulnerabilities block", "LOW", True),
        ("vulnerabilities block high", "MODERATE", False),
        ("vulnerabilities block high", "HIGH", True),
        ("vulnerabilities block high", "", True),
        ("vulnerabilities block high fixed", "HIGH", True),
        ("vulnerabilities off for demo", "HIGH", False),
    ],
)
async def test_vulnerabilities_by_severity(
    mirrored: Start, tmp_path: Path, policy: str, severity: str, hidden: bool
) -> None:
    take_in(tmp_path / "data", record("GHSA-1", database_specific={"severity": severity}))
    async with mirrored() as world:
        await world_with(world, policy)
        _, names = await world.page()
        assert names == ([NEW.filename] if hidden else [OLD.filename, NEW.filename])
        warned = "X-PkgIndex-Warning" in (await world.get(path(OLD)))[0].headers
        assert warned is (policy == "vulnerabilities")


async def test_an_upload_of_malware_is_refused(serve: Serve, tmp_path: Path) -> None:
    take_in(tmp_path / "data", record("MAL-2026-1"))
    async with serve() as served:
        await served.index("root/team", acl_upload=("root",), policies=("malware",))
        for file, wanted in ((OLD, 400), (NEW, 200)):
            body = encode_form(upload_parts(file))
            async with served.request(
                "POST", "/root/team/", data=body, headers={**ROOT, "Content-Type": CONTENT_TYPE.decode()}
            ) as said:
                assert (said.status, "MAL-2026-1" in await said.text()) == (wanted, wanted == 400)


async def test_the_json_document_has_vulnerabilities(mirrored: Start, tmp_path: Path) -> None:
    take_in(tmp_path / "data", record("GHSA-1", aliases=["CVE-1"]))
    async with mirrored() as world:
        await world_with(world)
        _, body = await world.get("/pypi/demo/1.0/json")
        assert json.loads(body)["vulnerabilities"] == [
            {"id": "GHSA-1", "aliases": ["CVE-1"], "summary": "demo is bad", "details": "Very.", "fixed_in": ["2.0"],
             "link": "https://example.org/1", "source": "osv", "withdrawn": None}
        ]  # fmt: skip
        assert json.loads((await world.get("/pypi/demo/json"))[1])["vulnerabilities"] == []
        take_in(tmp_path / "data", record("GHSA-2", fixed="9", references=None))
        look(world.served)
        found = json.loads((await world.get("/pypi/demo/json"))[1])["vulnerabilities"]
        assert [each["id"] for each in found] == ["GHSA-2"]


def test_the_commands(tmp_path: Path) -> None:
    from pkgindex_http.cli import main

    data = tmp_path / "data"
    make_store(data)
    feed = tmp_path / "feed"
    feed.mkdir()
    (feed / "a.json").write_text(json.dumps(record("GHSA-1")))
    (tmp_path / "own.json").write_text(json.dumps(record("ACME-1")))

    def said(*words: str, wanted: int = 0) -> str:
        ran = CliRunner().invoke(main, ["advisory", *words, "--data", str(data)])
        assert ran.exit_code == wanted, ran.output
        return ran.output

    assert "no advisories" in said("state")
    assert "1 advisories are known" in said("update", str(feed))
    assert json.loads(said("state", "--json"))["advisories"] == 1
    (feed / "b.json").write_text("{")
    assert "'b.json': this is no OSV record" in said("update", str(feed), wanted=1)
    assert json.loads(said("state", "--json"))["advisories"] == 1
    assert "ACME-1 is published in root/dev" in said("add", str(tmp_path / "own.json"), "--index", "root/dev")
    assert "ACME-1  demo  demo is bad" in said("list", "--index", "root/dev")
    said("drop", "ACME-1", "--index", "root/dev")
    assert "has no advisories of its own" in said("list", "--index", "root/dev")
