"""A server keeps its advisories up to date: one conditional request each time, and what is known outlives every failure."""

import asyncio
import fcntl
import json
import os
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pkgindex_core.engines.advisories.book import FiledBook, book_path, noted_check
from pkgindex_core.errors import Conflict, PkgIndexError, Refused, Unavailable
from pkgindex_core.failpoints import arm
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.advisories.feed_settings import FeedSettings, read_feed_settings
from pkgindex_mirror.advisories.feeding import AdvisoryFeed

POINT = "advisories.book_made"


def zipped(*projects: str) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, name in enumerate(projects):
            affected = [{"package": {"ecosystem": "PyPI", "name": name}}]
            record = {"id": f"MAL-{number}", "modified": "2026-01-01T00:00:00Z", "affected": affected}
            archive.writestr(f"MAL-{number}.json", json.dumps(record))
    return out.getvalue()


class Feed:
    """A real HTTP server of a feed, whose answers a test sets."""

    def __init__(self) -> None:
        self.body = zipped("evil")
        self.status = 200
        self.cut = False
        self.tells = True
        """Whether it sends validators."""
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.headers.get("If-None-Match", ""), request.headers.get("If-Modified-Since", "")))
        tag = f'"{len(self.body)}"'
        if self.status != 200:
            return web.Response(status=self.status)
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        if self.cut:
            response = web.StreamResponse(headers={"Content-Length": str(len(self.body)), "ETag": tag})
            await response.prepare(request)
            await response.write(self.body[:-10])
            assert request.transport is not None
            request.transport.abort()
            return response
        told = {"ETag": tag, "Last-Modified": "Tue, 01 Dec 2026 00:00:00 GMT"} if self.tells else {}
        return web.Response(body=self.body, headers=told)


