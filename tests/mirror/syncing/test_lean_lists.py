"""The list of projects over the fast transport: read while it arrives, with trouble at its beginning left to the careful one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.syncing.lean_transport import LeanTransport
from pkgindex_mirror.syncing.listing import NoList, ReadList, read_list
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import Unchanged


class CountingClient(UpstreamClient):
    """Counts the lists for which the careful transport asks."""

    streams = 0

    def stream(self, *args: Any, **more: Any) -> Any:
        self.streams += 1
        return super().stream(*args, **more)


@asynccontextmanager
async def transport(upstream: ScriptedUpstream) -> AsyncIterator[tuple[LeanTransport, CountingClient]]:
    settings = MirrorSettings(connect_timeout=5.0, read_timeout=2.0, names_deadline=20.0, first_pause=0.001)
    client = CountingClient(settings, SystemClock())
    made = LeanTransport(client, Site(base=upstream.url), settings)
    try:
        yield made, client
    finally:
        await made.close()


async def listed(lean: LeanTransport, upstream: ScriptedUpstream, validators: Mapping[str, str] | None = None) -> Any:
    return await read_list(lean, upstream.url, validators)


@pytest.mark.parametrize("behaviour", [None, behaviours.gzipped(), behaviours.dripping_head(0.0)])
async def test_a_list_needs_one_request_and_no_careful_client(upstream: ScriptedUpstream, behaviour: Any):
    upstream.add("demo")
    if behaviour is not None:
        upstream.script("names", behaviour)
    async with transport(upstream) as (lean, client):
        found = await listed(lean, upstream)
        assert isinstance(found, ReadList)
        assert [entry[0] for entry in found.projects.pile.entries()] == ["demo"]
        assert upstream.count("names") == 1
        assert client.streams == 0


async def test_a_list_without_news_is_one_request(upstream: ScriptedUpstream):
    upstream.add("demo")
    async with transport(upstream) as (lean, client):
        first = await listed(lean, upstream)
        assert isinstance(await listed(lean, upstream, first.validators), Unchanged)
        assert upstream.count("names") == 2
        assert client.streams == 0


@pytest.mark.parametrize(
    "behaviour", [behaviours.status(503), behaviours.reset(0), behaviours.garbage(), behaviours.silent()]
)
async def test_trouble_before_the_body_is_for_the_careful_one(upstream: ScriptedUpstream, behaviour: Any):
    upstream.add("demo")
    upstream.script("names", behaviour, times=1)
    async with transport(upstream) as (lean, client):
        assert isinstance(await listed(lean, upstream), ReadList)
        assert client.streams == 1


@pytest.mark.parametrize("behaviour", [behaviours.truncated(), behaviours.cut_chunked(), behaviours.silent_after()])
async def test_half_a_list_is_no_list(upstream: ScriptedUpstream, behaviour: Any):
    upstream.add("demo")
    upstream.script("names", behaviour)
    async with transport(upstream) as (lean, _):
        assert isinstance(await listed(lean, upstream), NoList)


async def test_a_list_that_is_not_there_is_no_list(upstream: ScriptedUpstream):
    upstream.script("names", behaviours.status(404))
    async with transport(upstream) as (lean, client):
        assert isinstance(await listed(lean, upstream), NoList)
        assert client.streams == 0


def test_a_run_without_news_does_not_load_the_careful_client():
    code = "import pkgindex_mirror.commands.opened_mirrors, sys; print({'aiohttp', 'yarl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
