"""The scrub of a store beside a server that goes on serving: what it finds, sets aside, repairs, tells, and costs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Unavailable
from pkgindex_core.names import parse_project_name
from pkgindex_core.protocols import Principal
from pkgindex_core.services.administering.scrub_state import ScrubNote, ScrubState
from pkgindex_core.services.administering.scrubbing import LEASE, LEASE_SECONDS, Scrubbing
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools import leases
from pkgindex_http.cli import main
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import HOSTED, MIRROR, ROOT, file_path, upload
from tests.http.conftest import Serve, Served, make_store
from tests.http.test_verifying import MINE, WHEEL, blob_at, fetch, flip
from tests.steps import steps

ADMIN = Principal(name="root")


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        fake.add("demo", WHEEL)
        yield fake


class Pauses:
    """Counts pauses instead of making them; perhaps the scrub is stopped in one."""

    def __init__(self, stop_at: int = 0) -> None:
        self.seconds: list[float] = []
        self._stop_at = stop_at

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._stop_at:
            raise asyncio.CancelledError


async def scrubbed(served: Served, *, rate: int = 0, anew: bool = False, pause: Pauses | None = None) -> ScrubState:
    return await served.engine.scrubbing.scrub(rate=rate, anew=anew, pause=pause or Pauses(), progress=lambda *_: None)


def told(state: ScrubState) -> list[tuple[str, str]]:
    return sorted((found.state, found.rows[0].split(" in ")[0]) for found in state.damaged.values())


async def figures(served: Served) -> dict[str, float]:
    async with served.get("/+metrics", headers=ROOT) as answer:
        lines = [line.split() for line in (await answer.text()).splitlines() if line.startswith("pkgindex_scrub")]
        return {name: float(value) for name, value in lines}


async def test_a_whole_store_is_read_once_a_round(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        assert await served.engine.scrubbing.state() == ScrubState()
        await served.put(MINE)
        state = await scrubbed(served)
        assert (state.is_whole, state.blobs, state.damaged) == (True, 2, {})
        assert state.bytes == len(MINE.data) + len(MINE.metadata)
        await served.put(build_wheel("other", "1.0"))
        again = await scrubbed(served)
        assert (again.blobs, again.begun > state.begun) == (4, True)
        assert await served.engine.scrubbing.state() == again


async def test_a_round_does_not_begin_in_the_future(serve: Serve) -> None:
    """A server with a wrong clock would put off the next round until then."""

    class Ahead(SystemClock):
        def now(self) -> Timestamp:
            return Timestamp(super().now() + 365 * 86_400_000_000)

    async with serve(store="", blobs="") as served:
        ahead = Scrubbing(replace(served.engine.scrubbing._parts, clock=Ahead()))
        state = await ahead.scrub(rate=0, anew=False, pause=Pauses(), progress=lambda *_: None)
        assert 0 < state.begun <= SystemClock().now()


@pytest.mark.parametrize("blobs", ["", "memory://"])
async def test_a_flipped_bit_is_found_before_a_client_meets_it(
    serve: Serve, blobs: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(store="", blobs=blobs) as served:
        assert (await upload(served.address, MINE)).status == 200  # type: ignore[union-attr]  # it answers
        assert (await ask(served.address, file_path(MINE))).body == MINE.data  # so that its place is remembered
        if blobs:
            served.engine.blobs.inner.blobs[sha256_of(MINE.data)] = (b"other bytes", 0.0)  # type: ignore[attr-defined]  # memory's own
        else:
            flip(served, MINE.data)
        state = await scrubbed(served)
        assert told(state) == [("lost", MINE.filename)]
        assert f"a file is damaged: {MINE.filename} in {HOSTED}, uploaded by root at 20" in caplog.text
        assert "send the same file again" in caplog.text
        answer = await ask(served.address, file_path(MINE))
        assert (answer.status, b"not in the blob store" in answer.body) == (500, True)
        assert (await ask(served.address, f"/{HOSTED}/+simple/mine/")).status == 200
        assert (await figures(served))["pkgindex_scrub_damaged_files"] == 1
        assert told(await scrubbed(served)) == [("lost", MINE.filename)]
        assert caplog.text.count("a file is damaged") == 1, "each damage is told once"
        assert (await upload(served.address, MINE)).status == 200  # type: ignore[union-attr]  # as above
        state = await scrubbed(served)
        assert (state.damaged, state.repaired) == ({}, 1)
        assert (await figures(served))["pkgindex_scrub_damaged_files"] == 0
        assert (await ask(served.address, file_path(MINE))).body == MINE.data


async def test_metadata_is_read_from_its_wheel(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        flip(served, MINE.metadata)
        state = await scrubbed(served)
        assert (state.damaged, state.repaired) == ({}, 1)
        assert "a damaged file was repaired" in caplog.text
        assert (await ask(served.address, f"{file_path(MINE)}.metadata")).body == MINE.metadata
        assert (await figures(served))["pkgindex_scrub_repaired_files"] == 1


async def test_a_mirrored_file_is_fetched_again(serve: Serve, upstream: ScriptedUpstream) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        await fetch(served)
        flip(served, WHEEL.data)
        fetched = upstream.count("file")
        state = await scrubbed(served)
        assert (state.damaged, state.repaired) == ({}, 1)
        assert upstream.count("file") == fetched + 1
        assert (await ask(served.address, file_path(WHEEL, MIRROR))).body == WHEEL.data


async def test_a_mirrored_file_whose_upstream_is_gone_is_not_served(serve: Serve, upstream: ScriptedUpstream) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        await fetch(served)
        flip(served, WHEEL.data)
        await upstream.stop()
        assert told(await scrubbed(served)) == [("lost", WHEEL.filename)]
        answer = await ask(served.address, file_path(WHEEL, MIRROR))
        assert answer.status in {502, 503}


async def test_an_intact_copy_of_a_mirror_repairs_an_uploaded_file(serve: Serve, upstream: ScriptedUpstream) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        await fetch(served)
        await served.put(WHEEL)
        flip(served, WHEEL.data)
        await upstream.stop()
        state = await scrubbed(served)
        assert (state.damaged, state.repaired) == ({}, 1)
        assert await served.engine.blobs.own().stat(sha256_of(WHEEL.data)) is not None
        assert (await ask(served.address, file_path(WHEEL))).body == WHEEL.data


async def test_damage_of_what_no_row_names_is_put_away(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.engine.blobs.put(b"x" * 100)
        flip(served, b"x" * 100)
        state = await scrubbed(served)
        assert (state.blobs, state.damaged) == (1, {})
        assert await served.engine.blobs.stat(sha256_of(b"x" * 100)) is None


async def test_damage_of_a_file_that_was_deleted_is_forgotten(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        flip(served, MINE.data)
        assert told(await scrubbed(served)) == [("lost", MINE.filename)]
        await served.engine.releases.delete_project(HOSTED, parse_project_name("mine"), principal=ADMIN, force=True)
        assert (await scrubbed(served)).damaged == {}


async def test_reading_is_held_to_a_rate_also_within_a_large_file(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.engine.blobs.put(bytes(3_000_000))
        await served.engine.blobs.put(b"small")
        pauses = Pauses()
        await scrubbed(served, rate=100_000, pause=pauses)
        assert len(pauses.seconds) > 10
        assert max(pauses.seconds) < 40
        assert pauses.seconds[-1] > 0
        pauses = Pauses()
        await scrubbed(served, pause=pauses)
        assert pauses.seconds == []


async def test_a_stopped_round_goes_on_at_its_place(serve: Serve) -> None:
    """And reads no blob again, apart from those since the place was noted."""
    async with serve(store="", blobs="") as served:
        blobs = [await served.engine.blobs.put(b"%d" % number) for number in range(40)]
        keys = sorted(blob.sha256 for blob in blobs)
        note = ScrubNote(served.engine.store)
        await note.read()
        await note.write(ScrubState(begun=served.engine.clock.now(), after=keys[29], blobs=30, bytes=50))
        pauses = Pauses()
        state = await scrubbed(served, rate=1, pause=pauses)
        assert (state.is_whole, state.blobs) == (True, 40)
        assert len(pauses.seconds) == 20  # for the bytes, and for what a blob costs at least
        assert (await scrubbed(served, anew=True)).blobs == 40


async def test_a_server_that_stops_in_a_round_leaves_the_lease(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        with pytest.raises(asyncio.CancelledError):
            await scrubbed(served, rate=1, pause=Pauses(stop_at=1))
        state = await served.engine.scrubbing.state()
        assert (state.begun > 0, state.is_whole) == (True, False)
        after = await scrubbed(served)
        assert (after.begun, after.is_whole, after.blobs) == (state.begun, True, 2)


async def test_one_scrubs_at_a_time_and_an_overtaken_one_notes_nothing(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        lease = await leases.acquire(served.engine.store, LEASE, "another server", seconds=LEASE_SECONDS)
        assert lease is not None
        with pytest.raises(Conflict, match="another process is scrubbing"):
            await scrubbed(served)
        overtaken = ScrubNote(served.engine.store)
        await overtaken.read()
        assert await leases.release(served.engine.store, lease)
        state = await scrubbed(served)
        with pytest.raises(Unavailable, match="another server goes on"):
            await overtaken.write(ScrubState())
        assert await served.engine.scrubbing.state() == state


async def test_a_file_that_cannot_be_read_is_told_and_stays(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        bad, real = sha256_of(MINE.data), os.pread

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            if Path(f"/proc/self/fd/{descriptor}").readlink().name == bad:
                raise OSError(5, "Input/output error")
            return real(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", pread)
        state = await scrubbed(served)
        assert (told(state), state.is_whole) == ([("unreadable", MINE.filename)], True)
        assert blob_at(served, MINE.data).exists()
        monkeypatch.undo()
        assert (await scrubbed(served)).damaged == {}


async def test_a_medium_that_fails_stops_the_round_and_nothing_is_called_damaged(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(store="", blobs="") as served:
        for number in range(40):
            await served.engine.blobs.put(b"%d" % number)

        def refuse(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("pkgindex_core.engines.local.file_operations.FileOperations.read", refuse)
        with pytest.raises(Unavailable, match="many files in succession"):
            await scrubbed(served)
        monkeypatch.undo()
        state = await served.engine.scrubbing.state()
        assert (state.after, state.damaged) == ("", {})
        state = await scrubbed(served)
        assert (state.blobs, state.damaged) == (40, {})


async def test_a_damaged_file_that_cannot_be_moved_away_is_told_and_tried_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        flip(served, MINE.data)

        def refuse(*_: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("pkgindex_core.engines.local.blob_tree.BlobTree.set_aside", refuse)
        assert told(await scrubbed(served)) == [("damaged", MINE.filename)]
        assert "cannot be moved away" in caplog.text
        monkeypatch.undo()
        assert told(await scrubbed(served)) == [("lost", MINE.filename)]


def background(served: Served, *, every: float) -> Any:
    """The background work of a server, by its looks."""
    return steps(lambda pause: served.engine.scrubbing.keep_on(rate=0, every=every, pause=pause))


async def test_a_server_reads_each_file_as_often_as_the_setting_says(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        async with background(served, every=1_000_000) as look:
            await look()
            first = await served.engine.scrubbing.state()
            assert (first.is_whole, first.blobs) == (True, 2)
            await look()
            assert await served.engine.scrubbing.state() == first
        async with background(served, every=0.000_001) as look:
            await look()
            second = await served.engine.scrubbing.state()
            assert (second.begun > first.begun, second.blobs) == (True, 2)


async def test_a_server_goes_on_when_the_holder_of_the_lease_is_gone_and_after_troubles(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        lease = await leases.acquire(served.engine.store, LEASE, "another server", seconds=LEASE_SECONDS)
        assert lease is not None
        async with background(served, every=60) as look:
            await look()
            assert not (await served.engine.scrubbing.state()).begun
            await leases.release(served.engine.store, lease)
            for error, text in ((Unavailable("the disk is gone"), "is interrupted: the disk"), (OSError(), "failed")):

                async def refuse(*_: object, error: Exception = error) -> None:
                    raise error

                monkeypatch.setattr("pkgindex_core.services.administering.scrub_round.ScrubRound._read_some", refuse)
                for _ in range(3):
                    await look()
                assert caplog.text.count(f"the scrub {text}") == 1
            monkeypatch.undo()
            await look()
            assert (await served.engine.scrubbing.state()).is_whole


def test_the_command_says_what_is_damaged_and_exits_accordingly(tmp_path: Path) -> None:
    """0: nothing is damaged; 3: something is; 1: it stopped."""

    def scrub(*words: str) -> tuple[int, str, str]:
        ran = CliRunner().invoke(main, ["scrub", "--data", str(tmp_path / "data"), *words])
        return ran.exit_code, ran.stdout, ran.stderr

    status, _, err = scrub()
    assert (status, "there is no store in" in err) == (1, True)
    make_store(tmp_path / "data")
    status, out, err = scrub("--show", "--json")
    assert (status, json.loads(out)["begun"], "the store was not scrubbed yet" in err) == (0, None, True)
    (tmp_path / MINE.filename).write_bytes(MINE.data)
    sent = CliRunner().invoke(main, ["upload", "--data", str(tmp_path / "data"), str(tmp_path / MINE.filename)])
    assert sent.exit_code == 0, sent.output
    status, _, err = scrub()
    assert (status, "2 files" in err, "0 are damaged or lost" in err) == (0, True, True)
    key = sha256_of(MINE.data)
    (tmp_path / "data" / "blobs" / "sha256" / key[:2] / key).write_bytes(b"x" * len(MINE.data))
    for words in ((), ("--show",)):
        status, out, err = scrub("--json", *words)
        document = json.loads(out)
        assert (status, document["whole"], document["under_way"]) == (3, False, False)
        (damaged,) = document["damaged"]
        assert (damaged["sha256"], damaged["state"]) == (key, "lost")
        assert damaged["belongs_to"][0].startswith(f"{MINE.filename} in root/dev, uploaded by root at ")
        assert f"lost: {MINE.filename} in root/dev" in err
    again = CliRunner().invoke(main, ["upload", "--data", str(tmp_path / "data"), str(tmp_path / MINE.filename)])
    assert again.exit_code == 0
    assert scrub("--rate", "0", "--anew")[0] == 0