@asynccontextmanager
async def served() -> AsyncIterator[Feed]:
    feed = Feed()
    app = web.Application()
    app.router.add_get("/PyPI/all.zip", feed.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    feed.url = f"http://127.0.0.1:{runner.addresses[0][1]}/PyPI/all.zip"
    try:
        yield feed
    finally:
        await runner.cleanup()


def follower(data: Path, feed: str, clock: ManualClock | None = None, **settings: Any) -> AdvisoryFeed:
    return AdvisoryFeed(data=data, settings=FeedSettings(feed=feed, **settings), clock=clock or ManualClock())


def known(data: Path) -> list[str]:
    book = FiledBook(data)
    return [name for name in ("evil", "worse") if book.about(ProjectName(name))]


async def test_a_feed_is_fetched_once_and_then_asked_whether_it_changed(tmp_path: Path) -> None:
    clock = ManualClock()
    async with served() as feed:
        asking = follower(tmp_path, feed.url, clock)
        assert await asking.refresh() is True
        assert known(tmp_path) == ["evil"]
        clock.advance(300)
        assert await asking.refresh() is False
        assert FiledBook(tmp_path).state().checked == clock.now()
        feed.body = zipped("evil", "worse")
        assert await follower(tmp_path, feed.url, clock).refresh() is True  # a new process knows the validators
        assert known(tmp_path) == ["evil", "worse"]
        tags = [tag for tag, _ in feed.asked]
        assert tags == ["", f'"{len(zipped("evil"))}"', f'"{len(zipped("evil"))}"']
        assert feed.asked[1][1] == "Tue, 01 Dec 2026 00:00:00 GMT"


async def test_a_feed_without_validators_is_taken_in_when_its_bytes_changed(tmp_path: Path) -> None:
    async with served() as feed:
        feed.tells = False
        assert await follower(tmp_path, feed.url).refresh() is True
        before = book_path(tmp_path).stat().st_ino
        assert await follower(tmp_path, feed.url).refresh() is False
        assert book_path(tmp_path).stat().st_ino == before
        feed.body = zipped("evil", "worse")
        assert await follower(tmp_path, feed.url).refresh() is True
        assert known(tmp_path) == ["evil", "worse"]
        assert feed.asked == [("", "")] * 3


@pytest.mark.parametrize("trouble", ["503", "cut", "no zip", "nothing of PyPI", "too large", "gone"])
async def test_what_is_known_outlives_a_feed_that_fails(tmp_path: Path, trouble: str) -> None:
    async with served() as feed:
        await follower(tmp_path, feed.url).refresh()
        before = noted_check(tmp_path)
        feed.body = zipped("worse", "evil", "x")
        feed.status = 503 if trouble == "503" else 200
        feed.cut = trouble == "cut"
        if trouble == "no zip":
            feed.body = b"<html>log in</html>"
        if trouble == "nothing of PyPI":
            feed.body = zipped()
        limit = 10 if trouble == "too large" else 1_000_000
        url = feed.url if trouble != "gone" else feed.url.replace(feed.url.split(":")[2].split("/")[0], "9")
        with pytest.raises((Unavailable, Refused)):
            await follower(tmp_path, url, limit=limit).refresh()
        assert known(tmp_path) == ["evil"]
        assert noted_check(tmp_path) == before
        assert {each.name for each in book_path(tmp_path).parent.iterdir()} == {"book", "checked.json", "lock"}
        feed.body, feed.status, feed.cut = zipped("worse", "evil", "x"), 200, False
        await follower(tmp_path, feed.url).refresh()
        assert known(tmp_path) == ["evil", "worse"]


async def test_a_new_book_is_in_place_or_the_old_one_stays(tmp_path: Path) -> None:
    async with served() as feed:
        await follower(tmp_path, feed.url).refresh()
        feed.body = zipped("evil", "worse")
        arm(POINT + "=raise:ENOSPC")
        with pytest.raises(OSError, match="space"):
            await follower(tmp_path, feed.url).refresh()
        assert known(tmp_path) == ["evil"]
        assert {each.name for each in book_path(tmp_path).parent.iterdir()} == {"book", "checked.json", "lock"}
        await follower(tmp_path, feed.url).refresh()
        assert known(tmp_path) == ["evil", "worse"]


async def test_one_process_of_a_machine_asks(tmp_path: Path) -> None:
    async with served() as feed:
        book_path(tmp_path).parent.mkdir()
        other = os.open(book_path(tmp_path).parent / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            await follower(tmp_path, feed.url).refresh()
        os.close(other)
        await follower(tmp_path, feed.url).refresh()
        assert len(feed.asked) == 1


async def test_a_server_asks_when_it_is_time(tmp_path: Path) -> None:
    clock = ManualClock()
    pauses: list[float] = []
    turns = 6

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)
        if len(pauses) == turns:
            raise asyncio.CancelledError

    async with served() as feed:
        settings = FeedSettings(feed=feed.url, every=100.0)
        with pytest.raises(asyncio.CancelledError):
            await AdvisoryFeed(data=tmp_path, settings=settings, clock=clock, sleep=pause).follow()
        assert pauses == [25.0] * turns
        assert len(feed.asked) == 2  # at the start, and after 100 seconds


async def test_a_feed_that_fails_from_the_start_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise asyncio.CancelledError

    settings = FeedSettings(feed=str(tmp_path / "missing.zip"), every=100.0)
    with pytest.raises(asyncio.CancelledError):
        await AdvisoryFeed(data=tmp_path, settings=settings, clock=ManualClock(), sleep=pause).follow()
    (told,) = caplog.records
    assert "is interrupted" in told.getMessage()


async def test_a_file_that_changes_in_a_directory_is_noticed(tmp_path: Path) -> None:
    place = tmp_path / "feed"
    place.mkdir()
    with zipfile.ZipFile(BytesIO(zipped("evil", "worse"))) as archive:
        evil, worse = (archive.read(name) for name in sorted(archive.namelist()))
    (place / "a.json").write_bytes(evil)
    before = place.stat()
    assert await follower(tmp_path, str(place)).refresh() is True
    (place / "a.json").write_bytes(worse + b" ")
    assert place.stat().st_mtime_ns == before.st_mtime_ns
    assert await follower(tmp_path, str(place)).refresh() is True
    assert known(tmp_path) == ["worse"]


async def test_a_directory_is_a_feed(tmp_path: Path) -> None:
    feed = tmp_path / "all.zip"
    feed.write_bytes(zipped("evil"))
    assert await follower(tmp_path, str(feed)).refresh() is True
    assert await follower(tmp_path, str(feed)).refresh() is False
    feed.write_bytes(zipped("evil", "worse"))
    assert await follower(tmp_path, str(feed)).refresh() is True
    feed.unlink()
    with pytest.raises(Unavailable, match="cannot be read"):
        await follower(tmp_path, str(feed)).refresh()
    assert known(tmp_path) == ["evil", "worse"]


@pytest.mark.parametrize("table", [{"fed": "x"}, {"feed": 1}, {"feed": "x", "every": 0}])
def test_wrong_settings_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(PkgIndexError, match=r"plugins\.advisories"):
        read_feed_settings(table)
