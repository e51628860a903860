"""A cache with proxpi's URLs over one or two upstreams, of which any may fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from click.testing import CliRunner

from pkgindex_core.errors import Refused
from pkgindex_core.plugins import load_plugins
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1, TEXT_HTML
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_core.tools.served_cache import noted_cache
from pkgindex_http import plugin
from pkgindex_http.cli import main
from pkgindex_http.opening import opened_engine
from pkgindex_http.proxpi import indexes
from pkgindex_http.proxpi.command_line import CacheOptions, server_settings
from pkgindex_http.proxpi.settings import read_settings
from pkgindex_http.server import Server
from pkgindex_mirror.cli import main as mirror_main
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Answer
from tests.http.conftest import Served, basic, make_store

DEMO, NEWER, SDIST = build_wheel("demo", "1.0"), build_wheel("demo", "2.0"), build_sdist("demo", "1.0")
ANOTHER = build_wheel("demo", "1.0", description="another")
"""With the name of `DEMO`, and other bytes."""
SUCCESS = {"status": "success", "data": None}


class Cache(Served):
    async def page(self, project: str, *, base: str = "/index/") -> tuple[int, dict[str, str], str]:
        """The status of a page, the URL of each file, and the upstreams that are missing."""
        async with self.get(f"{base}{project}/", headers={"Accept": JSON_V1}) as answer:
            listed = (await answer.json(content_type=None))["files"] if answer.status == 200 else []
            missing = answer.headers.get("X-PkgIndex-Unknown", "")
            return (
                answer.status,
                {file["filename"]: urljoin(f"{base}{project}/", file["url"]) for file in listed},
                missing,
            )

    async def file(self, path: str, **options: Any) -> tuple[int, bytes]:
        async with self.get(path, **options) as answer:
            return answer.status, await answer.read()


OpenCache = Callable[..., AbstractAsyncContextManager[Cache]]


@pytest.fixture
def open_cache(tmp_path: Path) -> OpenCache:
    """Start a cache in `tmp_path / "cache"`. The options are those of the command."""

    @asynccontextmanager
    async def start(
        *upstreams: str,
        environ: Mapping[str, str] | None = None,
        config: Path | None = None,
        workers: int = 1,
        **options: Any,
    ) -> AsyncIterator[Cache]:
        given = CacheOptions(upstreams=upstreams, cache=str(tmp_path / "cache"), **options)
        variables = {"HOME": str(tmp_path), **(environ or {})}
        settings, _ = server_settings(config, given, variables, {"access_log": False, "workers": workers})
        plugins = load_plugins(program=plugin, settings=settings.plugins)
        async with opened_engine(settings, plugins=plugins) as engine:
            await indexes.prepare(engine, settings, read_settings(settings.plugins["proxpi"]))
            server = Server(engine, settings)
            host, port = (await server.start("127.0.0.1", 0))[0]
            try:
                async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as client:
                    yield Cache(server, f"http://{host}:{port}", client)
            finally:
                await server.stop()

    return start


@pytest.fixture
async def first() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", DEMO)
        yield upstream


@pytest.fixture
async def second() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", ANOTHER, NEWER)
        upstream.add("other", build_wheel("other", "1.0"))
        yield upstream


class TestOneUpstream:
    async def test_a_page_and_its_files(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        first.add("demo", SDIST)
        async with open_cache(first.url) as cache:
            for base in ("/index/", "/simple/"):
                status, files, _ = await cache.page("demo", base=base)
                assert (status, set(files)) == (200, {DEMO.filename, SDIST.filename})
                assert await cache.file(files[DEMO.filename]) == (200, DEMO.data)
                assert await cache.file(f"{files[DEMO.filename]}.metadata") == (200, DEMO.metadata)
            assert all(url.startswith("/index/demo/") for url in (await cache.page("demo"))[1].values()), (
                "a proxy in front may pass on nothing else"
            )
            assert first.count("page") == 1

    async def test_proxpis_url_of_a_file(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        """Lock files have it. Its page need not have been asked for."""
        async with open_cache(first.url) as cache:
            path = f"/index/demo/{DEMO.filename}"
            assert await cache.file(path) == (200, DEMO.data)
            assert await cache.file(f"/index/Demo/{DEMO.filename}") == (200, DEMO.data)
            assert await cache.file(f"{path}.metadata") == (200, DEMO.metadata)
            assert await cache.file(path, headers={"Range": "bytes=1-3"}) == (206, DEMO.data[1:4])
            async with cache.get(path) as answer:
                assert "no-cache" in answer.headers["Cache-Control"]
                tag = answer.headers["ETag"]
            await cache.engine.settle()
            async with asyncio.timeout(20):
                while "Last-Modified" not in (await cache.request("HEAD", path)).headers:
                    await asyncio.sleep(0.05)
            assert await cache.file(path, headers={"If-None-Match": tag}) == (304, b"")
            assert (await cache.file("/index/demo/demo-3.0.tar.gz"))[0] == 404
            assert (await cache.file("/index/nothing/nothing-3.0.tar.gz"))[0] == 404
            assert first.count("file") == 1

    async def test_other_spellings_lead_on(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url) as cache:
            for path, place in (("/index", "index/"), ("/index/demo", "demo/"), ("/index/De.mo/", "../de-mo/")):
                async with cache.get(path) as answer:
                    assert (answer.status, answer.headers["Location"]) == (301, place)

    @pytest.mark.parametrize(
        ("accept", "format_", "kind"),
        [
            (None, None, TEXT_HTML),
            ("*/*", None, TEXT_HTML),
            (JSON_V1, None, JSON_V1),
            (f"{TEXT_HTML}, {JSON_V1};q=0.9", None, TEXT_HTML),
            (f"{JSON_V1}, {TEXT_HTML};q=0.1", None, JSON_V1),
            ("application/vnd.pypi.simple.latest+json", None, JSON_V1),
            (HTML_V1, None, HTML_V1),
            (TEXT_HTML, JSON_V1, JSON_V1),
            (JSON_V1, TEXT_HTML, TEXT_HTML),
            (JSON_V1, "nonsense", JSON_V1),
            (JSON_V1, "", JSON_V1),
            ("image/png", None, ""),
        ],
    )
    async def test_the_format_is_chosen_as_by_proxpi(
        self, open_cache: OpenCache, first: ScriptedUpstream, accept: str | None, format_: str | None, kind: str
    ) -> None:
        query = {} if format_ is None else {"format": format_}
        headers = {} if accept is None else {"Accept": accept}
        async with open_cache(first.url) as cache:
            for path in ("/index/", "/index/demo/"):
                async with cache.get(path, params=query, headers=headers) as answer:
                    assert answer.status == (200 if kind else 406)
                    assert not kind or answer.headers["Content-Type"] == kind

    async def test_forgetting_makes_the_next_request_ask(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url) as cache:
            await cache.page("demo")
            first.add("demo", NEWER)
            async with cache.request("DELETE", "/cache/DEMO") as answer:
                assert (answer.status, await answer.json()) == (200, SUCCESS)
            assert first.count("page") == 1
            assert set((await cache.page("demo"))[1]) == {DEMO.filename, NEWER.filename}
            await cache.page("demo")
            assert first.count("page") == 2
            before = first.count("names")
            await cache.file("/index/")
            first.add("later", build_wheel("later", "1.0"))
            assert b"later" not in (await cache.file("/index/"))[1]
            async with cache.request("DELETE", "/cache/list") as answer:
                assert (answer.status, await answer.json()) == (200, SUCCESS)
            assert b"later" in (await cache.file("/index/"))[1]
            await cache.file("/index/")
            assert first.count("names") == before + 2
            assert first.count("page") == 2

    async def test_forgetting_reaches_all_workers(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url, workers=2) as one, open_cache(first.url, workers=2) as two:
            for worker in (one, two):
                await worker.page("demo")
                await worker.file("/index/")
                assert (await worker.page("late"))[0] == 404
            first.add("demo", NEWER)
            first.add("late", build_wheel("late", "1.0"))
            assert set((await two.page("demo"))[1]) == {DEMO.filename}
            for name in ("demo", "late", "list"):
                async with one.request("DELETE", f"/cache/{name}") as answer:
                    assert (answer.status, await answer.json()) == (200, SUCCESS)
            assert set((await two.page("demo"))[1]) == {DEMO.filename, NEWER.filename}
            assert (await two.page("late"))[0] == 200
            assert b"late" in (await two.file("/index/"))[1]
            await first.stop()
            async with one.request("DELETE", "/cache/demo") as answer:
                assert answer.status == 200

    async def test_a_project_that_is_called_list(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        """With proxpi it cannot be forgotten."""
        first.add("list", build_wheel("list", "1.0"))
        async with open_cache(first.url) as cache:
            await cache.page("list")
            await (await cache.request("DELETE", "/cache/list")).read()
            await cache.page("list")
            assert first.count("page") == 1
            await (await cache.request("DELETE", "/cache/List")).read()
            await cache.page("list")
            assert first.count("page") == 2

    async def test_pages_of_other_sites_forget_nothing(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url) as cache:
            there = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            async with cache.request("DELETE", "/cache/list", headers=there) as answer:
                assert answer.status == 403

    async def test_health_and_the_page_for_a_person(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url.replace("://", "://ann:s3cret@")) as cache:
            async with cache.get("/health") as answer:
                assert (answer.status, await answer.json()) == (200, SUCCESS)
            async with cache.get("/") as answer:
                text = await answer.text()
                assert answer.status == 200
            assert first.url in text
            assert "s3cret" not in text
            assert f"pip install --index-url {cache.url}/index/ PACKAGE" in text

    async def test_credentials_of_a_proxy_in_front_do_no_harm(
        self, open_cache: OpenCache, first: ScriptedUpstream
    ) -> None:
        """nginx passes on what its own log-in has read, and proxpi does not look at it."""
        async with open_cache(first.url) as cache:
            paths = ["/index/", "/index/demo/", f"/index/demo/{DEMO.filename}", "/simple/demo/", "/health"]
            paths += (await cache.page("demo"))[1].values()
            paths += (await cache.page("demo", base="/simple/"))[1].values()
            for path in paths:
                assert (await cache.file(path, headers=basic("ann", "of the proxy")))[0] == 200, path
            async with cache.request("DELETE", "/cache/demo", headers=basic("ann", "of the proxy")) as answer:
                assert answer.status == 200

    async def test_nobody_logs_in_and_nothing_is_uploaded(
        self, open_cache: OpenCache, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        async with open_cache(first.url) as cache:
            assert not (tmp_path / "cache" / "root-password").exists()
            for password in ("", "root"):
                login = {"user": "root", "password": password}
                async with cache.request("POST", "/+login", json=login) as answer:
                    assert answer.status == 401
            for path in ("/", "/legacy/", "/legacy"):
                async with cache.request("POST", path, data={":action": "file_upload"}) as answer:
                    assert answer.status == 405
                    assert "upload to one of its upstreams" in await answer.text()
            async with cache.request("PUT", "/root/more", json={}) as answer:
                assert answer.status == 403

    async def test_an_upstream_whose_url_has_no_slash(self, open_cache: OpenCache, first: ScriptedUpstream) -> None:
        async with open_cache(first.url.rstrip("/")) as cache:
            assert (await cache.page("demo"))[0] == 200

    async def test_without_a_cache_of_files_clients_are_sent_on(
        self, open_cache: OpenCache, first: ScriptedUpstream
    ) -> None:
        sending = open_cache(first.url, environ={"PROXPI_CACHE_SIZE": "0"})
        async with sending as cache, cache.get(f"/index/demo/{DEMO.filename}") as answer:
            assert (answer.status, answer.headers["Location"]) == (302, first.file_url(DEMO.filename))

    async def test_what_is_stored_is_served_while_the_upstream_is_down(
        self, open_cache: OpenCache, first: ScriptedUpstream
    ) -> None:
        """proxpi answers 500, for a file that lies on its disk too."""
        async with open_cache(first.url, expiries=[0]) as cache:
            _, files, _ = await cache.page("demo")
            await cache.file(files[DEMO.filename])
            await first.stop()
            status, again, _ = await cache.page("demo")
            assert (status, again) == (200, files)
            assert await cache.file(files[DEMO.filename]) == (200, DEMO.data)
            assert await cache.file(f"/index/demo/{DEMO.filename}") == (200, DEMO.data)
            assert (await cache.page("never"))[0] == 503


class TestTwoUpstreams:
    async def test_the_first_that_has_a_project_gives_it(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        async with open_cache(first.url, second.url) as cache:
            _, files, _ = await cache.page("demo")
            assert set(files) == {DEMO.filename}
            assert set((await cache.page("other"))[1]) == {"other-1.0-py3-none-any.whl"}
            assert await cache.file(f"/index/demo/{NEWER.filename}") == (404, f"no file '{NEWER.filename}'\n".encode())
            listed = json.loads((await cache.file("/index/", headers={"Accept": JSON_V1}))[1])
            assert {each["name"] for each in listed["projects"]} == {"demo", "other"}

    async def test_all_files_come_together_and_the_first_wins_a_name(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """proxpi shows the file of the first index, and sends that of the last (its issue 59)."""
        async with open_cache(first.url, second.url, merge="union") as cache:
            _, files, _ = await cache.page("demo")
            assert set(files) == {DEMO.filename, NEWER.filename}
            for path in (files[DEMO.filename], f"/index/demo/{DEMO.filename}"):
                assert await cache.file(path) == (200, DEMO.data)
            assert await cache.file(f"/index/demo/{NEWER.filename}") == (200, NEWER.data)

    @pytest.mark.parametrize("behaviour", [behaviours.status(503), behaviours.status(500), behaviours.status(403)])
    async def test_one_that_fails_takes_nothing_from_the_other(
        self,
        open_cache: OpenCache,
        first: ScriptedUpstream,
        second: ScriptedUpstream,
        behaviour: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Of the union; proxpi answers 500. What is missing is named."""
        second.script("page", behaviour)
        second.script("names", behaviour)
        async with open_cache(first.url, second.url, merge="union") as cache:
            status, files, missing = await cache.page("demo")
            assert (status, set(files)) == (200, {DEMO.filename})
            assert "127.0.0.1" in missing
            assert "is not whole" in caplog.text
            assert await cache.file(f"/index/demo/{DEMO.filename}") == (200, DEMO.data)
            assert (await cache.file(f"/index/demo/{NEWER.filename}"))[0] in {502, 503}
            assert (await cache.page("other"))[0] in {502, 503}
            async with cache.get("/index/") as answer:
                assert answer.status == 200
                assert "X-PkgIndex-Unknown" in answer.headers
            # The page was not kept as a whole one.
            second.behave()
            async with asyncio.timeout(20):
                while (await cache.page("demo"))[2]:
                    await asyncio.sleep(0.1)
            assert set((await cache.page("demo"))[1]) == {DEMO.filename, NEWER.filename}

    async def test_one_that_fails_later_keeps_its_stored_layer(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        async with open_cache(first.url, second.url, merge="union", expiries=[0]) as cache:
            whole = (await cache.page("demo"))[1]
            for upstream in (second, first):
                await upstream.stop()
                assert (await cache.page("demo"))[:2] == (200, whole)

    async def test_a_name_is_not_taken_from_the_second_while_the_first_is_unknown(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """Else whoever publishes at the second gets all names during an outage of the first."""
        first.script("page", behaviours.status(503))
        async with open_cache(first.url, second.url) as cache:
            assert (await cache.page("demo"))[0] == 503
            assert (await cache.file(f"/index/demo/{ANOTHER.filename}"))[0] == 503
        async with open_cache(second.url, first.url) as cache:
            assert set((await cache.page("demo"))[1]) == {ANOTHER.filename, NEWER.filename}

    async def test_a_status_that_means_absent(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """PyTorch's index answers 403 for a project that it does not have."""
        first.script("/simple/other/", behaviours.status(403))
        async with open_cache(first.url, second.url) as cache:
            assert (await cache.page("other"))[0] == 502
        async with open_cache(first.url, second.url, absent_statuses=[403]) as cache:
            assert (await cache.page("other"))[0] == 200

    async def test_sizes_that_no_page_tells_are_asked_for_unless_told_otherwise(
        self, open_cache: OpenCache, first: ScriptedUpstream
    ) -> None:
        first.speaks = "html"
        async with open_cache(first.url, sizes=0) as cache:
            assert (await cache.page("demo"))[0] == 200
            sizes = [mirror_options(each).sizes for each in (await cache.server.engine.store.tree()).indexes.values()]
            assert 0 in sizes
        assert first.count("head") == 0
        async with open_cache(first.url) as cache:
            await cache.page("demo")
            first.add("late", build_wheel("late", "1.0"))
            await cache.page("late")
            while not first.count("head"):
                await asyncio.sleep(0.01)

    async def test_a_page_of_links_and_an_index_at_another_path(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """As `https://data.pyg.org/whl/….html` and `https://download.pytorch.org/whl/cu126/` are."""
        links = f'<a href="{first.file_url(DEMO.filename)}#sha256={DEMO.sha256}">{DEMO.filename}</a>'
        first.script("/whl/all.html", lambda *_: Answer(headers={"Content-Type": "text/html"}, body=links.encode()))
        page = f'<a href="/files/{NEWER.filename}">{NEWER.filename}</a><a href="/files/{ANOTHER.filename}">{ANOTHER.filename}</a>'
        second.script("/whl/cu126/demo/", lambda *_: Answer(headers={"Content-Type": "text/html"}, body=page.encode()))
        urls = {"flat_pages": [f"{first.root}whl/all.html"]}
        async with open_cache(f"{second.root}whl/cu126", merge="union", **urls) as cache:
            _, files, _ = await cache.page("demo")
            assert set(files) == {DEMO.filename, NEWER.filename}
            assert await cache.file(files[DEMO.filename]) == (200, DEMO.data)
            assert await cache.file(files[NEWER.filename]) == (200, NEWER.data)
            assert (await cache.page("nothing"))[0] == 404
            assert first.count("/whl/all.html") == 1

    async def test_each_has_its_own_time(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        async with open_cache(first.url, second.url, merge="union", expiries=[1800, 0]) as cache:
            for _ in range(3):
                await cache.page("demo")
            assert (first.count("page"), second.count("page")) == (1, 3)


class TestAnotherStart:
    async def test_the_settings_of_the_cache_are_known_to_other_commands(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        for merge, admission in (("first", "first_mirror"), ("union", "available_mirrors")):
            async with open_cache(first.url, second.url, merge=merge, cache_size="3GB", offline=True) as cache:
                noted = await noted_cache(cache.engine.store)
                assert noted is not None
                assert (noted.index, noted.admission, noted.mirror) == ("root/proxy", admission, {"cache_size": "3GB"})

    async def test_offline_what_is_cached_is_listed_and_nothing_else(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        async with open_cache(first.url, second.url, merge="union") as cache:
            await cache.file((await cache.page("demo"))[1][NEWER.filename])
            await cache.engine.settle()
        before = len(first.asked) + len(second.asked)
        async with open_cache(first.url, second.url, merge="union", offline=True) as cache:
            status, files, _ = await cache.page("demo")
            assert (status, set(files)) == (200, {NEWER.filename})
            assert await cache.file(files[NEWER.filename]) == (200, NEWER.data)
            assert (await cache.page("other"))[0] == 502, "it may exist"
        assert len(first.asked) + len(second.asked) == before

    async def test_offline_the_first_is_still_known_to_lack_what_the_second_gave(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """It is cached too that the first upstream lacks a project. Whether it has other names is unknown, so these are 502."""
        late = build_wheel("late", "1.0")
        second.add("late", late)
        async with open_cache(first.url, second.url) as cache:
            for project in ("other", "demo"):
                for url in (await cache.page(project))[1].values():
                    assert (await cache.file(url))[0] == 200
            assert (await cache.page("nothing"))[0] == 404
            await cache.engine.settle()
        before = len(first.asked) + len(second.asked)
        async with open_cache(first.url, second.url, offline=True) as cache:
            status, files, _ = await cache.page("other")
            assert (status, set(files)) == (200, {"other-1.0-py3-none-any.whl"})
            assert set((await cache.page("demo"))[1]) == {DEMO.filename}
            assert [(await cache.page(name))[0] for name in ("late", "nothing")] == [502, 502]
            notes = [note.key async for batch in cache.engine.store.notes("mirror.check") for note in batch]
            assert not [key for key in notes if "nothing" in key]
        # Another upstream may have it.
        async with open_cache(f"{first.root}else/", second.url, offline=True) as cache:
            assert (await cache.page("other"))[0] == 502
        assert len(first.asked) + len(second.asked) == before

    async def test_upstreams_are_added_moved_and_taken_away(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_cache(first.url) as cache:
            await cache.page("demo")
        async with open_cache(first.url):
            assert "had other upstreams" not in caplog.text
        async with open_cache(second.url, first.url) as cache:
            assert "had other upstreams (root/" in caplog.text
            assert set((await cache.page("demo"))[1]) == {ANOTHER.filename, NEWER.filename}
            last = (await cache.page("demo"))[1][NEWER.filename]
        async with open_cache(first.url) as cache:
            assert set((await cache.page("demo"))[1]) == {DEMO.filename}
            assert first.count("page") == 1, "what is stored of an upstream stays with it"
            # An upstream that is not configured any more may have been a private one.
            assert (await cache.file(last))[0] in {401, 404}
            assert b"other" not in (await cache.file("/index/"))[1]

    async def test_further_options_of_a_mirror_stay(
        self, open_cache: OpenCache, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        first.add("untimed", build_wheel("untimed", "1.0"), upload_time=None)
        command = ["index", "modify", "--data", str(tmp_path / "cache")]

        async def times(cache: Cache) -> list[bool]:
            async with cache.get("/index/untimed/", headers={"Accept": JSON_V1}) as answer:
                return ["upload-time" in file for file in (await answer.json(content_type=None))["files"]]

        async with open_cache(first.url, expiries=[0]) as cache:
            assert await times(cache) == [False]
            (mirror,) = (each.name for each in (await cache.engine.store.tree()).indexes.values() if each.mirrored)
            words = [*command, mirror, "upload_time=first-seen"]
            ran = await asyncio.to_thread(CliRunner().invoke, main, words, env={"HOME": str(tmp_path)})
            assert ran.exit_code == 0, ran.output
            assert await times(cache) == [True]
        async with open_cache(first.url, expiries=[0]) as cache:
            assert await times(cache) == [True]

    async def test_fetching_ahead_tells_of_an_upstream_that_is_missing(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream, tmp_path: Path
    ) -> None:
        """It may have a newer version, which an installer chooses later."""
        async with open_cache(first.url, second.url, merge="union"):
            pass
        second.script("page", behaviours.status(500))
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("demo\n")
        words = ["prefetch", "--data", str(tmp_path / "cache"), str(wanted)]
        ran = await asyncio.to_thread(CliRunner().invoke, mirror_main, words, env={"HOME": str(tmp_path)})
        assert ran.exit_code == 1, ran.output
        assert f"error: demo ({wanted}, line 1): its page has no files of root/" in ran.output
        assert "it answered 500" in ran.output
        assert "1 projects, 1 files" in ran.output

    async def test_a_project_is_forgotten_with_the_digests_of_its_files(
        self, open_cache: OpenCache, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        first.add("replaced", DEMO)
        async with open_cache(first.url, expiries=[0]) as cache:
            stored = (await cache.page("replaced"))[1][DEMO.filename]
            first.projects["replaced"].clear()
            first.add("replaced", ANOTHER)
            assert (await cache.page("replaced"))[1][DEMO.filename] == stored
            assert (await cache.file(stored))[0] == 502
            await cache.engine.settle()
            (mirror,) = (each.name for each in (await cache.engine.store.tree()).indexes.values() if each.mirrored)
            words = ["project", "delete", "--force", "--data", str(tmp_path / "cache"), "--index", mirror, "replaced"]
            ran = await asyncio.to_thread(CliRunner().invoke, main, words, env={"HOME": str(tmp_path)})
            assert ran.exit_code == 0, ran.output
            assert await cache.file((await cache.page("replaced"))[1][DEMO.filename]) == (200, ANOTHER.data)

    async def test_credentials_are_taken_away_with_the_url(
        self, open_cache: OpenCache, first: ScriptedUpstream
    ) -> None:
        def sent() -> str | None:
            return next(each.headers.get("Authorization") for each in reversed(first.asked) if each.place == "page")

        for url, project, expected in (
            (first.url.replace("://", "://ann:s3cret@"), "demo", basic("ann", "s3cret")["Authorization"]),
            (first.url, "one", None),
        ):
            async with open_cache(url) as cache:
                await cache.page(project)
                assert sent() == expected

    async def test_after_one_that_died_half_way(
        self, open_cache: OpenCache, first: ScriptedUpstream, second: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each step of the first start is a commit; the next start does what is left."""
        ensure_index = indexes.ensure_index
        for steps in range(3):
            left = steps

            async def dying(*given: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise RuntimeError("killed")
                await ensure_index(*given)

            monkeypatch.setattr(indexes, "ensure_index", dying)
            with pytest.raises(RuntimeError, match="killed"):
                async with open_cache(first.url, second.url):
                    pass
        monkeypatch.setattr(indexes, "ensure_index", ensure_index)
        async with open_cache(first.url, second.url) as cache:
            assert (await cache.page("demo"))[0] == 200

    async def test_a_store_of_a_server_is_no_cache(self, open_cache: OpenCache, tmp_path: Path) -> None:
        await asyncio.to_thread(make_store, tmp_path / "cache")
        with pytest.raises(Refused, match="is not the directory of a cache"):
            async with open_cache("http://127.0.0.1:9/simple/"):
                pass


async def test_its_counts_are_open_like_the_cache(open_cache: OpenCache) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", build_wheel("demo", "1.0"))
        async with open_cache(upstream.url) as running:
            async with running.client.get(f"{running.url}/index/demo/") as answer:
                assert answer.status == 200
            async with running.client.get(f"{running.url}/+metrics") as answer:
                assert answer.status == 200
                assert 'answer="miss"} 1' in await answer.text()
