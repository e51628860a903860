"""The pages that people read: an index, a project, a version, and why a project is shown as it is."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from pkgindex_core.changes import DropProject, PutFile, PutProject, PutRelease, PutUser, YankFile
from pkgindex_core.compression import decompress
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import File, PageHead, Release, Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http.commands.common import ADMINISTRATOR
from pkgindex_http.wire.description_renderer import clean
from pkgindex_http.wire.descriptions import Descriptions
from tests.http.browsing import Browser
from tests.http.conftest import HOSTED, PASSWORD, MirroredStart, Serve, Served, basic, hash_of
from tests.http.test_welcome import BROWSER, page

DEMO = ProjectName("demo")
README = "# Hello\n\n[site](https://example.com/x) [bad](javascript:alert(1)) [here](/+logout)\n\n<script>alert(1)</script>\n"


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def describe(served: Served, version: str, **metadata: object) -> None:
    release = Release(version=version, metadata=encode_metadata({"name": "Demo", "version": version, **metadata}))
    await served.engine.store.apply([PutRelease(HOSTED, DEMO, release)], who="[test]")


async def test_a_project_is_read_in_a_browser(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        file = await served.put(wheel, yanked="broken")
        await served.put(build_wheel("demo", "2.0"))
        await describe(
            served,
            "2.0",
            summary="A demo",
            description=README,
            description_content_type="text/markdown",
            requires_dist=["Other.Name>=1; python_version<'4'"],
            project_urls=["Source, https://example.com/source", "Bad, javascript:alert(1)"],
        )
        answer, text = await page(served, "/root/dev/demo")
        assert answer.status == 200
        assert "<title>Demo 2.0</title>" in text
        assert 'href="../../root/dev/other-name"' in text
        assert "pip install --index-url " + served.url + "/root/dev/+simple/ demo" in text
        assert re.search("<h1>(<[^>]*>)*Hello", text)
        assert 'href="https://example.com/x" rel="nofollow noopener"' in text
        assert "javascript:" not in text
        assert 'href="/+logout"' not in text
        assert "<script" not in text
        assert 'href="../../root/dev/demo/1.0"' in text
        _, old = await page(served, "/root/dev/demo/1.0")
        assert "yanked: broken" in old
        assert file.sha256 is not None
        assert file.sha256 in old
        assert "The latest version is" in old


async def test_other_clients_get_what_they_got(serve: Serve, wheel: BuiltFile) -> None:
    """Only a browser gets a page at the URLs of devpi and its installers."""
    async with serve() as served:
        await served.put(wheel)
        for path in ("/root/dev", "/root/dev/demo", "/root/dev/demo/1.0"):
            for accept in ("*/*", "application/json", "text/html"):
                async with served.get(path, headers={"Accept": accept}) as answer:
                    assert answer.headers["Content-Type"] == "application/json"
        async with served.get("/root/dev/demo", headers={"User-Agent": "pip/26.0", "Accept": "*/*"}) as answer:
            assert "simple" in answer.headers["Content-Type"] or "text/html" in answer.headers["Content-Type"]
        async with served.get("/+explain?project=demo") as answer:
            assert (await answer.json())["project"] == "demo"


async def test_what_one_may_not_read_is_not_shown(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.user("anna")
        await served.index("anna/secret", acl_read=("anna",))
        team = await served.index("anna/dev", bases=(IndexName("anna/secret"), HOSTED), acl_upload=("anna",))
        await served.put(build_wheel("hidden-thing", "1.0"), index=IndexName("anna/secret"), project="hidden-thing")
        await served.put(wheel)
        for path in (f"/{team}", f"/{team}/demo", "/+explain?project=demo&index=anna/dev"):
            answer, text = await page(served, path)
            assert answer.status == 200
            assert "secret" not in text
            assert "hidden-thing" not in text
        answer, _ = await page(served, f"/{team}/hidden-thing")
        assert answer.status == 404


async def test_test_results_are_those_of_shown_files(serve: Serve, wheel: BuiltFile) -> None:
    """Each can be loaded, and the name of a file that a policy hides is not in the name of a result either."""
    async with serve() as served:
        for built in (wheel, build_sdist("demo", "1.0")):
            result = chunks_of(b"[]")
            file = await served.put(built)
            await served.engine.results.add(HOSTED, DEMO, file, result, principal=ADMINISTRATOR)
        _, text = await page(served, "/root/dev/demo")
        links = re.findall(r'href="../../([^"]*toxresult[^"]*)"', text)
        assert len(links) == 2
        for link in links:
            async with served.get(f"/{link}") as answer:
                assert await answer.read() == b"[]"
        await served.engine.indexes.modify(HOSTED, {"policies": ["file-types tar.gz"]}, principal=ADMINISTRATOR)
        _, text = await page(served, "/root/dev/demo")
        assert wheel.filename not in text
        assert len(re.findall("href=[^>]*toxresult", text)) == 1


async def test_an_index_is_read_part_by_part(serve: Serve) -> None:
    async with serve() as served:
        names = [f"p{number:03}" for number in range(201)]
        changes = [PutProject(HOSTED, ProjectName(name), PageHead()) for name in names]
        await served.engine.store.apply(changes, who="[test]")
        _, first = await page(served, "/root/dev")
        assert "p199<" in first
        assert "p200<" not in first
        assert 'href="?after=p199"' in first
        _, second = await page(served, "/root/dev?after=p199")
        assert "p200<" in second
        assert "p199<" not in second
        assert "stage, 201 projects" in first
        for place, shown in (("P199", "p200"), ("o~", "p000"), ("%00", "p000")):
            assert f"{shown}<" in (await page(served, f"/root/dev?after={place}"))[1]
        assert "no more projects" in (await page(served, "/root/dev?after=p~"))[1]
        _, managed = await page(served, "/root/dev/+edit", **basic("root"))
        assert 'href="../../root/dev?after=p199">more<' in managed
        await served.engine.cataloguing.caught_up()
        _, found = await page(served, "/root/dev/+search?q=P07")
        assert found.count('">p07') == 10
        assert "p080" not in found


async def test_a_part_of_an_index_costs_what_it_shows(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that are read do not grow with the index, and neither does the page."""
    async with serve() as served:
        changes = [PutProject(HOSTED, ProjectName(f"p{number:04}"), PageHead()) for number in range(2_000)]
        await served.engine.store.apply(changes, who="[test]")
        read: list[int] = []
        projects = MemoryIndex.projects

        async def counted(*args: Any, **options: Any) -> Any:
            rows = await projects(*args, **options)
            read.append(len(rows))
            return rows

        monkeypatch.setattr(MemoryIndex, "projects", counted)
        for path in ("/root/dev", "/root/dev?after=p1000", "/root/dev/+edit"):
            read.clear()
            answer, _ = await page(served, path, **basic("root"))
            assert answer.status == 200
            assert 200 <= sum(read) <= 300


