"""No power cut, at any call, takes a blob that was acknowledged or shows half of one that was not.

The states are derived from the calls a real store made on a real directory (`tests.crash.crash_states`). All are checked
against the invariants; those that differ in what a restarted store can see are also laid out on disk and opened.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.local import spooling
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Arriving
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.faults import FaultyFileOperations, Killed, UnsyncedFileOperations
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.crash_states import CrashState, Event, RecordingFileOperations, crash_states

DEMO = ProjectName("demo")
SMALL = b"a small blob"
LARGE = bytes(range(256)) * 42
"""Larger than a spool keeps in memory, which is little here: see `_small_hops`."""
SAME_SHARD = [b"twin %d" % number for number in (21, 52, 59)]
"""Three blobs of one shard."""
CONTENTS = {sha256_of(data): data for data in (b"", SMALL, LARGE, *SAME_SHARD)}

Tally = Callable[[str, int], None]
Scenario = Callable[["Witness"], Awaitable[None]]


class Witness:
    """Uses a store and notes in the journal what it was promised."""

    def __init__(self, root: Path, operations: RecordingFileOperations, workers: ThreadPoolExecutor) -> None:
        self.operations = operations
        self.root = root
        self.store = LocalBlobs(root, clock=SystemClock(), workers=workers, operations=operations)

    async def put(self, data: bytes) -> None:
        self.operations.mark("storing", sha256_of(data))
        await self.store.put(data)
        self.operations.mark("stored", sha256_of(data))

    async def drop(self, data: bytes) -> None:
        self.operations.mark("dropping", sha256_of(data))
        await self.store.drop(sha256_of(data))
        self.operations.mark("dropped", sha256_of(data))


@pytest.fixture(autouse=True)
def _small_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "HOP", 4096)


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as workers:
        yield workers


async def put_small(witness: Witness) -> None:
    await witness.put(SMALL)


async def put_empty(witness: Witness) -> None:
    await witness.put(b"")


async def put_large(witness: Witness) -> None:
    await witness.put(LARGE)


async def put_in_pieces(witness: Witness) -> None:
    witness.operations.mark("storing", sha256_of(LARGE))
    async with witness.store.spool("md5") as spool:
        for start in range(0, len(LARGE), 4000):
            await spool.write(LARGE[start : start + 4000])
            await spool.flush()
        await spool.keep()
    witness.operations.mark("stored", sha256_of(LARGE))


async def abandon(witness: Witness) -> None:
    async with witness.store.spool() as spool:
        await spool.write(LARGE)
        await spool.flush()


async def put_twice(witness: Witness) -> None:
    await witness.put(SMALL)
    await witness.put(SMALL)


async def put_drop_put(witness: Witness) -> None:
    await witness.put(SMALL)
    await witness.drop(SMALL)
    await witness.put(SMALL)


async def put_neighbours(witness: Witness) -> None:
    for data in SAME_SHARD:
        await witness.put(data)
    await witness.drop(SAME_SHARD[1])


async def put_at_once(witness: Witness) -> None:
    puts = [witness.put(data) for data in (SMALL, SMALL, SAME_SHARD[0])]
    for outcome in await asyncio.gather(*puts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def repair(witness: Witness) -> None:
    """What is there already is damaged: its size is right, its bytes are not."""
    await witness.put(SMALL)


SCENARIOS: list[Scenario] = [
    put_small,
    put_empty,
    put_large,
    put_in_pieces,
    abandon,
    put_twice,
    put_drop_put,
    put_neighbours,
    put_at_once,
    repair,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_no_power_cut_breaks_a_promise(
    scenario: Scenario, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    journal = await run(scenario, tmp_path, workers)
    states, visible = examine(journal, damaged=scenario is repair)
    for number, (files, promised) in enumerate(visible):
        await reopen(tmp_path / f"state-{number}", files, promised, workers)
    tally("crash states of local blobs: power cut", states)
    tally("crash states of local blobs that were laid out and opened", len(visible))
    assert states > len(journal)


class SlowToSync(RecordingFileOperations):
    """A disk that synchronises nothing before it may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may_sync = threading.Event()
        self.may_sync.set()

    def sync(self, descriptor: int) -> None:
        assert self.may_sync.wait(30)
        super().sync(descriptor)


