"""Documentation as it is served: which zip answers, what its pages look like to a client, and what never happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutAttachment, PutProject
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.models import Attachment, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Span
from pkgindex_core.testing.wheels import zip_of
from pkgindex_http.wire.content_types import OTHER, TYPES, content_type
from tests.corpora.zip_parts import Entry, assemble
from tests.http.conftest import HOSTED, Serve, Served

DEMO = ProjectName("demo")
PAGES = {
    "index.html": b"<a href='guide/'>guide</a>",
    "guide/index.html": b"<a href='../index.html'>back</a>",
    "guide/more.html": b"more",
    "_static/style.css": b"body {}",
    "_static/a b+c.js": b"1",
    "objects.inv": b"inv",
    "empty.txt": b"",
}


async def put(served: Served, data: bytes, version: str = "1.0", index: IndexName = HOSTED) -> Attachment:
    """Documentation by the back door, unchecked."""
    blob = await served.engine.blobs.put(data)
    attachment = Attachment(
        kind="doczip",
        filename=f"demo-{version}.doc.zip",
        version=version,
        sha256=blob.sha256,
        size=blob.size,
        added=Timestamp(1),
    )
    if await served.engine.store.page(index, DEMO) is None:
        await served.engine.store.apply([PutProject(index, DEMO, PageHead())], who="[test]")
    await served.engine.store.apply([PutAttachment(index, DEMO, attachment)], who="[test]")
    return attachment


async def text(served: Served, path: str, **options: object) -> tuple[int, str]:
    async with served.get(path, **options) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("options", [{}, {"blobs": ""}], ids=["memory", "disk"])
async def test_every_page_with_its_type(serve: Serve, options: dict[str, str], tmp_path: Path) -> None:
    """From a store that gives paths and from one that does not."""
    if "blobs" in options:
        options = {"blobs": (tmp_path / "blobs").as_uri()}
    async with serve(**options) as served:
        attachment = await put(served, zip_of(PAGES))
        for name, content in PAGES.items():
            url = f"/root/dev/demo/1.0/+doc/{name.replace(' ', '%20')}"
            async with served.get(url) as answer:
                assert answer.status == 200
                assert await answer.read() == content
                assert answer.headers["Content-Type"] == content_type(name)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                tag = answer.headers["ETag"]
                assert tag == f'"{attachment.sha256}{".1" if name.endswith(".html") else ""}"'
                assert answer.headers["Cache-Control"] == "public, max-age=60"
                policy = answer.headers["Content-Security-Policy"]
                assert "sandbox" in policy
                assert "allow-same-origin" not in policy
                assert f"connect-src {served.url}/root/dev/demo/1.0/+doc/;" in policy
                assert "Set-Cookie" not in answer.headers
            async with served.request("HEAD", url) as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(content)))
            async with served.get(url, headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")


async def test_a_page_is_given_a_storage_that_ends_with_it(serve: Serve) -> None:
    """Right behind the head's tag, and the length says so; nothing else is changed, and what has no head is not."""
    page = b"<!DOCTYPE html><html><HEAD data-x='1'><title>t</title></head><body><header>h</header></body></html>"
    plain = b"<header>no head</header>"
    async with serve() as served:
        await put(served, zip_of({"index.html": page, "plain.html": plain, "text.txt": page}))
        base = "/root/dev/demo/1.0/+doc/"
        async with served.get(base) as answer:
            before, script, behind = (await answer.read()).partition(b"<title>")[0].partition(b"<script>")
            assert (before, script) == (page.partition(b"<title>")[0], b"<script>")
            assert behind.endswith(b"</script>")
            length = answer.headers["Content-Length"]
        async with served.request("HEAD", base) as answer:
            assert answer.headers["Content-Length"] == length
        assert await text(served, f"{base}plain.html") == (200, plain.decode())
        assert await text(served, f"{base}text.txt") == (200, page.decode())