@pytest.mark.parametrize(
    ("coding", "decode"), [("gzip", gzip.decompress), ("zstd", partial(decompress, coding="zstd"))]
)
async def test_a_page_is_compressed_unless_it_has_the_token_of_a_session(
    serve: Serve, coding: str, decode: Callable[[bytes], bytes]
) -> None:
    """What a URL puts on a page must not tell, by the page's length, whether it is a part of that token."""
    async with serve() as served:
        asked = {**BROWSER, "Accept-Encoding": coding}
        async with served.get("/root/dev?after=", headers=asked) as answer:
            body = await answer.read()
            assert answer.headers["Content-Encoding"] == coding
            assert "Accept-Encoding" in answer.headers["Vary"]
        _, plain = await page(served, "/root/dev?after=")
        assert decode(body).decode() == plain
        browser = Browser(served, **{"Accept-Encoding": coding})
        await browser.log_in("root")
        seen = await browser.get("/root/dev")
        assert 'name="form_token"' in seen.text
        assert "Content-Encoding" not in seen.headers


async def test_assets_are_kept_for_a_year_under_the_name_of_their_bytes(serve: Serve) -> None:
    async with serve() as served:
        _, text = await page(served, "/+search")
        links = re.findall(r'(?:href|src)="./([+][^"]+[?]v=[0-9a-f]{16})"', text)
        assert [link.partition("?")[0] for link in links] == ["+working.css", "+search.js"]
        for link in links:
            async with served.get(f"/{link}") as answer:
                assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            for other in (link.partition("?")[0], f"{link}0"):
                async with served.get(f"/{other}") as answer:
                    assert answer.headers["Cache-Control"] == "public, max-age=600"


