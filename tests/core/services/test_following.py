"""Followers: beside a server, not beside a command, and no failure of theirs ends anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Follower
from pkgindex_core.services.moving import following


class _Failing:
    """A follower that fails once, then follows until it is told to stop."""

    def __init__(self) -> None:
        self.context: Context | None = None
        self.begun = 0
        self.story: list[str] = []
        self.news = asyncio.Event()

    async def follow(self) -> None:
        self.begun += 1
        self.news.set()
        if self.begun == 1:
            raise RuntimeError("a mistake in a plugin")
        try:
            await asyncio.Event().wait()
        finally:
            self.story.append("cancelled")

    async def close(self) -> None:
        self.story.append("closed")

    @hookimpl
    def pkgindex_followers(self) -> list[Provider[Follower]]:
        async def make(context: Context) -> _Failing:
            self.context = context
            return self

        return [Provider(name="failing", summary="a fake", make=make)]


async def test_a_follower_that_fails_begins_again_and_ends_with_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "_PAUSE_SECONDS", 0.0)
    follower = _Failing()
    plugins = load_plugins(extra=[follower], disabled=["pkgindex"])
    settings = Settings(data=tmp_path, store="memory://", blobs="memory://")
    async with Engine.open(settings, plugins=plugins, followers=True, public_url="http://localhost:80"):
        async with asyncio.timeout(30):
            while follower.begun < 2:
                follower.news.clear()
                await follower.news.wait()
        assert follower.context is not None
        assert follower.context.public_url == "http://localhost:80"
        assert follower.context.index_store is not None
    assert follower.story == ["cancelled", "closed"]
    assert "a mistake in a plugin" in caplog.text


async def test_commands_have_no_followers(tmp_path: Path) -> None:
    follower = _Failing()
    plugins = load_plugins(extra=[follower], disabled=["pkgindex"])
    async with Engine.open(Settings(data=tmp_path, store="memory://", blobs="memory://"), plugins=plugins):
        await asyncio.sleep(0)
    assert follower.begun == 0