async def test_directories_have_front_pages(serve: Serve) -> None:
    """With a slash they answer, without one they lead to it, also under a prefix."""
    async with serve() as served:
        await put(served, zip_of(PAGES))
        base = "/root/dev/demo/1.0"
        assert await text(served, f"{base}/+doc/") == (200, PAGES["index.html"].decode())
        assert await text(served, f"{base}/+doc/guide/") == (200, PAGES["guide/index.html"].decode())
        for path, location in (
            (f"{base}/+doc", "+doc/"),
            (f"{base}/+doc?x=1", "+doc/?x=1"),
            (f"{base}/+doc/guide", "guide/"),
            (f"{base}/+d", "+doc/"),
            (f"{base}/+d/", "../+doc/"),
            (f"{base}/+d/guide/more.html?q=a", "../../+doc/guide/more.html?q=a"),
            (f"{base}/+d/_static/a%20b+c.js", "../../+doc/_static/a%20b%2Bc.js"),
        ):
            async with served.get(path) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, location)
        async with served.client.get(f"{served.url}{base}/+d/guide/more.html") as answer:
            assert (answer.status, await answer.text()) == (200, "more")


@pytest.mark.parametrize(
    "path",
    [
        "nothing.html",
        "_static/",
        "_static",
        "guide/more.html/",
        "INDEX.HTML",
        "../../../../+status",
        "%2e%2e/x",
        "guide//more.html",
        "guide%2fmore.html",
    ],
)
async def test_what_is_not_there_is_404(serve: Serve, path: str) -> None:
    async with serve() as served:
        await put(served, zip_of(PAGES))
        async with served.get(f"/root/dev/demo/1.0/+doc/{path}") as answer:
            assert answer.status == 404


async def test_latest_and_stable(serve: Serve) -> None:
    """The newest by version, not by date; `stable` passes over pre-releases; a version by PEP 440 equality."""
    async with serve() as served:
        for version in ("1.10", "1.9", "2.0rc1", "2.0.dev5"):
            await put(served, zip_of({"index.html": version.encode()}), version)
        base = "/root/dev/demo"
        assert await text(served, f"{base}/latest/+doc/") == (200, "2.0rc1")
        assert await text(served, f"{base}/stable/+doc/") == (200, "1.10")
        assert await text(served, f"{base}/1.9.0/+doc/") == (200, "1.9")
        assert (await text(served, f"{base}/3.0/+doc/"))[0] == 404
        assert (await text(served, "/root/dev/other/latest/+doc/"))[0] == 404
        await put(served, zip_of({"index.html": b"new"}), "2.0")
        assert await text(served, f"{base}/latest/+doc/") == (200, "new"), "at once"


async def test_only_pre_releases_are_not_stable(serve: Serve) -> None:
    async with serve() as served:
        await put(served, zip_of(PAGES), "2.0rc1")
        assert (await text(served, "/root/dev/demo/stable/+doc/"))[0] == 404


async def test_documentation_is_inherited_from_the_first_layer_that_has_it(serve: Serve) -> None:
    async with serve() as served:
        low = await served.index("root/low")
        middle = await served.index("root/middle", bases=(low,))
        top = await served.index("root/top", bases=(middle,))
        await put(served, zip_of({"index.html": b"low 3"}), "3.0", low)
        await put(served, zip_of({"index.html": b"low 1"}), "1.0", low)
        await put(served, zip_of({"index.html": b"middle 2"}), "2.0rc1", middle)
        for index in (top, middle):
            assert await text(served, f"/{index}/demo/latest/+doc/") == (200, "middle 2")
            assert await text(served, f"/{index}/demo/stable/+doc/") == (200, "low 3")
            assert await text(served, f"/{index}/demo/1.0/+doc/") == (200, "low 1")
        assert (await text(served, f"/{low}/demo/2.0rc1/+doc/"))[0] == 404


async def test_a_layer_that_may_not_be_read_is_left_out(serve: Serve) -> None:
    """And what depends on who asks is for nobody's shared cache."""
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        open_index = await served.index("root/open")
        secret = await served.index("anna/secret", bases=(open_index,), acl_read=("anna",))
        top = await served.index("root/top", bases=(secret, open_index))
        await put(served, zip_of({"index.html": b"secret"}), "1.0", secret)
        await put(served, zip_of({"index.html": b"open"}), "1.0", open_index)
        path = f"/{top}/demo/latest/+doc/"
        assert await text(served, path, headers=anna) == (200, "secret")
        assert await text(served, path, headers=ben) == (200, "open")
        assert await text(served, path) == (200, "open")
        assert (await text(served, f"/{secret}/demo/latest/+doc/"))[0] == 401
        assert (await text(served, f"/{secret}/demo/latest/+doc/", headers=ben))[0] == 404
        async with served.get(path, headers=anna) as answer:
            assert answer.headers["Cache-Control"] == "private, max-age=60"
            assert answer.headers["Vary"] == "Host, Authorization"
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_quarantined_project_shows_none(serve: Serve) -> None:
    async with serve() as served:
        await put(served, zip_of(PAGES))
        assert (await text(served, "/root/dev/demo/1.0/+doc/"))[0] == 200
        await served.engine.store.apply([PutProject(HOSTED, DEMO, PageHead(status="quarantined"))], who="[test]")
        assert (await text(served, "/root/dev/demo/1.0/+doc/"))[0] == 404