async def test_a_long_project_has_parts(serve: Serve) -> None:
    async with serve() as served:
        changes = [PutProject(HOSTED, DEMO, PageHead(versions=tuple(f"1.{number}" for number in range(250))))]
        await served.engine.store.apply(changes, who="[test]")
        _, text = await page(served, "/root/dev/demo")
        assert "Part 1 of 3" in text
        assert 'demo/1.249"' in text
        assert 'demo/1.149"' not in text
        answer, _ = await page(served, f"/root/dev/demo?page=000000001{'0' * 5000}")  # more digits than int() reads
        assert answer.status == 200
        _, text = await page(served, "/root/dev/demo?page=3")
        assert 'demo/1.0"' in text


async def test_pages_of_a_project_with_many_files_are_short_and_merged_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ("cp312-cp312-win32", "cp313-cp313-win32", "cp314-cp314-win32", "py3-none-any")
    files = [
        File(filename=f"demo-1.{number}-{tag}.whl", version=f"1.{number}", digests={"sha256": f"{number:064x}"}, size=9)
        for number in range(500)
        for tag in tags
    ]
    async with serve() as served:
        await served.engine.store.apply([PutFile(HOSTED, DEMO, each, "demo") for each in files], who="[test]")
        merged = []
        merge = Assembling.merged
        monkeypatch.setattr(Assembling, "merged", lambda *given, **more: merged.append(1) or merge(*given, **more))
        for path in ("demo", "demo?page=5", "demo/1.7", "demo/1.499", "demo/+diff"):
            answer, text = await page(served, f"/root/dev/{path}")
            assert answer.status == 200
            assert len(text) < 100_000
        assert len(merged) == 1
        await served.put(build_wheel("demo", "2.0"))
        _, text = await page(served, "/root/dev/demo")
        assert "<title>demo 2.0</title>" in text


async def test_a_page_tells_why(mirrored: MirroredStart, wheel: BuiltFile) -> None:
    """The hosted index has the name, so the mirror is left out, and the page says so."""
    async with mirrored() as world:
        await world.served.put(wheel)
        answer, text = await page(world.served, "/+explain?project=demo")
        assert answer.status == 200
        assert (
            text.index("root/dev</a>") < text.index("✓ joins") < text.index("root/pypi</a>") < text.index("✗ left out")
        )


