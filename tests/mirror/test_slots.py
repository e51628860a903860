"""How many requests are under way to one host, and that a slow host does not take the places of others."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.slots import Slots
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from tests.mirror.conftest import MakeMirror

SLOW, OTHER = "https://slow.example.org/files/a.whl", "https://other.example.org/files/b.whl"


async def test_slots_tell_how_many_are_used_and_wanted() -> None:
    slots, release = Slots(2), asyncio.Event()

    async def hold() -> None:
        async with slots:
            await release.wait()

    holders = [asyncio.ensure_future(hold()) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert (slots.used, slots.waiting) == (2, 3)
    holders[4].cancel()
    await asyncio.sleep(0.01)
    assert (slots.used, slots.waiting) == (2, 2)
    release.set()
    await asyncio.gather(*holders, return_exceptions=True)
    assert (slots.used, slots.waiting) == (0, 0)


async def test_only_so_many_requests_go_to_one_host(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    """Metadata too, which has no bound of its own."""
    wheels = [build_wheel("demo", f"{number}.0") for number in range(6)]
    upstream.add("demo", *wheels)
    upstream.script("sidecar", behaviours.silent())
    mirror = await make_mirror(upstream.url, concurrent_requests=2, file_wait=0.2, read_timeout=20.0)
    await mirror.refresh()
    client = mirror.readthrough._client
    asked = [asyncio.ensure_future(mirror.sidecar(wheel.filename)) for wheel in wheels]
    while upstream.count("sidecar") < 2:
        await asyncio.sleep(0.01)
    assert client.hosts.load() == (2, 4)
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
    assert upstream.count("sidecar") == 2


async def test_a_slow_host_does_not_take_the_places_of_files_of_another(clock: ManualClock) -> None:
    client = UpstreamClient(MirrorSettings(concurrent_files=2), clock)
    async with client.hosts.file_slot(SLOW), client.hosts.file_slot(SLOW):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), client.hosts.file_slot(SLOW):
                pass
        async with client.hosts.file_slot(OTHER):
            pass
    assert client.hosts.load() == (0, 0)


async def test_files_of_all_hosts_together_have_a_bound_too(clock: ManualClock) -> None:
    client = UpstreamClient(MirrorSettings(concurrent_files=1), clock)
    host = "https://{}.example.org/a.whl"
    async with (
        client.hosts.file_slot(host.format(1)),
        client.hosts.file_slot(host.format(2)),
        client.hosts.file_slot(host.format(3)),
        client.hosts.file_slot(host.format(4)),
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), client.hosts.file_slot(host.format(5)):
                pass


async def test_a_host_that_is_left_alone_refuses_files_without_a_place(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """A request that waited for its turn would wait in vain."""
    wheels = [build_wheel("demo", f"{number}.0") for number in range(2)]
    upstream.add("demo", *wheels)
    mirror = await make_mirror(upstream.url, concurrent_requests=1, breaker_failures=1, attempts=1)
    await mirror.refresh()
    host = mirror.readthrough._client.hosts.of(upstream.url)
    upstream.script("sidecar", behaviours.status(503))
    upstream.script("file", behaviours.status(503))
    with pytest.raises(Unavailable):
        await mirror.sidecar(wheels[0].filename)
    assert host.breaker.is_open
    async with host.requests:
        with pytest.raises(Unavailable, match="failed a moment ago"):
            await mirror.sidecar(wheels[1].filename)