async def test_a_large_page_comes_whole(serve: Serve) -> None:
    big = bytes(range(256)) * 20_000
    async with serve() as served:
        await put(served, zip_of({"index.html": big, "z": b""}))
        async with served.get("/root/dev/demo/1.0/+doc/index.html") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(big)))
            assert await answer.read() == big


@pytest.mark.parametrize("size", [100, 5_000_000])
async def test_a_damaged_page_is_an_error(serve: Serve, size: int) -> None:
    """Small: 500. Large: the connection breaks before the end. Never a page that looks whole."""
    content = b"x" * size
    data = assemble([Entry(b"index.html", content, local={"crc": 7}, central={"crc": 7}), Entry(b"fine.txt", b"fine")])
    async with serve() as served:
        await put(served, data)
        try:
            async with served.get("/root/dev/demo/1.0/+doc/") as answer:
                assert answer.status == 500 or await answer.read() != content
        except aiohttp.ClientPayloadError:
            assert size > 1_000_000
        assert await text(served, "/root/dev/demo/1.0/+doc/fine.txt") == (200, "fine")


async def test_a_zip_that_is_lost_or_no_zip_is_an_error_that_ends_with_its_repair(serve: Serve) -> None:
    async with serve() as served:
        attachment = await put(served, b"no zip at all")
        assert (await text(served, "/root/dev/demo/1.0/+doc/"))[0] == 500
        lost = replace(attachment, sha256=Sha256("0" * 64), filename="demo-2.0.doc.zip", version="2.0")
        await served.engine.store.apply([PutAttachment(HOSTED, DEMO, lost)], who="[test]")
        status, said = await text(served, "/root/dev/demo/2.0/+doc/")
        assert (status, "restore the blob" in said) == (500, True)
        good = await put(served, zip_of(PAGES))
        await served.engine.blobs.drop(good.sha256)
        assert (await text(served, "/root/dev/demo/1.0/+doc/"))[0] == 500
        await served.engine.blobs.put(zip_of(PAGES))
        assert (await text(served, "/root/dev/demo/1.0/+doc/"))[0] == 200


async def test_a_page_costs_its_own_bytes(serve: Serve) -> None:
    """Of a zip of four megabytes, one small page: the directory once, and the page."""
    async with serve() as served:
        blobs = _Counting(served.engine.blobs.read)
        attachment = await put(
            served, zip_of({"index.html": b"x", "big": bytes(4_000_000), "a.txt": b"y"}, stored=True)
        )
        served.engine.documentation._blobs = blobs  # type: ignore[assignment]  # the one method that is used
        for _ in range(3):
            assert await text(served, "/root/dev/demo/1.0/+doc/a.txt") == (200, "y")
        assert attachment.size > 4_000_000
        assert blobs.spans[0] == attachment.size - 256 * 1024
        assert len(blobs.spans) == 4
        assert blobs.bytes < 256 * 1024 + 3 * 200


class _Counting:
    """A blob store that counts what is read of it."""

    def __init__(self, read: object) -> None:
        self._read = read
        self.spans: list[int] = []
        self.bytes = 0

    async def read(self, key: Sha256, span: Span) -> AsyncIterator[bytes]:
        self.spans.append(span.start)
        async for data in self._read(key, span):  # type: ignore[operator]  # the real one
            self.bytes += len(data)
            yield data


def test_types_are_fixed_and_active_ones_are_few() -> None:
    assert content_type("a/b.HTML") == "text/html"
    assert content_type("a.html/b") == content_type(".html") == content_type("noextension") == OTHER
    assert not any("multipart" in each for each in TYPES.values())
