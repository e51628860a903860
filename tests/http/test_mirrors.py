"""A server with a mirror in front of a scripted upstream: refreshing, and the options of mirrors, as clients see them."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.names import IndexName
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough import checks
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.clients.running import clean_environment, executable
from tests.http.conftest import MIRRORED_WHEEL as WHEEL
from tests.http.conftest import PASSWORD, Mirrored, Serve, basic
from tests.http.conftest import MirroredStart as Start

DEV = IndexName("root/dev")
JSON = "application/vnd.pypi.simple.v1+json"
NEWER = build_wheel("demo", "2.0")
REFRESH = "/root/pypi/+simple/demo/refresh"


# Refreshing


@pytest.mark.parametrize("path", [REFRESH, "/root/dev/+simple/Demo/refresh", "/root/dev/demo/refresh"])
async def test_a_refresh_asks_the_upstream_now_and_leads_to_the_page(mirrored: Start, path: str) -> None:
    async with mirrored() as world:
        await world.page()
        world.upstream.add("demo", NEWER)
        assert len((await world.page())[1]) == 1
        # As devpi's client sends it: without credentials, also after a log-in.
        async with world.served.client.post(f"{world.served.url}{path}", headers={"Accept": JSON}) as answer:
            assert answer.status == 200
            assert answer.url.path == f"/root/{'pypi' if 'pypi' in path else 'dev'}/+simple/demo/"
            assert [file["filename"] for file in (await answer.json(content_type=None))["files"]] == [
                WHEEL.filename,
                NEWER.filename,
            ]
        assert world.upstream.count("page") == 2


async def test_a_refresh_drops_nothing_when_the_upstream_is_down(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.page()
        await world.upstream.stop()
        assert (await world.post(REFRESH)).status == 302
        answer, files = await world.page()
        assert files == [WHEEL.filename]
        assert "X-PkgIndex-Stale" in answer.headers
        assert (await world.post("/root/pypi/+simple/other/refresh")).status == 503
        await world.upstream.start()


async def test_refreshes_at_once_are_one_question(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.page()
        world.upstream.script("page", behaviours.late(0.2))
        answers = await asyncio.gather(*(world.post(REFRESH) for _ in range(10)))
        assert {answer.status for answer in answers} == {302}
        assert world.upstream.count("page") == 2


async def test_a_refresh_tells_no_upstream_of_a_private_name(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.served.put(build_wheel("secret", "1.0"))
        assert (await world.post("/root/dev/+simple/secret/refresh")).status == 302
        assert world.upstream.count("page") == 0


async def test_who_may_not_read_may_not_refresh(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.change(acl_read=("root",))
        assert (await world.post(REFRESH)).status == 401
        assert (await world.post(REFRESH, **await world.served.user("anna"))).status == 404
        assert world.upstream.count("page") == 0


# mirror_use_external_urls


async def file_of(
    world: Mirrored, path: str = "/root/pypi/+simple/demo/", **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    _, body = await world.get(path)
    (file,) = json.loads(body)["files"]
    return await world.get(f"/{file['url'].removeprefix('../../../../')}", **headers)


async def test_a_file_that_the_upstream_lacks_is_404_in_devpi_s_words(mirrored: Start) -> None:
    """devpi's users ask with `*/*` and look for `error 404 getting` in the message."""
    async with mirrored() as world:
        world.upstream.script("file", behaviours.status(404))
        answer, body = await file_of(world, Accept="*/*")
        assert (answer.status, answer.content_type) == (404, "application/json")
        assert json.loads(body)["message"] == f"error 404 getting {world.upstream.file_url(WHEEL.filename)}"


