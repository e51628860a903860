"""Sizes of files whose upstream lists none: from heads of its answers, asked for behind the page, until the file itself was fetched."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_http.wire.replies import SERVER
from pkgindex_mirror.documents import plain_pages
from pkgindex_mirror.readthrough.files.stated_sizes import lacks_sizes, with_stated_size
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Raw
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import Document

from .conftest import DEMO, INDEX, SIZES, MakeMirror, Mirror

WHEELS = [build_wheel("demo", version) for version in ("1.0", "2.0", "10.0", "9.0")]
OLD, NEW = WHEELS[0], build_wheel("demo", "11.0")
OFTEN = {**SIZES, "mirror_cache_expiry": 0}


async def shown(mirror: Mirror, project: ProjectName = DEMO) -> dict[str, int | None]:
    """The sizes that the page shows, by filename."""
    page = await mirror.store.page(INDEX, project)
    assert page is not None
    sizes = {row.filename: json.loads(b'{"url":"' + row.fragment + b"}").get("size") for row in page.rows}
    assert sizes == {name: file.shown_size for name, file in (await mirror.files(project)).items()}
    return sizes


def heads(upstream: ScriptedUpstream) -> list[str]:
    return [asked.path.rpartition("/")[2] for asked in upstream.asked if asked.place == "head"]


@pytest.mark.parametrize("kept", [True, False], ids=["in one piece", "in rows"])
@pytest.mark.parametrize("poor", ["html", "json"])
async def test_a_later_page_shows_what_heads_state(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch, poor: Any, *, kept: bool
) -> None:
    if not kept:
        monkeypatch.setattr(plain_pages, "KEPT_BYTES", 0)
    upstream.speaks = poor
    sdist = build_sdist("demo", "3.0")
    upstream.add("demo", *WHEELS, sdist, size=None)
    told, size = asyncio.Event(), UpstreamClient.size

    async def held(client: UpstreamClient, site: Site, url: str) -> Any:
        await told.wait()
        return await size(client, site, url)

    monkeypatch.setattr(UpstreamClient, "size", held)
    mirror = await make_mirror(upstream.url, config=OFTEN)
    await mirror.refresh()
    assert set((await shown(mirror)).values()) == {None}
    told.set()
    await mirror.sized()
    assert await shown(mirror) == {file.filename: file.size for file in (*WHEELS, sdist)}
    assert upstream.count("file") == 0
    # Nobody asks twice, and a page of which nothing is new is no change.
    head = await mirror.store.head()
    for validators in (True, False):
        upstream.gives_validators = validators
        mirror.clock.advance(10_000)
        await mirror.refresh()
        await mirror.sized()
    assert len(heads(upstream)) == 5
    assert await mirror.store.head() == head
    # Not after a restart either.
    again = await make_mirror(upstream.url, config=OFTEN, of=mirror)
    await again.refresh()
    await again.sized()
    assert len(heads(upstream)) == 5


async def test_the_newest_files_are_asked_about_and_no_more_than_the_option_says(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.speaks = "html"
    upstream.add("demo", *WHEELS)
    mirror = await make_mirror(upstream.url, config={**OFTEN, "mirror_sizes": 2})
    for _ in range(3):
        await mirror.refresh()
        await mirror.sized()
    newest = [WHEELS[2].filename, WHEELS[3].filename]
    assert heads(upstream) == newest
    # The fetched size of another file takes none of the places.
    await mirror.download(OLD.filename)
    upstream.add("demo", NEW)
    await mirror.refresh()
    await mirror.sized()
    assert heads(upstream) == [*newest, NEW.filename]
    assert [name for name, size in (await shown(mirror)).items() if size is None] == [WHEELS[1].filename]


async def test_with_0_nobody_is_asked(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.speaks = "html"
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url, config={"mirror_sizes": 0})
    await mirror.refresh()
    await mirror.sized()
    assert heads(upstream) == []


async def test_an_upstream_that_lists_sizes_is_not_asked(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    """Not even about a file of which it does not tell the size."""
    upstream.add("demo", OLD)
    upstream.add("demo", NEW, size=None)
    mirror = await make_mirror(upstream.url, config=OFTEN)
    for validators in (False, True, True):
        upstream.gives_validators = validators
        await mirror.refresh()
        await mirror.sized()
    assert heads(upstream) == []


async def test_an_upstream_that_is_this_program_is_not_asked(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """It would fetch each file, and asks its own upstream anyway."""
    upstream.speaks = "html"
    upstream.page_headers = {"Server": SERVER}
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url, config=SIZES)
    await mirror.refresh()
    await mirror.sized()
    assert heads(upstream) == []


async def test_a_size_of_the_page_replaces_a_stated_one(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.speaks = "html"
    upstream.add("demo", OLD)
    upstream.script("head", behaviours.with_body(lambda body: body + b"more"))
    mirror = await make_mirror(upstream.url, config=OFTEN)
    await mirror.refresh()
    await mirror.sized()
    assert await shown(mirror) == {OLD.filename: OLD.size + 4}
    upstream.speaks = "both"
    await mirror.refresh()
    file = await mirror.file(OLD.filename)
    assert (file.size, file.stated_size) == (OLD.size, None)


@pytest.mark.parametrize(
    "head",
    [
        b"200 OK\r\nContent-Length: 99999999999999999999999999",
        b"200 OK\r\nContent-Length: 0",
        b"200 OK\r\nContent-Length: -5",
        b"200 OK\r\nTransfer-Encoding: chunked",
        b"200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip",
        b"200 OK\r\nContent-Length: 5\r\nContent-Type: text/html",
        b"203 Changed\r\nContent-Length: 5",
        b"206 Part\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/5",
        b"204 Nothing\r\nContent-Length: 5",
    ],
    ids=lambda head: head.decode().replace("\r\n", " "),
)
async def test_a_head_that_tells_no_size_of_a_whole_file(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, head: bytes
) -> None:
    upstream.speaks = "html"
    sdist = build_sdist("demo", "1.0")
    upstream.add("demo", sdist)
    upstream.script("head", lambda *_: Raw(pieces=[b"HTTP/1.1 " + head + b"\r\n\r\n"]))
    mirror = await make_mirror(upstream.url, config=SIZES)
    await mirror.refresh()
    await mirror.sized()
    assert len(heads(upstream)) == 1
    assert await shown(mirror) == {sdist.filename: None}


async def test_a_redirect_is_followed(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.speaks = "html"
    upstream.add("demo", OLD)
    upstream.add("other", NEW)
    upstream.script(f"/files/{OLD.filename}", behaviours.redirect(f"/files/{NEW.filename}"))
    mirror = await make_mirror(upstream.url, config=SIZES)
    await mirror.refresh()
    await mirror.sized()
    assert heads(upstream) == [OLD.filename, NEW.filename]
    assert await shown(mirror) == {OLD.filename: NEW.size}


class TestWhatIsAskedAnyway:
    """Without any HEAD."""

    async def test_the_ranges_of_a_sidecar(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.announces_sidecars = upstream.has_sidecars = False
        upstream.add("demo", *WHEELS, size=None)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        assert await mirror.sidecar(OLD.filename) == OLD.metadata
        assert (await shown(mirror))[OLD.filename] == OLD.size
        file = await mirror.file(OLD.filename)
        assert (file.size, file.stated_size, file.metadata_sha256) == (None, OLD.size, sha256_of(OLD.metadata))

    async def test_the_ranges_of_an_announced_sidecar_leave_its_digest(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.has_sidecars = False
        upstream.add("demo", OLD, size=None)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        await mirror.sidecar(OLD.filename)
        file = await mirror.file(OLD.filename)
        assert (file.stated_size, file.metadata_refuted) == (OLD.size, None)
        assert file.metadata_sha256 == sha256_of(OLD.metadata)

    async def test_a_fetch(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        """Also of a file whose sha256 the page has."""
        upstream.add("demo", OLD, size=None)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        await mirror.download(OLD.filename)
        assert await shown(mirror) == {OLD.filename: OLD.size}
        assert (await mirror.file(OLD.filename)).size == OLD.size


class TestFailures:
    async def test_a_missing_file_rests(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.speaks = "html"
        upstream.add("demo", *WHEELS)
        upstream.script(f"/files/{WHEELS[2].filename}", behaviours.status(404))
        mirror = await make_mirror(upstream.url, config=OFTEN)
        for _ in range(2):
            await mirror.refresh()
            await mirror.sized()
        assert sorted(heads(upstream)) == sorted(wheel.filename for wheel in WHEELS)
        assert [name for name, size in (await shown(mirror)).items() if size is None] == [WHEELS[2].filename]
        upstream.behave()
        mirror.clock.advance(3601)
        await mirror.refresh()
        await mirror.sized()
        assert len(heads(upstream)) == len(WHEELS) + 1
        assert None not in (await shown(mirror)).values()

    @pytest.mark.parametrize("status", [405, 500, 501])
    async def test_a_host_that_does_not_answer_heads_rests_and_serves_pages(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror, status: int
    ) -> None:
        upstream.speaks = "html"
        upstream.add("demo", *WHEELS)
        upstream.add("other", build_wheel("other", "1.0"))
        upstream.script("head", behaviours.status(status))
        mirror = await make_mirror(upstream.url, config=OFTEN, breaker_failures=1)
        for project in (DEMO, ProjectName("other"), DEMO):
            assert (await mirror.refresh(project)).state == "fresh"
            await mirror.sized()
        assert heads(upstream) == [WHEELS[2].filename]
        mirror.clock.advance(3601)
        await mirror.refresh()
        await mirror.sized()
        assert heads(upstream) == [WHEELS[2].filename] * 2

    async def test_a_host_that_wants_to_be_left_alone_is(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.speaks = "html"
        upstream.add("demo", *WHEELS)
        upstream.script("head", behaviours.status(429, headers={"Retry-After": "60"}))
        mirror = await make_mirror(upstream.url, config=OFTEN)
        await mirror.refresh()
        await mirror.sized()
        assert len(heads(upstream)) == 1
        with pytest.raises(Unavailable, match="429"):
            await mirror.refresh(ProjectName("other"))

    async def test_few_are_asked_at_once(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.speaks = "html"
        names = [ProjectName(f"demo{number}") for number in range(12)]
        for name in names:
            upstream.add(name, *(build_wheel(name, version) for version in ("1.0", "2.0")))
        upstream.script("head", behaviours.silent())
        mirror = await make_mirror(upstream.url, config=SIZES, read_timeout=60.0)
        for name in names:
            await mirror.refresh(name)
        while len(heads(upstream)) < 4:
            await asyncio.sleep(0.01)
        assert (await mirror.refresh(ProjectName("another"))).state == "absent"  # there was time for more
        await upstream.stop()
        await mirror.sized()
        assert len(heads(upstream)) == 4

    async def test_nobody_waits_for_them(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.speaks = "html"
        upstream.add("demo", *WHEELS)
        upstream.script("head", behaviours.silent())
        mirror = await make_mirror(upstream.url, config=SIZES, read_timeout=60.0)
        assert (await mirror.refresh()).state == "fresh"
        assert await mirror.download(OLD.filename) == OLD.data


def test_a_changed_link_is_another_file() -> None:
    asked = File(filename="demo-1.0.tar.gz", url="https://files.example.org/1")
    assert with_stated_size(asked, asked, 5).shown_size == 5
    other = File(filename="demo-1.0.tar.gz", url="https://files.example.org/2")
    assert with_stated_size(other, asked, 5) == other
    told = File(filename="demo-1.0.tar.gz", url="https://files.example.org/1", size=4)
    assert with_stated_size(told, asked, 5) == told


@pytest.mark.parametrize(
    ("body", "listed"),
    [
        (b'{"files": [{"filename": "a", "size": 5}]}', True),
        (b'{"files": [{"filename": "a", "size" :\n5}]}', True),
        (b'{"files": [{"filename": "a", "size": null}]}', False),
        (b'{"files": []}', False),
        (b'<html><body>"size": 5</body></html>', False),
    ],
)
def test_whether_a_page_lists_sizes(body: bytes, *, listed: bool) -> None:
    page = Document(body=body, content_type="", url="https://example.org/simple/demo/", validators={}, received=0)
    assert lacks_sizes(page) is not listed
