"""`/+metrics`: who may read it, what it has, and what it counts of the files that clients got."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pkgindex_core.changes import DropIndex
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_http.listening import figures
from pkgindex_http.listening.replays import KINDS
from tests.http.conftest import HOSTED, MIRRORED_WHEEL, MirroredStart, Serve, Served, basic
from tests.http.test_replays import Pair, get

JSON = {"Accept": "application/json"}


async def counted(served: Served, who: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    async with served.get("/+metrics", headers={**JSON, **who}) as answer:
        assert answer.status == 200, await answer.text()
        return json.loads(await answer.read())  # type: ignore[no-any-return]  # the document is a dict


def value(document: dict[str, list[dict[str, Any]]], meter: str, **labels: str) -> float:
    """The one value of a meter with these labels, or the sum if some are not given; 0 without any."""
    found = [each["value"] for each in document[meter] if labels.items() <= each["labels"].items()]
    return float(sum(found))


async def root(served: Served) -> dict[str, str]:
    """A log-in of root's."""
    text, _ = await served.engine.tokens.make("root", who="[test]", kind="login", seconds=600)
    return basic("__token__", text)


class TestWhoMayRead:
    async def test_without_credentials_they_are_asked_for(self, serve: Serve) -> None:
        async with serve() as served, served.get("/+metrics") as answer:
            assert answer.status == 401

    async def test_open_metrics_lets_everybody_read_what_is_public(self, serve: Serve) -> None:
        wheel = build_wheel("demo", "1.0")
        async with serve(open_metrics=True) as served:
            await served.user("anna")
            for name, options in (("anna/private", {"acl_read": ("anna",)}), ("anna/public", {})):
                index = await served.index(name, **options)
                await served.put(wheel, index=index)
                path = f"/{name}/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
                async with served.get(path, headers=basic("anna")) as answer:
                    assert answer.status == 200
            async with served.get("/+metrics") as answer:
                text = await answer.text()
        assert 'pkgindex_files_total{index="anna/public",kind="file",origin="store"} 1' in text
        assert "private" not in text

    async def test_each_user_sees_the_indexes_that_it_may_read(self, serve: Serve) -> None:
        wheel = build_wheel("demo", "1.0")
        async with serve() as served:
            anna, bert = await served.user("anna"), await served.user("bert")
            await served.put(wheel, index=await served.index("anna/private", acl_read=("anna",)))
            path = f"/anna/private/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
            async with served.get(path, headers=anna) as answer:
                assert answer.status == 200
            assert value(await counted(served, anna), "pkgindex_files_total", index="anna/private", origin="store") == 1
            assert (await counted(served, bert))["pkgindex_files_total"] == []

    async def test_counts_of_deleted_indexes_do_not_pile_up(self, serve: Serve) -> None:
        wheel = build_wheel("demo", "1.0")
        path = f"+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
        async with serve() as served:
            who = await root(served)
            await served.user("anna")
            await served.put(wheel)
            for number in range(5):
                index = await served.index(f"anna/build{number}")
                await served.put(wheel, index=index)
                for each in (HOSTED, index):
                    for name in (path, f"{path}.metadata"):
                        async with served.get(f"/{each}/{name}") as answer:
                            assert answer.status == 200
                last = await counted(served, who)
                await served.engine.store.apply([DropIndex(index)], who="[test]")
            assert {index for index, _ in served.server.served_files._counts} == {HOSTED, index}
        for name, count in (HOSTED, 5), (index, 1):
            assert value(last, "pkgindex_files_total", index=name, kind="file", origin="store") == count
            assert value(last, "pkgindex_files_total", index=name, kind="sidecar", origin="store") == count

    async def test_a_token_for_metrics_alone_suffices(self, serve: Serve) -> None:
        wheel = build_wheel("demo", "1.0")
        async with serve() as served:
            await served.user("anna")
            await served.put(wheel, index=await served.index("anna/private", acl_read=("anna",)))
            path = f"/anna/private/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
            async with served.get(path, headers=basic("anna")) as answer:
                assert answer.status == 200
            text, _ = await served.engine.tokens.make("anna", who="[test]", actions=("metrics",))
            token = basic("__token__", text)
            assert (
                value(await counted(served, token), "pkgindex_files_total", index="anna/private", origin="store") == 1
            )
            async with served.get(path, headers=token) as answer:
                assert answer.status != 200


