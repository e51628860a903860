"""Advisories go over the gap in the bundles of a mirror, and a server there takes them in without a network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pkgindex_core.engines.advisories.book import FiledBook
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.advisories.carrying import carry_feed
from pkgindex_mirror.advisories.feed_settings import FeedSettings
from pkgindex_mirror.advisories.feeding import AdvisoryFeed
from tests.mirror.advisories.test_feeding import served, zipped
from tests.mirror.bundles.far_sides import NearSide
from tests.mirror.snapshots.mirrors import contents, ran, run


async def known_behind(root: Path, data: Path) -> list[str]:
    """What a server behind the gap knows, whose feed is the file of the tree."""
    settings = FeedSettings(feed=str(root / "advisories/PyPI.zip"))
    await AdvisoryFeed(data=data, settings=settings, clock=ManualClock()).refresh()
    return [name for name in ("evil", "worse") if FiledBook(data).about(ProjectName(name))]


def test_a_server_behind_the_gap_knows_what_the_near_side_knew(tmp_path: Path) -> None:
    near, feed, data = NearSide(tmp_path), tmp_path / "all.zip", tmp_path / "data"
    far = near.far()
    for names in (["evil"], ["evil", "worse"]):
        feed.write_bytes(zipped(*names))
        ran("snapshot", "create", "--root", near.root, "--advisories", feed)
        assert far.apply(*near.create(snapshot=False)).refused == []
        assert far.contents == contents(near.root)
        assert asyncio.run(known_behind(far.root, data)) == names
    before = ran("snapshot", "create", "--root", near.root)
    assert ran("snapshot", "create", "--root", near.root, "--advisories", feed, "--if-changed") == before


@pytest.mark.parametrize("broken", [b"", zipped("evil")[:-30], zipped()])
def test_a_feed_that_cannot_be_read_is_not_carried(tmp_path: Path, broken: bytes) -> None:
    near, feed = NearSide(tmp_path), tmp_path / "all.zip"
    feed.write_bytes(zipped("evil"))
    ran("snapshot", "create", "--root", near.root, "--advisories", feed)
    before = contents(near.root)
    feed.write_bytes(broken)
    assert run("snapshot", "create", "--root", near.root, "--advisories", feed).exit_code == 1
    assert contents(near.root) == before
    assert sorted(each.name for each in (near.root / "advisories").iterdir()) == ["PyPI.zip"]
    assert run("snapshot", "create", "--index", "root/pypi", "--advisories", feed).exit_code == 2


async def test_a_feed_is_fetched_from_its_url(tmp_path: Path) -> None:
    async with served() as feed:
        assert await carry_feed(feed.url, tmp_path) is True
        assert await carry_feed(feed.url, tmp_path) is False
        assert (tmp_path / "advisories/PyPI.zip").read_bytes() == feed.body