@pytest.mark.parametrize("told", ["by the page", "by the upstream's answer"])
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=100-300000", 100, 300_001), ("bytes=-1000", -1000, None), ("bytes=5-", 5, None)],
)
async def test_a_range_of_a_cold_file(mirrored: Start, told: str, wanted: str, start: int, stop: int | None) -> None:
    """The whole file is fetched, once, and the client gets its range."""
    large = build_wheel("demo", "3.0", files={"demo.bin": random.Random(1).randbytes(800_000)}, stored=True)
    async with mirrored() as world:
        world.upstream.add("demo", large, size=large.size if told == "by the page" else None)
        listed = {
            each["filename"]: each for each in json.loads((await world.get("/root/pypi/+simple/demo/"))[1])["files"]
        }
        path = urljoin("/root/pypi/+simple/demo/", listed[large.filename]["url"].partition("#")[0])
        answer, body = await world.get(path, Range=wanted)
        assert (answer.status, body) == (206, large.data[start:stop])
        shown = range(large.size)[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {shown[0]}-{shown[-1]}/{large.size}"
        assert [each.headers.get("Range") for each in world.upstream.asked if each.place == "file"] == [None]


@pytest.mark.parametrize(
    ("tag", "status"), [("its own", 206), ('"other"', 200), ("Sat, 01 Jan 2022 00:00:00 GMT", 200)]
)
async def test_a_download_of_a_file_that_was_removed_is_resumed(mirrored: Start, tag: str, status: int) -> None:
    large = build_wheel("demo", "3.0", files={"demo.bin": random.Random(1).randbytes(800_000)}, stored=True)
    async with mirrored() as world:
        world.upstream.add("demo", large)
        listed = json.loads((await world.get("/root/pypi/+simple/demo/"))[1])["files"]
        url = next(each["url"] for each in listed if each["filename"] == large.filename)
        path = urljoin("/root/pypi/+simple/demo/", url.partition("#")[0])
        given = f'"{large.sha256}"' if tag == "its own" else tag
        answer, body = await world.get(path, Range="bytes=1000-", **{"If-Range": given})
        assert (answer.status, body) == (status, large.data[1000:] if status == 206 else large.data)


async def test_a_file_that_is_not_kept_is_fetched_from_the_upstream_by_the_client(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.change(mirror_use_external_urls=True)
        answer, _ = await file_of(world, "/root/dev/+simple/demo/")
        assert answer.status == 302
        assert answer.headers["Location"] == world.upstream.file_url(WHEEL.filename)
        assert answer.headers["Cache-Control"] == "no-store"
        assert world.upstream.count("file") == 0
        await world.change(mirror_use_external_urls=False)
        assert (await file_of(world))[1] == WHEEL.data
        await world.change(mirror_use_external_urls=True)
        assert (await file_of(world))[0].status == 200  # it is kept here now


async def test_with_credentials_nobody_is_sent_to_the_upstream(mirrored: Start) -> None:
    async with mirrored(credentials="anna:geheim") as world:
        await world.change(mirror_use_external_urls=True)
        answer, body = await file_of(world)
        assert (answer.status, body) == (200, WHEEL.data)
        assert all("geheim" not in value for value in answer.headers.values())


@pytest.mark.parametrize("host", ["169.254.169.254", "localhost", "10.1.2.3", "[::1]"])
async def test_nobody_is_sent_where_we_would_not_go(mirrored: Start, host: str) -> None:
    async with mirrored(attempts=1) as world:
        await world.change(mirror_use_external_urls=True)
        world.upstream.files_at = f"http://{host}/files/"
        answer, _ = await file_of(world)
        assert answer.status == 502
        assert "Location" not in answer.headers


async def test_a_public_host_and_an_allowed_network_are_fine(mirrored: Start) -> None:
    async with mirrored(allow_networks=["10.0.0.0/8"]) as world:
        await world.change(mirror_use_external_urls=True)
        for host in ("10.1.2.3", "151.101.0.223"):
            world.upstream.files_at = f"http://{host}/file s/ä/"
            await world.post(REFRESH)
            answer, _ = await file_of(world)
            assert answer.status == 302
            assert answer.headers["Location"] == f"http://{host}/file%20s/%C3%A4/{WHEEL.filename}"


# Expiry and upstream of a running index


async def test_an_expiry_that_is_changed_counts_at_once(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.page()
        await world.page()
        assert world.upstream.count("page") == 1
        await world.change(mirror_cache_expiry=0)
        await world.page()
        await world.page()
        assert world.upstream.count("page") == 3
        await world.change(mirror_cache_expiry=1800)
        await world.page()
        assert world.upstream.count("page") == 3


async def test_what_the_old_upstream_said_is_not_fresh_from_the_new_one(mirrored: Start) -> None:
    async with mirrored() as world, ScriptedUpstream() as other:
        await world.page()
        await world.names()
        other.add("demo", NEWER)
        other.add("more")
        await world.change(mirror_url=other.url)
        assert (await world.page())[1] == [NEWER.filename]
        assert (await world.names())[1] == ["demo", "more"]


async def test_an_answer_of_the_old_upstream_that_comes_late_is_not_taken(mirrored: Start) -> None:
    async with mirrored() as world, ScriptedUpstream() as other:
        other.add("demo", NEWER)
        world.upstream.script("page", behaviours.late(0.3))
        late = asyncio.create_task(world.get("/root/pypi/+simple/demo/"))
        while not world.upstream.count("page"):
            await asyncio.sleep(0.01)
        await world.change(mirror_url=other.url)
        assert (await world.page())[1] == [NEWER.filename]
        await late
        assert (await world.page())[1] == [NEWER.filename]


async def test_an_index_without_the_serial_check_follows_an_upstream_that_counts_anew(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.change(mirror_cache_expiry=0)
        world.upstream.page_headers["X-PyPI-Last-Serial"] = "10"
        await world.page()
        world.upstream.page_headers["X-PyPI-Last-Serial"] = "9"
        world.upstream.add("demo", NEWER)
        answer, files = await world.page()
        assert files == [WHEEL.filename]
        assert "serial went back from 10 to 9" in answer.headers["X-PkgIndex-Stale"]
        await world.change(mirror_ignore_serial_header=True)
        await world.post(REFRESH)
        assert len((await world.page())[1]) == 2


# mirror_no_project_list


async def test_a_mirror_without_list_shows_what_was_asked_for_and_says_so(mirrored: Start) -> None:
    async with mirrored() as world:
        await world.change(mirror_no_project_list=True)
        world.upstream.add("other")
        await world.served.put(build_wheel("ours", "1.0"))
        for path, own in (("/root/pypi/+simple/", []), ("/root/dev/+simple/", ["ours"])):
            answer, names = await world.names(path)
            assert names == own
            assert answer.headers["X-PkgIndex-Partial"].startswith(
                "root/pypi: only projects that were requested before"
            )
        await world.page()
        assert (await world.names())[1] == ["demo"]
        assert (await world.names("/root/dev/+simple/"))[1] == ["demo", "ours"]
        assert world.upstream.count("names") == 0


async def test_an_upstream_that_has_pages_and_no_list_is_shown_likewise(mirrored: Start) -> None:
    async with mirrored() as world:
        world.upstream.script("names", behaviours.status(404))
        await world.page()
        answer, names = await world.names()
        assert names == ["demo"]
        assert answer.headers["X-PkgIndex-Partial"].startswith("root/pypi: only projects that were requested before")


# What could not be asked is said, with what is known


async def test_a_list_holds_what_is_known_and_names_the_mirror_that_is_not(
    mirrored: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_FAILED_PAUSE", 0.0)
    async with mirrored(attempts=1, breaker_failures=1000) as world:
        await world.served.put(build_wheel("ours", "1.0"))
        world.upstream.script("names", behaviours.status(500))
        for accept in ("application/vnd.pypi.simple.v1+json", "text/html"):
            answer, body = await world.get("/root/dev/+simple/", Accept=accept)
            assert answer.status == 200
            assert answer.headers["X-PkgIndex-Unknown"].startswith(
                "root/pypi: the project list of root/pypi is not known: it"
            )
            assert b"ours" in body
            again, _ = await world.get("/root/dev/+simple/", Accept=accept, **{"If-None-Match": answer.headers["ETag"]})
            assert (again.status, "X-PkgIndex-Unknown" in again.headers) == (304, True)
        # Where nothing is known there is nothing to show.
        assert (await world.get("/root/pypi/+simple/"))[0].status == 503
        world.upstream.behave()
        whole, names = await world.names("/root/dev/+simple/")
        assert names == ["demo", "ours"]
        assert "X-PkgIndex-Unknown" not in whole.headers
        assert whole.headers["ETag"] != answer.headers["ETag"]


async def test_an_index_is_described_although_its_projects_are_not_known(mirrored: Start) -> None:
    async with mirrored(attempts=1) as world:
        world.upstream.script("names", behaviours.status(500))
        answer, body = await world.get("/root/pypi", Accept="application/json")
        document = json.loads(body)
        assert (answer.status, document["type"], "projects" in document["result"]) == (200, "indexconfig", False)
        assert document["result"]["type"] == "mirror"
        assert "it answered 500" in document["message"]
        assert "it answered 500" in answer.headers["X-PkgIndex-Unknown"]


async def test_versions_are_told_beside_a_mirror_that_could_not_be_asked(mirrored: Start) -> None:
    """`devpi list` shows them to a person. To an installer the page would be whole: it gets none."""
    async with mirrored(attempts=1) as world:
        await world.served.put(build_wheel("demo", "7.0"))
        stage = changed_config((await world.served.engine.store.tree()).indexes[DEV], mirror_whitelist=("demo",))
        await world.served.engine.store.apply([PutIndex(stage)], who="[test]")
        world.upstream.script("page", behaviours.status(500))
        answer, body = await world.get("/root/dev/demo", Accept="application/json")
        document = json.loads(body)
        assert (answer.status, list(document["result"])) == (200, ["7.0"])
        assert "demo in root/pypi is not known: it answered 500" in document["message"]
        assert "X-PkgIndex-Unknown" in answer.headers
        assert (await world.get("/root/dev/demo/7.0", Accept="application/json"))[0].status == 200
        missing, _ = await world.get("/root/dev/demo/8.0", Accept="application/json")
        assert missing.status == 503  # the mirror may have it
        assert (await world.get("/root/dev/+simple/demo/"))[0].status == 503
        assert (await world.get("/root/dev/other", Accept="application/json"))[0].status == 503
        explained = json.loads((await world.get("/+explain?index=root/dev&project=demo", Accept="application/json"))[1])
        layer = next(each for each in explained["layers"] if each["index"] == "root/pypi")
        assert (layer["state"], layer["detail"]) == ("unavailable", "demo in root/pypi is not known: it answered 500")


# An upstream that is none


async def test_an_index_with_a_wrong_upstream_is_made_with_a_warning(
    mirrored: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """With the `/simple/` forgotten every project would be 404, without a word."""
    async with mirrored(allow_networks=["127.0.0.0/8"]) as world:
        wrong = world.upstream.url.removesuffix("simple/")
        who = await world.served.user("anna")
        options = {"type": "mirror", "mirror_url": wrong}
        async with world.served.request("PUT", "/anna/other", json=options, headers=who) as answer:
            made = await answer.json()
        said = f"warning: anna/other: its upstream {wrong} is no simple index, {wrong}simple/ is one"
        assert answer.status == 200
        assert made["result"]["mirror_url"] == wrong
        assert made["message"].startswith(said)
        assert said.removeprefix("warning: ") in caplog.text
        assert await world.served.engine.examining.all() == {
            "anna/other": made["message"].partition(": anna/other: ")[2]
        }
        async with world.served.request(
            "PATCH", "/anna/other", json=[f"mirror_url={world.upstream.url}"], headers=who
        ) as answer:
            assert "message" not in await answer.json()


async def test_a_start_warns_of_a_wrong_upstream_and_waits_for_none(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", WHEEL)
        wrong = upstream.url.removesuffix("simple/")
        program = await asyncio.create_subprocess_exec(
            *(executable("pkgindex-serve"), "run", "--data", tmp_path / "data", "--port", "0", "--upstream", wrong),
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        assert program.stderr is not None
        try:
            async with asyncio.timeout(60):
                async for line in program.stderr:
                    if b"is no simple index" in line:
                        break
            assert f"set mirror_url={wrong}simple/".encode() in line
        finally:
            program.terminate()
            await program.communicate()
        # The command that mends it says nothing more; one that does not is warned.
        for url, warned in ((wrong, True), (upstream.url, False)):
            program = await asyncio.create_subprocess_exec(
                *(executable("pkgindex-serve"), "index", "modify", "root/pypi", f"mirror_url={url}", "title=x"),
                *("--data", tmp_path / "data"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=clean_environment(),
            )
            _, said = await program.communicate()
            assert program.returncode == 0
            assert (b"warning: root/pypi: its upstream" in said) is warned


# admission = "first_mirror"


async def test_of_two_mirrors_the_first_that_has_it_gives_it(serve: Serve) -> None:
    async with (
        ScriptedUpstream() as first,
        ScriptedUpstream() as second,
        serve(mirrors=True, upstream=first.url, admission="first_mirror", root_password=PASSWORD) as served,
    ):
        first.add("demo", WHEEL)
        second.add("demo", NEWER)
        second.add("other", build_wheel("other", "1.0"))
        second.add("late", build_wheel("late", "1.0"))
        asking = {"headers": basic("root")}
        made = {"type": "mirror", "mirror_url": second.url}
        assert (await served.request("PUT", "/root/second", json=made, **asking)).status == 200
        assert (await served.request("PATCH", "/root/dev", json=["bases+=root/second"], **asking)).status == 200

        async def page(project: str) -> tuple[int, list[str]]:
            async with served.get(f"/root/dev/+simple/{project}/", headers={"Accept": JSON}) as answer:
                files = (await answer.json(content_type=None))["files"] if answer.status == 200 else []
                return answer.status, [file["filename"] for file in files]

        assert await page("demo") == (200, [WHEEL.filename])
        assert await page("other") == (200, ["other-1.0-py3-none-any.whl"])
        where = "/+explain?project=demo&index=root/dev"
        async with served.get(where, headers={"Accept": "application/json", **basic("root")}) as answer:
            assert answer.status == 200
            assert "root/pypi is the first mirror that has demo" in await answer.text()
        await first.stop()
        assert await page("late") == (503, [])


async def test_mirrors_are_asked_in_turn_and_no_further_than_needed(serve: Serve) -> None:
    """The names of a team's projects are not told to the index behind its own, and a slow index delays no page of the one before it."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(ScriptedUpstream()) for _ in range(8)]
        served = await stack.enter_async_context(
            serve(mirrors=True, upstream=upstreams[0].url, admission="first_mirror", root_password=PASSWORD)
        )
        upstreams[0].add("demo", WHEEL)
        upstreams[7].add("demo", NEWER)
        upstreams[7].add("late", build_wheel("late", "1.0"))
        asking = {"headers": basic("root")}
        for number, upstream in enumerate(upstreams[1:], 1):
            made = {"type": "mirror", "mirror_url": upstream.url, "mirror_cache_expiry": 3600}
            assert (await served.request("PUT", f"/root/m{number}", json=made, **asking)).status == 200
            bases = [f"bases+=root/m{number}"]
            assert (await served.request("PATCH", "/root/dev", json=bases, **asking)).status == 200

        async def page(project: str) -> tuple[int, list[str]]:
            async with served.get(f"/root/dev/+simple/{project}/", headers={"Accept": JSON}) as answer:
                files = (await answer.json(content_type=None))["files"] if answer.status == 200 else []
                return answer.status, [file["filename"] for file in files]

        def counts() -> list[int]:
            return [upstream.count("page") for upstream in upstreams]

        for _ in range(3):
            assert await page("demo") == (200, [WHEEL.filename])
        assert counts() == [1, 0, 0, 0, 0, 0, 0, 0]
        for _ in range(3):
            assert await page("late") == (200, ["late-1.0-py3-none-any.whl"])
        assert counts() == [2, 1, 1, 1, 1, 1, 1, 1]
        for _ in range(3):
            assert await page("nothing") == (404, [])
        assert counts() == [3, 2, 2, 2, 2, 2, 2, 2]
        upstreams[1].script("page", behaviours.status(503))
        assert (await page("other"))[0] == 503
        assert upstreams[2].count("/simple/other/") == 0
        # A project that the first one gets later is its own from then on.
        upstreams[0].add("late", build_wheel("late", "9.0"))
        answer = await served.request("POST", "/root/dev/+simple/late/refresh", **asking)
        assert answer.status == 302
        assert await page("late") == (200, ["late-9.0-py3-none-any.whl"])


# admission = "available_mirrors"


async def test_a_mirror_that_is_down_leaves_the_files_of_the_other(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ScriptedUpstream() as first,
        ScriptedUpstream() as second,
        serve(mirrors=True, upstream=first.url, admission="available_mirrors", root_password=PASSWORD) as served,
    ):
        first.add("demo", WHEEL)
        second.add("demo", NEWER)
        asking = {"headers": basic("root")}
        made = {"type": "mirror", "mirror_url": second.url, "mirror_cache_expiry": 0}
        assert (await served.request("PUT", "/root/second", json=made, **asking)).status == 200
        assert (await served.request("PATCH", "/root/dev", json=["bases+=root/second"], **asking)).status == 200

        async def page(project: str) -> tuple[int, list[str], str]:
            async with served.get(f"/root/dev/+simple/{project}/", headers={"Accept": JSON}) as answer:
                files = (await answer.json(content_type=None))["files"] if answer.status == 200 else []
                return answer.status, [file["filename"] for file in files], answer.headers.get("X-PkgIndex-Unknown", "")

        await second.stop()
        status, files, missing = await page("demo")
        assert (status, files) == (200, [WHEEL.filename])
        assert missing.startswith("root/second: demo in root/second is not known")
        assert "the page of demo in root/dev is not whole: root/second" in caplog.text
        # A file by its name is found where the page has it; one that only the missing mirror may have is unknown, and not absent.
        for name, expected in ((WHEEL.filename, 302), (NEWER.filename, 503)):
            async with served.get(f"/packages/py3/d/demo/{name}") as answer:
                assert answer.status == expected
        # A document without a place for the mark is not given at all.
        async with served.get("/root/dev/demo/json") as answer:
            assert answer.status == 503
        assert (await page("absent"))[0] == 503
        await second.start()
        async with asyncio.timeout(20):
            while (await page("demo"))[2]:
                await asyncio.sleep(0.1)
        assert await page("demo") == (200, [WHEEL.filename, NEWER.filename], "")


# Files without a digest


async def test_a_path_of_a_digest_that_only_the_bytes_tell_is_found(mirrored: Start) -> None:
    """A server learned the digest, gave out the path, and was killed before that was stored: this one has never seen it."""
    async with mirrored() as world:
        world.upstream.algorithms = ()
        file = f"{world.served.url}/root/pypi/+f/{WHEEL.sha256[:3]}/{WHEEL.sha256[3:16]}/{WHEEL.filename}"
        async with world.served.client.get(file) as answer:
            assert (answer.status, await answer.read()) == (200, WHEEL.data)
        async with world.served.client.get(file.replace(WHEEL.sha256[3:16], "0" * 13)) as answer:
            assert answer.status == 404
        assert world.upstream.count("file") == 1


async def test_a_path_of_a_digest_that_cannot_be_told_now_is_unknown(mirrored: Start) -> None:
    async with mirrored() as world:
        world.upstream.algorithms = ()
        await world.page()
        await world.upstream.stop()
        async with world.served.client.get(
            f"{world.served.url}/root/pypi/+f/000/{'0' * 13}/{WHEEL.filename}"
        ) as answer:
            assert answer.status == 503
        await world.upstream.start()
