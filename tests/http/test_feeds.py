"""Feeds: what is new, the newest first, and only what the reader may get."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import Mock
from xml.etree import ElementTree as ET

from pkgindex_core.changes import Commit, DropFile, YankFile
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.services.reading.news import RecentNews
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, Serve, Served, basic

ATOM = "{http://www.w3.org/2005/Atom}"
DEMO = ProjectName("demo")


async def titles(served: Served, path: str, **headers: str) -> list[str]:
    async with served.get(path, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("application/atom+xml")
        feed = ET.fromstring(await answer.read())  # of our own server
    return [entry.findtext(f"{ATOM}title", "") for entry in feed.iter(f"{ATOM}entry")]


async def test_the_feed_of_an_index(serve: Serve) -> None:
    """It begins with what was there before the first reader, and grows; a deleted file goes."""
    async with serve() as served:
        one, two = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
        await served.put(one)
        assert await titles(served, "/root/dev/+feed") == [f"demo 1.0: {one.filename}"]
        await served.put(two)
        yank = YankFile(HOSTED, DEMO, one.filename, "a <b>bad</b> \x00 idea")
        await served.engine.store.apply([yank], who="root")
        assert await titles(served, "/root/dev/+feed") == [
            f"demo 1.0: {one.filename} is yanked", f"demo 2.0: {two.filename}", f"demo 1.0: {one.filename}",
        ]  # fmt: skip
        await served.engine.store.apply([DropFile(HOSTED, DEMO, one.filename)], who="root")
        assert await titles(served, "/root/dev/+feed") == [f"demo 2.0: {two.filename}"]


async def test_a_feed_names_publishers_only(serve: Serve) -> None:
    """Readers see them in the history of a file too. Who yanked it they see nowhere else."""
    async with serve() as served:
        file = build_wheel("demo", "1.0")
        await served.put(file)
        await served.engine.store.apply([YankFile(HOSTED, DEMO, file.filename, True)], who="boss (token 1)")
        async with served.get("/root/dev/+feed") as answer:
            feed = ET.fromstring(await answer.read())  # of our own server
        yanked, new = feed.iter(f"{ATOM}entry")
        assert yanked.find(f"{ATOM}author") is None
        assert new.findtext(f"{ATOM}author/{ATOM}name") == "[test]"


async def test_readers_at_one_time_add_no_news_twice(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        store = served.engine.store
        slow = Mock(head=store.head)

        async def commits(after: Serial, *, limit: int) -> Sequence[Commit]:
            await asyncio.sleep(0.01)
            return await store.commits(after, limit=limit)

        slow.commits = commits
        news = RecentNews(store=slow)
        await news.of(HOSTED)
        await served.put(build_wheel("demo", "2.0"))
        await asyncio.gather(*(news.of(HOSTED) for _ in range(4)))
        assert len(await news.of(HOSTED)) == 2


async def test_the_feed_of_a_project_has_its_releases(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.put(build_wheel("demo", "1.1"), yanked="broken")
        assert set(await titles(served, "/root/dev/+feed/demo")) == {"demo 1.1 (yanked)", "demo 1.0"}
        async with served.get("/root/dev/+feed/absent") as answer:
            assert answer.status == 404


async def test_an_equal_feed_is_not_sent_again(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        for path in ("/root/dev/+feed", "/root/dev/+feed/demo"):
            async with served.get(path) as answer:
                etag = answer.headers["ETag"]
            async with served.get(path, headers={"If-None-Match": etag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
            await served.put(build_wheel("demo", f"2.{len(path)}"))
            async with served.get(path, headers={"If-None-Match": etag}) as answer:
                assert answer.status == 200


async def test_a_private_feed_needs_the_rights_of_the_page(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        await served.put(build_wheel("demo", "1.0"), index=await served.index("anna/private", acl_read=("anna",)))
        for path in ("/anna/private/+feed", "/anna/private/+feed/demo"):
            async with served.get(path) as answer:
                assert answer.status == 401
            assert await titles(served, path, **basic("anna")) != []