class TestText:
    async def test_it_is_prometheus_text(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            await world.page()
            headers = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4,*/*;q=0.1"}
            who = await root(world.served)
            async with world.served.get("/+metrics", headers={**headers, **who}) as answer:
                text = await answer.text()
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = text.splitlines()
        assert 'pkgindex_mirror_pages_total{index="root/pypi",answer="miss"} 1' in lines
        upstream = world.upstream.root.rstrip("/")
        assert f'pkgindex_mirror_upstream_seconds_bucket{{upstream="{upstream}",le="+Inf"}} 1' in lines
        assert f'pkgindex_mirror_upstream_seconds_count{{upstream="{upstream}"}} 1' in lines
        assert "# TYPE pkgindex_mirror_upstream_seconds histogram" in lines
        assert "demo" not in text

    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    async def test_it_is_only_read(self, serve: Serve, method: str) -> None:
        async with serve() as served, served.request(method, "/+metrics") as answer:
            assert answer.status == 405


class TestFiles:
    async def test_bytes_are_counted_by_their_origin(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            who = await root(world.served)
            _, (name,) = await world.page()
            _, body = await world.get("/root/pypi/+simple/demo/")
            (file,) = json.loads(body)["files"]
            path = f"/root/pypi/+simple/demo/{file['url']}"
            size = len(MIRRORED_WHEEL.data)
            _, cold = await world.get(path)
            assert cold == MIRRORED_WHEEL.data
            await world.served.engine.settle()
            _, warm = await world.get(path)
            assert warm == MIRRORED_WHEEL.data
            answer, part = await world.get(path, Range="bytes=0-9")
            assert (answer.status, len(part)) == (206, 10)
            answer, _ = await world.get(path, **{"If-None-Match": answer.headers["ETag"]})
            assert answer.status == 304
            async with world.served.request("HEAD", path) as answer:
                assert answer.status == 200
            document = await counted(world.served, who)
        assert name == MIRRORED_WHEEL.filename
        files = {
            each["labels"]["origin"]: each["value"]
            for each in document["pkgindex_files_total"]
            if each["labels"]["kind"] == "file"
        }
        assert files == {"upstream": 1, "store": 3, "unchanged": 1, "elsewhere": 0}
        assert value(document, "pkgindex_file_bytes_total", origin="upstream") == size
        assert value(document, "pkgindex_file_bytes_total", origin="store") == size + 10
        assert value(document, "pkgindex_mirror_file_fetches_total", result="stored") == 1

    async def test_clients_that_are_sent_away_are_counted(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            who = await root(world.served)
            await world.change(mirror_use_external_urls=True)
            _, body = await world.get("/root/pypi/+simple/demo/")
            (file,) = json.loads(body)["files"]
            answer, _ = await world.get(f"/root/pypi/+simple/demo/{file['url']}")
            assert answer.status == 302
            document = await counted(world.served, who)
        assert value(document, "pkgindex_files_total", origin="elsewhere") == 1
        assert value(document, "pkgindex_file_bytes_total") == 0


class TestAnswers:
    async def test_repeated_answers_are_counted_by_kind(self, serve: Serve) -> None:
        async with serve(blobs="") as served:
            wheel = build_wheel("demo", "1.0")
            await served.put(wheel)
            path = f"/root/dev/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
            who = await root(served)
            async with served.get(path) as answer:
                etag = answer.headers["ETag"]
            pair = Pair(served.server)
            for request in (
                get(),
                get(path),
                get(f"{path}.metadata"),
                get(method="HEAD"),
                get(path, If_None_Match=etag),
            ):
                await pair.kept(request)
            before = await counted(served, who)
            await pair.asked(get())
            after = await counted(served, who)
        kinds = {kind: value(before, "pkgindex_repeated_answers_total", kind=kind) for kind in KINDS}
        assert kinds == {"page": 1, "file": 2, "head": 1, "unchanged": 1}
        assert value(after, "pkgindex_repeated_answers_total", kind="page") == 2
        # `before` has not counted its own request yet, which `after` has.
        assert value(after, "pkgindex_requests_total") == value(before, "pkgindex_requests_total") + 2
        assert value(after, "pkgindex_cache_entries", cache="answers") == 5
        assert (
            0
            < value(after, "pkgindex_cache_bytes", cache="answers")
            < value(after, "pkgindex_cache_limit_bytes", cache="answers")
        )
        assert value(after, "pkgindex_cache_entries", cache="pages") >= 1
        assert value(after, "pkgindex_cache_bytes", cache="pages") > 0

    async def test_a_server_that_repeats_nothing_says_so(self, serve: Serve) -> None:
        async with serve(replay_bytes=0) as served:
            document = await counted(served, await root(served))
        assert document["pkgindex_repeated_answers_total"] == []
        assert [each["labels"]["cache"] for each in document["pkgindex_cache_bytes"]] == [
            "pages",
            "long_pages",
            "lists",
            "documents",
        ]


class TestCaches:
    async def test_each_is_shown_with_its_limit_and_unit(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            who = await root(world.served)
            await world.page()
            async with world.served.get("/root/dev/demo", headers={"Accept": "text/html"}) as answer:
                assert answer.status == 200
            document = await counted(world.served, who)
            told = [*world.served.engine.caches()]
        sizes = {
            (each["labels"]["cache"], each["labels"]["unit"]): each["value"] for each in document["pkgindex_cache_size"]
        }
        limits = {
            (each["labels"]["cache"], each["labels"]["unit"]): each["value"]
            for each in document["pkgindex_cache_limit"]
        }
        counts = {each["labels"]["cache"]: each["value"] for each in document["pkgindex_cache_entries"]}
        in_bytes = {each["labels"]["cache"] for each in document["pkgindex_cache_bytes"]}
        assert sizes.keys() == limits.keys()
        assert all(0 <= sizes[key] <= limits[key] for key in sizes)
        assert counts.keys() == in_bytes | {name for name, _ in sizes}
        assert counts.keys() >= {each.name for each in told}
        assert limits["resolutions", "layers"] == 32_768
        assert sizes["resolutions", "layers"] >= counts["resolutions"] >= 1
        assert limits["verdicts", "entries"] == 10_000
        assert counts["verdicts"] == sizes["verdicts", "entries"] >= 1
        assert counts["checks"] >= 1
        assert counts["routes"] >= 2
        meant = {word for meter in (figures.BYTES, figures.SIZE) for word in re.findall(r"`(\w+)`", meter.meaning)}
        assert counts.keys() <= meant

    async def test_caches_of_one_name_are_added_up(self) -> None:
        one: BoundedCache[str, str] = BoundedCache(5)
        other: BoundedCache[str, str] = BoundedCache(7)
        one.put("a", "b")
        other.put("a", "b")
        told = figures.answer_figures(0, {}, [NamedCache("looked", one), NamedCache("looked", other)])
        values = {each.meter.name: each.values for each in told}
        assert values["pkgindex_cache_entries"] == {("looked",): 2}
        assert values["pkgindex_cache_limit"] == {("looked", "entries"): 12}


class TestPages:
    async def test_each_request_for_a_page_is_counted_once(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            who = await root(world.served)
            for _ in range(5):
                await world.page()
            for _ in range(3):
                answer, _ = await world.get("/root/pypi/+simple/absent/")
                assert answer.status == 404
            document = await counted(world.served, who)
        answers = {
            each["labels"]["answer"]: each["value"]
            for each in document["pkgindex_mirror_pages_total"]
            if each["labels"]["index"] == "root/pypi"
        }
        assert answers == {"miss": 1, "hit": 4, "absent": 1, "negative": 2, "refreshed": 0, "stale": 0, "unknown": 0}
        assert value(document, "pkgindex_mirror_stored_pages", index="root/pypi") == 1

    async def test_an_index_above_the_mirror_counts_for_the_mirror(self, mirrored: MirroredStart) -> None:
        async with mirrored() as world:
            who = await root(world.served)
            for _ in range(3):
                await world.page("/root/dev/+simple/demo/")
            document = await counted(world.served, who)
        assert value(document, "pkgindex_mirror_pages_total", index="root/pypi", answer="miss") == 1
        assert value(document, "pkgindex_mirror_pages_total", index="root/pypi", answer="hit") == 2

    async def test_an_answer_that_is_repeated_counts_too(self, mirrored: MirroredStart) -> None:
        """Requests with the same bytes are answered without being parsed."""
        async with mirrored() as world:
            who = await root(world.served)
            for _ in range(20):
                await world.page()
            replays = world.served.server.replays
            assert replays is not None
            assert len(replays) > 0
            document = await counted(world.served, who)
        assert value(document, "pkgindex_mirror_pages_total", index="root/pypi", answer="miss") == 1
        assert value(document, "pkgindex_mirror_pages_total", index="root/pypi", answer="hit") == 19