async def test_no_power_cut_breaks_what_a_mirror_has_served(
    tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel and its metadata are served before they are synchronised: afterwards they are there whole, or not, and can be had again."""
    wheel = build_wheel("demo", "1.0")
    for data in (wheel.data, wheel.metadata):
        monkeypatch.setitem(CONTENTS, sha256_of(data), data)
    clock, index = SystemClock(), IndexName("root/mirror")
    operations = SlowToSync(tmp_path / "root")
    disk = LocalBlobs(tmp_path / "root", clock=clock, workers=workers, operations=operations)
    await disk.open()
    operations.mark("begins", "serving")
    store, blobs = IndexBehind(MemoryIndex(clock), linger=60), BlobsBehind(disk, clock=clock, linger=60)
    mirror = ReadThrough(store=store, blob_store=blobs, clock=clock, workers=workers, data=tmp_path / "data")
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", wheel)
        config = mirror_config(index, upstream.url)
        await store.apply([PutUser(User(name="root")), PutIndex(config)], who="[test]")
        (standing,) = await store.standings(DEMO, [index])
        await mirror.refresh(config, DEMO, standing)
        file = await store.file(index, DEMO, wheel.filename)
        assert file is not None
        sidecar = await mirror.metadata(config, DEMO, file)
        assert b"".join([chunk async for chunk in blobs.read(sidecar.sha256)]) == wheel.metadata
        operations.mark("served", sidecar.sha256)
        operations.may_sync.clear()
        opened = await mirror.open(config, DEMO, file)
        assert isinstance(opened, Arriving)
        assert b"".join([chunk async for chunk in opened.file.read()]) == wheel.data
        operations.mark("served", wheel.sha256)
        operations.may_sync.set()
        await opened.file.finished()
        operations.mark("stored", wheel.sha256)
        await blobs.settle()
        operations.mark("stored", sidecar.sha256)
    await mirror.close()
    await store.close()
    await quiesce(workers)
    states, visible = examine(operations.journal)
    for number, (files, promised) in enumerate(visible):
        await reopen(tmp_path / f"state-{number}", files, promised, workers)
    served = [state for state in crash_states(operations.journal) if ("served", wheel.sha256) in state.marks]
    assert {path_of(wheel.sha256) in state.files for state in served} == {False, True}
    tally("crash states of mirrored files that were served: power cut", states)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_retry_after_an_error_keeps_its_promise(
    data: bytes, lasting: bool, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    """A disk fails one call, or all from there on; then it works again and the same bytes are sent again.

    Catches who trusts a second sync: what the first, failed one was for may be missing from the disk for good.
    """
    states = refusals = 0
    for at, faulty in calls_of(put_small if data is SMALL else put_large, errno.EIO, lasting=lasting):
        root = tmp_path / str(at)
        operations = RecordingFileOperations(root, faulty)
        witness = Witness(root, operations, workers)
        for _ in range(4):
            try:
                await witness.store.open()
                await witness.put(data)
                break
            except Unavailable:
                refusals += 1
                faulty.heal()
        else:
            pytest.fail(f"{faulty.failed} at call {at} still had effects after the disk was well again")
        states += examine(operations.journal)[0]
        if not faulty.failed:
            break
    assert refusals > 10
    tally("crash states of local blobs: disk error, retry, power cut", states)


@pytest.mark.parametrize("scenario", [put_small, put_in_pieces, put_drop_put, put_at_once], ids=lambda it: it.__name__)
async def test_a_restart_after_a_kill_keeps_its_promise(
    scenario: Scenario, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    """The process dies at a call; another finds what it left, does the same again, and the power is cut.

    Catches who takes for durable what it finds: the dead process may not have synced it.
    """
    states = deaths = 0
    for at, faulty in calls_of(scenario, Killed, lasting=True):
        root = tmp_path / str(at)
        operations = RecordingFileOperations(root, faulty)
        try:
            witness = Witness(root, operations, workers)
            await witness.store.open()
            await scenario(witness)
        except Killed:
            deaths += 1
            await quiesce(workers)
        operations.close_all()
        faulty.heal()
        again = Witness(root, operations, workers)
        await again.store.open()
        await scenario(again)
        await again.store.sweep(older_than=0)
        states += examine(operations.journal, blocks=1 if scenario is put_at_once else 4)[0]
        assert not list((root / "staging").iterdir()), f"leftovers of the death at call {at}"
        if not faulty.failed:
            break
    assert deaths > 20
    tally("crash states of local blobs: kill, restart, power cut", states)


async def test_a_kill_then_an_error_then_a_retry_keeps_its_promise(
    tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    """What the dead process left is synced by the next one, which fails; only a new copy can be trusted then."""
    states = 0
    for death, mortal in calls_of(put_small, Killed, lasting=True):
        for at in range(1, 100):
            root = tmp_path / f"{death}-{at}"
            faulty = FaultyFileOperations(Killed, lasting=True)
            operations = RecordingFileOperations(root, faulty)
            witness = Witness(root, operations, workers)
            await witness.store.open()
            faulty.fail_at(death)
            with suppress(Killed):
                await witness.put(SMALL)
            operations.close_all()
            mortal.failed += faulty.failed
            faulty.fail_at(at, errno.EIO, lasting=False)
            again = Witness(root, operations, workers)
            for _ in range(3):
                with suppress(Unavailable):
                    await again.store.open()
                    await again.put(SMALL)
                    break
            states += examine(operations.journal, blocks=1)[0]
            if not faulty.failed:
                break
        if not mortal.failed:
            break
    tally("crash states of local blobs: kill, disk error, retry, power cut", states)


class Forgetful(RecordingFileOperations):
    """A store that skips one kind of sync, as one would write it who never lost power."""

    def __init__(self, root: Path, skips: str) -> None:
        super().__init__(root)
        self.skips = skips

    def sync(self, descriptor: int) -> None:
        if self.skips != "files":
            super().sync(descriptor)

    def sync_directory(self, descriptor: int) -> None:
        path, _ = self._opened[descriptor]
        skipped = {"files": "", "shards": path.startswith("sha256/"), "parents": path == "sha256"}[self.skips]
        if not skipped:
            super().sync_directory(descriptor)


@pytest.mark.parametrize("skips", ["files", "shards", "parents"])
async def test_the_model_notices_a_missing_sync(skips: str, tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    operations = Forgetful(tmp_path / "root", skips)
    witness = Witness(tmp_path / "root", operations, workers)
    await witness.store.open()
    await put_large(witness)
    broken = [problem for state in crash_states(operations.journal) for problem in problems(state)]
    assert broken


async def test_the_model_knows_that_a_failed_sync_is_final(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    operations = RecordingFileOperations(tmp_path / "root", FaultyFileOperations(errno.EIO, at=3))
    descriptor = operations.create(tmp_path / "root/file")
    operations.write(descriptor, b"precious")
    with pytest.raises(OSError, match="Input/output"):
        operations.sync(descriptor)
    operations.sync(descriptor)
    directory = operations.open_directory(tmp_path / "root")
    operations.sync_directory(directory)
    last = [state.files for state in crash_states(operations.journal) if state.step == len(operations.journal) - 1]
    assert {"file": b"precious"} in last
    assert {"file": b""} in last
    operations.close_all()


async def run(scenario: Scenario, tmp_path: Path, workers: ThreadPoolExecutor) -> list[Event]:
    root = tmp_path / "root"
    if scenario is repair:
        key = sha256_of(SMALL)
        (root / "sha256" / key[:2]).mkdir(parents=True, mode=0o700)
        (root / "sha256" / key[:2] / key).write_bytes(SMALL.upper())
    operations = RecordingFileOperations(root)
    witness = Witness(root, operations, workers)
    await witness.store.open()
    operations.mark("begins", scenario.__name__)
    await scenario(witness)
    await quiesce(workers)
    return operations.journal


def calls_of(
    scenario: Scenario, failure: int | type[Killed], *, lasting: bool
) -> Iterator[tuple[int, FaultyFileOperations]]:
    """File operations that fail at call 1, 2, … until a run gets through without reaching its call."""
    for at in range(1, 400):
        yield at, FaultyFileOperations(failure, at=at, lasting=lasting)
    pytest.fail(f"{scenario.__name__} never ends")


def examine(
    journal: list[Event], *, damaged: bool = False, blocks: int = 4
) -> tuple[int, list[tuple[dict[str, bytes], set[str]]]]:
    """Check every state; how many there are, and those that differ for a restarted store with what was promised in them."""
    count = 0
    visible: dict[object, tuple[dict[str, bytes], set[str]]] = {}
    begun = False
    for state in crash_states(journal, blocks=blocks):
        begun = begun or bool(state.marks)
        if not begun:
            continue  # the store was being made; nothing was asked of it
        count += 1
        found = problems(state, damaged=damaged)
        assert not found, (state.step, journal[state.step], found)
        promised, _ = promises(state)
        seen = frozenset(
            (path, len(data) if path.startswith("staging/") else data) for path, data in state.files.items()
        )
        visible.setdefault((seen, frozenset(promised)), (state.files, promised))
    return count, list(visible.values())


def problems(state: CrashState, *, damaged: bool = False) -> list[str]:
    promised, gone = promises(state)
    found = [
        f"{key} was acknowledged and is not there, or not whole"
        for key in promised
        if state.files.get(path_of(key)) != CONTENTS[Sha256(key)]
    ]
    for path, data in state.files.items():
        kind, _, name = path.partition("/")
        if kind == "sha256" and len(name) > 3:
            key = name[3:]
            if data != CONTENTS.get(Sha256(key)) and not (damaged and data == SMALL.upper()):
                found.append(f"{path} holds {len(data)} other bytes")
            if key in gone:
                found.append(f"{path} was dropped and is back")
    return found


def promises(state: CrashState) -> tuple[set[str], set[str]]:
    promised: set[str] = set()
    gone: set[str] = set()
    for kind, key in state.marks:
        match kind:
            case "storing":
                gone.discard(key)
            case "stored":
                promised.add(key)
            case "dropping":
                promised.discard(key)
            case "dropped":
                gone.add(key)
    return promised, gone


async def reopen(root: Path, files: Mapping[str, bytes], promised: set[str], workers: ThreadPoolExecutor) -> None:
    """Lay a state out and let a new process find it."""
    root.mkdir(mode=0o700)
    for path, data in files.items():
        place = root / path
        if path.endswith("/"):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_bytes(data)
    store = LocalBlobs(root, clock=SystemClock(), workers=workers, operations=UnsyncedFileOperations())
    await store.open()
    walked = {blob.sha256 async for blob in store.walk()}
    assert promised <= walked
    for key in promised:
        assert b"".join([chunk async for chunk in store.read(Sha256(key))]) == CONTENTS[Sha256(key)]
    for data in CONTENTS.values():
        blob = await store.put(data)
        assert (root / path_of(blob.sha256)).read_bytes() == data
    await store.sweep(older_than=0)
    assert not list((root / "staging").iterdir())


async def quiesce(workers: ThreadPoolExecutor) -> None:
    """Wait for what workers do for callers that are gone."""
    loop = asyncio.get_running_loop()
    for _ in range(4):
        await asyncio.gather(*(loop.run_in_executor(workers, int) for _ in range(4)))


def path_of(key: str) -> str:
    return f"sha256/{key[:2]}/{key}"
