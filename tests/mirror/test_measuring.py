"""The counts of mirrors: each meter counts the events that its meaning names, and no others."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any

import pytest

from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.measuring import Histogram, Meter
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough import measuring
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Behaviour
from tests.mirror.conftest import DEMO, INDEX, MakeMirror, Mirror

WHEEL = build_wheel("demo", "1.0")
OTHER = ProjectName("other")
EXPIRY = 1800.0


async def read(mirror: Mirror) -> dict[Meter, dict[tuple[str, ...], Any]]:
    return {figures.meter: dict(figures.values) for figures in await mirror.readthrough.figures([mirror.index])}


async def counted(mirror: Mirror, meter: Meter, *labels: str) -> dict[str, float]:
    """The values of a meter other than 0, by its last label, for the first labels."""
    values = (await read(mirror))[meter]
    return {key[-1]: value for key, value in values.items() if value and key[: len(labels)] == labels}


async def ask(mirror: Mirror, project: ProjectName = DEMO) -> None:
    """Do what a request for a page does: it asks unless the page is current."""
    if not await mirror.is_fresh(project):
        with suppress(PkgIndexError):
            await mirror.refresh(project)


async def test_every_meter_is_told_and_has_a_meaning(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await make_mirror(upstream.url)
    told = await read(mirror)
    assert tuple(told) == measuring.METERS
    assert len({meter.name for meter in measuring.METERS}) == len(measuring.METERS)
    for meter in measuring.METERS:
        assert meter.name.startswith("pkgindex_mirror_")
        assert meter.name.endswith("_total") == (meter.kind == "counter")
        assert all(len(labels) == len(meter.labels) for labels in told[meter])


async def test_every_word_of_a_label_is_explained(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await ask(mirror)
    for meter, values in (await read(mirror)).items():
        words = {
            word
            for labels in values
            for name, word in zip(meter.labels, labels, strict=True)
            if name not in {"index", "upstream"}
        }
        explained = set(re.findall(r"`(\w+)`", meter.meaning))
        assert {word for word in words if not re.fullmatch(r"[2-5]xx", word)} - explained == set()


class TestPages:
    async def test_a_page_is_a_miss_then_a_hit_then_refreshed(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url, config={"cache_expiry": EXPIRY})
        for _ in range(3):
            await ask(mirror)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"miss": 1, "hit": 2}
        mirror.clock.advance(EXPIRY + 1)
        await ask(mirror)
        await ask(mirror)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"miss": 1, "hit": 3, "refreshed": 1}
        assert await counted(mirror, measuring.QUESTIONS, INDEX) == {"new": 1, "unchanged": 1}
        upstream.add("demo", build_wheel("demo", "2.0"))
        mirror.clock.advance(EXPIRY + 1)
        await ask(mirror)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"miss": 1, "hit": 3, "refreshed": 2}
        assert await counted(mirror, measuring.QUESTIONS, INDEX) == {"new": 2, "unchanged": 1}
        assert await counted(mirror, measuring.STORED) == {INDEX: 1}

    async def test_a_project_that_is_absent_is_negative_afterwards(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        mirror = await make_mirror(upstream.url)
        for _ in range(3):
            await ask(mirror, OTHER)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"absent": 1, "negative": 2}
        assert await counted(mirror, measuring.QUESTIONS, INDEX) == {"absent": 1}

    async def test_requests_at_the_same_time_share_one_question(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        upstream.script("page", behaviours.late(0.05))
        mirror = await make_mirror(upstream.url)
        await asyncio.gather(*(ask(mirror) for _ in range(5)))
        assert await counted(mirror, measuring.PAGES, INDEX) == {"miss": 5}
        assert await counted(mirror, measuring.QUESTIONS, INDEX) == {"new": 1}

    async def test_without_a_page_a_failure_is_unknown(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.script("page", behaviours.status(500))
        mirror = await make_mirror(upstream.url)
        await ask(mirror)
        await ask(mirror)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"unknown": 2}
        assert await counted(mirror, measuring.QUESTIONS, INDEX) == {"failed": 1}

    @pytest.mark.parametrize(
        ("behaviour", "settings", "reason"),
        [
            (behaviours.status(500), {}, "failed"),
            (behaviours.status(404), {}, "gone"),
            (behaviours.silent(), {"stale_wait": 0.05, "read_timeout": 5.0, "page_deadline": 5.0}, "unanswered"),
            (None, {"stale_while_revalidate": 600.0}, "asked_again"),
        ],
        ids=["failed", "gone", "unanswered", "asked again"],
    )
    async def test_a_stale_page_has_its_reason(
        self,
        upstream: ScriptedUpstream,
        make_mirror: MakeMirror,
        behaviour: Behaviour | None,
        settings: dict[str, Any],
        reason: str,
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url, config={"cache_expiry": EXPIRY}, **settings)
        await ask(mirror)
        if behaviour is not None:
            upstream.script("page", behaviour)
        mirror.clock.advance(EXPIRY + 1)
        await ask(mirror)
        assert await counted(mirror, measuring.PAGES, INDEX) == {"miss": 1, "stale": 1}
        assert await counted(mirror, measuring.STALE_PAGES, INDEX) == {reason: 1}

    async def test_the_time_of_the_last_answer_is_told(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url, config={"cache_expiry": EXPIRY})
        assert await counted(mirror, measuring.ANSWERED) == {}
        await ask(mirror)
        first = mirror.clock.now() / 1_000_000
        assert await counted(mirror, measuring.ANSWERED) == {INDEX: first}
        upstream.script("page", behaviours.status(500))
        mirror.clock.advance(EXPIRY + 1)
        await ask(mirror)
        assert await counted(mirror, measuring.ANSWERED) == {INDEX: first}


class TestFiles:
    async def test_clients_of_one_fetch_are_joined(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        await asyncio.gather(*(mirror.download(WHEEL.filename) for _ in range(4)))
        assert await counted(mirror, measuring.FETCHES, INDEX) == {"stored": 1, "joined": 3}

    async def test_wrong_bytes_are_a_failed_fetch(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        upstream.script("file", behaviours.status(500))
        with pytest.raises(Unavailable):
            await mirror.download(WHEEL.filename)
        assert await counted(mirror, measuring.FETCHES, INDEX) == {"failed": 1}

    async def test_metadata_is_counted_when_it_is_fetched(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        for _ in range(3):
            await mirror.sidecar(WHEEL.filename)
        assert await counted(mirror, measuring.SIDECARS, INDEX) == {"stored": 1}

    async def test_bytes_of_files_are_counted_as_they_came(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        before = (await read(mirror))[measuring.RECEIVED][(origin(upstream),)]
        assert before > 0  # the page
        await mirror.download(WHEEL.filename)
        while mirror.readthrough._files._arriving:
            await asyncio.sleep(0.001)
        assert (await read(mirror))[measuring.RECEIVED][(origin(upstream),)] == before + len(WHEEL.data)


def origin(upstream: ScriptedUpstream) -> str:
    return upstream.root.rstrip("/")


class TestUpstreams:
    async def test_requests_are_counted_by_class(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url, config={"cache_expiry": EXPIRY})
        await ask(mirror)
        await ask(mirror, OTHER)
        mirror.clock.advance(EXPIRY + 1)
        await ask(mirror)
        assert await counted(mirror, measuring.REQUESTS, origin(upstream)) == {"2xx": 1, "3xx": 1, "4xx": 1}
        latency = (await read(mirror))[measuring.LATENCY][(origin(upstream),)]
        assert isinstance(latency, Histogram)
        assert sum(latency.counts) == 3
        assert await counted(mirror, measuring.ERRORS, origin(upstream)) == {}

    @pytest.mark.parametrize(
        ("behaviour", "answer", "kind"),
        [
            (behaviours.status(503), "5xx", "status"),
            (behaviours.status(403), "4xx", "status"),
            (behaviours.silent(), "none", "timeout"),
            (behaviours.reset(0), "none", "cut_off"),
            (behaviours.truncated(), "2xx", "cut_off"),
            (behaviours.says("text/html", b""), "2xx", "unusable"),
        ],
        ids=["503", "403", "silent", "reset", "cut off", "empty"],
    )
    async def test_failures_are_counted_by_kind(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour, answer: str, kind: str
    ) -> None:
        upstream.add("demo", WHEEL)
        upstream.script("page", behaviour)
        mirror = await make_mirror(upstream.url, attempts=1)
        await ask(mirror)
        assert await counted(mirror, measuring.REQUESTS, origin(upstream)) == {answer: 1}
        assert await counted(mirror, measuring.ERRORS, origin(upstream)) == {kind: 1}

    async def test_an_upstream_that_is_gone_is_counted_and_left_alone(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        mirror = await make_mirror(upstream.url, attempts=1)
        where = origin(upstream)
        assert (await read(mirror))[measuring.LEFT_ALONE] == {(INDEX, where): 0}
        await upstream.stop()
        for _ in range(3):
            await ask(mirror)
        assert await counted(mirror, measuring.ERRORS, where) == {"connect": 1}
        assert (await read(mirror))[measuring.LEFT_ALONE] == {(INDEX, where): 1}

    async def test_hosts_of_links_share_one_label(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        async with ScriptedUpstream() as files:
            files.add("demo", WHEEL)
            upstream.add("demo", WHEEL)
            upstream.files_at = f"{files.root}files/"
            mirror = await make_mirror(upstream.url)
            await mirror.refresh()
            await mirror.download(WHEEL.filename)
            assert await counted(mirror, measuring.REQUESTS, measuring.OTHERS) == {"2xx": 1}
            assert await counted(mirror, measuring.REQUESTS, origin(upstream)) == {"2xx": 1}
            hosts = {labels[0] for labels in (await read(mirror))[measuring.REQUESTS]}
        assert hosts == {origin(upstream), measuring.OTHERS}

    async def test_only_upstreams_of_the_given_indexes_are_told(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror
    ) -> None:
        upstream.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url)
        await ask(mirror)
        stranger = mirror_config(name="anna/mirror", url="https://index.example.org/simple/")
        figures = await mirror.readthrough.figures([stranger])
        labels = {labels[0] for each in figures for labels in each.values if labels}
        assert labels == {"anna/mirror", "https://index.example.org:443", measuring.OTHERS}

    async def test_what_is_under_way_is_told(self, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
        upstream.script("page", behaviours.silent())
        mirror = await make_mirror(upstream.url, wait=0.05, read_timeout=5.0, page_deadline=5.0, concurrent_pages=1)
        await asyncio.gather(ask(mirror), ask(mirror, OTHER))
        told = await read(mirror)
        assert (told[measuring.TASKS], told[measuring.UNDER_WAY], told[measuring.WAITING]) == (
            {(): 2},
            {(): 1},
            {(): 1},
        )