async def test_a_mirrored_version_has_the_metadata_of_its_wheel(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        answer, text = await page(world.served, "/root/pypi/demo")
        assert answer.status == 200
        assert "root/pypi" in text


@pytest.mark.parametrize("kind", ["text/markdown", "text/x-rst", "text/plain", "odd/kind", ""])
async def test_a_description_has_no_script_in_any_kind(kind: str) -> None:
    rendered = await Descriptions().rendered(README + "\n<img src=x onerror=alert(1)>\n", kind)
    assert "Hello" in rendered
    assert not re.search(r"<script|<img|href=\"(javascript|/)", rendered)


async def test_a_description_that_does_not_end_is_shown_as_plain_text() -> None:
    """A process that is not done in time is killed, and the text is escaped."""
    rendered = await asyncio.wait_for(Descriptions(seconds=0.01).rendered("# <b>x</b>", "text/markdown"), 5)
    assert rendered == '<pre tabindex="0"># &lt;b&gt;x&lt;/b&gt;</pre>'


async def test_a_short_description_does_not_become_a_huge_page() -> None:
    """Each reference repeats the target of its link."""
    target = "\n   ".join([".. _a: https://a.example/", *["x" * 5000] * 10])
    rendered = await Descriptions().rendered(f"{'a_ ' * 100}\n\n{target}\n", "text/x-rst")
    assert rendered.startswith('<pre tabindex="0">a_ a_')


def test_links_lead_to_the_web_only() -> None:
    html = '<a href="https://a.example/" onclick="x()" style="x">a</a><a href="//b.example">b</a><a href="data:x">c</a><a id="q" href="#d">d</a>'
    assert clean(html) == (
        '<a href="https://a.example/" rel="nofollow noopener">a</a>'
        '<a rel="nofollow noopener">b</a><a rel="nofollow noopener">c</a><a rel="nofollow noopener">d</a>'
    )


async def test_what_is_new_is_on_the_start_page_and_on_that_of_its_index(serve: Serve) -> None:
    """Each release once, the newest first, and only what the reader may get."""
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        for version in ("1.0", "2.0"):
            await served.put(build_wheel("demo", version))
            await served.put(build_sdist("demo", version))
        await served.put(build_wheel("secret", "1.0"), index=IndexName("anna/private"))
        new = {"root/dev": ["demo 2.0", "demo 1.0"], "anna/private": ["secret 1.0"]}
        for path, headers, expected in (
            ("/", {}, new["root/dev"]),
            ("/", anna, [*new["anna/private"], *new["root/dev"]]),
            ("/root/dev", {}, new["root/dev"]),
            ("/anna/private", anna, new["anna/private"]),
        ):
            _, text = await page(served, path, **headers)
            news = text.partition("What is new")[2].partition("</ul>")[0]
            assert re.findall(r">(\w+ \d\.\d)</a>", news) == expected, path
        yanked = YankFile(HOSTED, DEMO, build_wheel("demo", "1.0").filename, True)
        await served.engine.store.apply(
            [yanked, DropProject(IndexName("anna/private"), ProjectName("secret"))], who="[test]"
        )
        _, text = await page(served, "/", **anna)
        assert "demo 1.0</a> is yanked" in text
        assert "secret" not in text


async def test_news_that_take_long_to_read_hold_up_no_page(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        head, go_on = served.engine.store.head, asyncio.Event()

        async def slow() -> Serial:
            await go_on.wait()
            return await head()

        monkeypatch.setattr(served.engine.news, "_store", Mock(head=slow, commits=served.engine.store.commits))
        assert "What is new" not in (await page(served, "/root/dev"))[1]
        go_on.set()
        assert "What is new" in (await page(served, "/root/dev"))[1]


async def test_the_page_of_a_user_lists_the_indexes_that_its_reader_may_read(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        told = User(name="anna", password_hash=hash_of(PASSWORD), title="The team of Anna")
        await served.engine.store.apply([PutUser(told)], who="[test]")
        await served.index("anna/dev", title="Released by nobody yet")
        await served.index("anna/secret", acl_read=("anna",))
        await served.put(wheel, index=IndexName("anna/dev"))
        answer, text = await page(served, "/anna")
        assert answer.status == 200
        assert "<title>anna</title>" in text
        assert "The team of Anna" in text
        assert '<a href="./anna/dev">anna/dev</a>: Released by nobody yet' in text
        assert "secret" not in text
        assert '<a href="./anna/dev/demo/1.0">demo 1.0</a>' in text
        assert "anna/secret" in (await page(served, "/anna", **anna))[1]
        assert (await page(served, "/nobody"))[0].status == 404
        async with served.get("/anna", headers={"Accept": "application/json"}) as answer:
            assert (await answer.json())["result"]["indexes"].keys() == {"dev"}
