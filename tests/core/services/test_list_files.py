"""Long lists in files: made once for all processes and for the next start, and never wrong because a file is."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import MirrorNames
from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Principal, Renderer
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading import list_files
from pkgindex_core.services.reading.list_files import ListFiles
from pkgindex_core.services.reading.long_lists import LongList, LongLists
from pkgindex_core.tools.mapped_files import MappedFiles
from pkgindex_core.tools.name_streams import Rows
from tests.core.services.conftest import DEV, PYPI, MovedClock, Open, World
from tests.core.services.test_long_lists import _NAMES, Stored, at_once, hosted, wanted

_LIMIT = 1_000_000


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Store:
    """A store with this identity, whose commits have these times."""

    def __init__(self, clock: MovedClock, identity: str = "one", commits: int = 7) -> None:
        self.clock = clock
        self.times = [clock.now()] * commits
        self.named = identity

    async def identity(self) -> str:
        return self.named

    async def serial_at(self, moment: Timestamp) -> Serial:
        return Serial(sum(at <= moment for at in self.times))


class Processes:
    """Makes what each process has: lists over one directory."""

    def __init__(self, directory: Path, workers: ThreadPoolExecutor) -> None:
        self.directory = directory
        self.clock = MovedClock()
        self.store = Store(self.clock)
        self.stored = Stored(_NAMES, 1)
        self._workers = workers

    def start(self, *, limit: int = _LIMIT) -> LongLists:
        files = ListFiles(
            self.directory,
            limit=limit,
            store=self.store,
            identity=self.store.identity,
            clock=self.clock,
            workers=self._workers,
        )
        return LongLists(limit=limit, workers=self._workers, files=files)

    def wanted(self, *ours: str, tag: str, key: str = "all", renderer: Renderer | None = None) -> LongList:
        rows = hosted([ProjectName(name) for name in ours])
        return msgspec.structs.replace(wanted(rows, [self.stored.read], renderer or JsonRenderer(), tag=tag), key=key)

    async def body(self, lists: LongLists, *ours: str, tag: str, key: str = "all") -> tuple[bytes, int]:
        """The list, which is compared with one that is written at once, and how many rows were read for it."""
        self.stored.read_rows = 0
        body = await lists.body(self.wanted(*ours, tag=tag, key=key))
        rows: Rows = hosted([ProjectName(name) for name in ours])
        assert gzip.decompress(body) == at_once(rows, [self.stored], JsonRenderer())
        return bytes(body), self.stored.read_rows

    @property
    def file(self) -> Path:
        (path,) = self.directory.iterdir()
        return path


@pytest.fixture
def processes(tmp_path: Path, workers: ThreadPoolExecutor) -> Processes:
    return Processes(tmp_path / "lists", workers)


async def test_a_second_process_and_the_next_start_make_nothing(processes: Processes) -> None:
    first = processes.start()
    made, read = await processes.body(first, "ours", tag="1")
    assert read == len(_NAMES)
    for _ in range(2):
        other = processes.start()
        assert await processes.body(other, "ours", tag="1") == (made, 0)
        kept = other.kept.get("all")
        assert kept is not None
        assert kept.file is not None
        assert other.kept.size == first.kept.size == len(made)


@pytest.mark.parametrize("renderer", [JsonRenderer(), HtmlRenderer()], ids=["JSON", "HTML"])
async def test_the_body_is_a_view_of_the_file(processes: Processes, renderer: Renderer) -> None:
    """So its pages are those of the other processes, also after the list was made here."""
    for lists in (processes.start(), processes.start()):
        body = await lists.body(processes.wanted(tag="1", renderer=renderer))
        kept = lists.kept.get("all")
        assert kept is not None
        assert isinstance(body, memoryview)
        assert body.readonly
        views = [each.part.data for each in kept.sections]
        assert all(isinstance(view, memoryview) and view.obj is body.obj for view in views)


async def test_an_upload_reads_one_section_of_the_file_and_writes_a_new_one(processes: Processes) -> None:
    first = processes.start()
    former, _ = await processes.body(first, tag="1")
    held = await first.body(processes.wanted(tag="1"))
    before = processes.file.stat().st_ino
    second = processes.start()
    later, read = await processes.body(second, "p050x", tag="2")
    assert 0 < read <= 14
    assert processes.file.stat().st_ino != before
    assert await processes.body(first, "p050x", tag="2") == (later, 0)
    assert held == former
    _, read = await processes.body(first, "p050x", "p099x", tag="3")
    assert 0 < read <= 14


async def test_processes_that_make_one_list_at_once_share_it(processes: Processes) -> None:
    started = [processes.start() for _ in range(4)]
    bodies = await asyncio.gather(*(lists.body(processes.wanted("ours", tag="1")) for lists in started))
    assert len({bytes(body) for body in bodies}) == 1
    assert len([*processes.directory.iterdir()]) == 1
    assert await processes.body(processes.start(), "ours", tag="1") == (bytes(bodies[0]), 0)


async def _damaged(processes: Processes, data: bytes) -> None:
    """A file with this content is ignored, and replaced."""
    processes.file.write_bytes(data)
    made, read = await processes.body(processes.start(), "ours", tag="1")
    assert read == len(_NAMES)
    assert await processes.body(processes.start(), "ours", tag="1") == (made, 0)


async def test_a_damaged_file_is_replaced(processes: Processes) -> None:
    await processes.body(processes.start(), "ours", tag="1")
    good = processes.file.read_bytes()
    for place in range(0, len(good), len(good) // 40):
        await _damaged(processes, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for cut in (0, 10, 30, len(good) // 2, len(good) - 1):
        await _damaged(processes, good[:cut])
    await _damaged(processes, good + b"x")
    await _damaged(processes, b"foreign")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0\xc0",
        b"\x01\0\0\0\x90",
        b"\x02\0\0\0\x91\x01",
        b"\x02\0\0\0\x91\x02more of a later version",
    ],
)
async def test_a_whole_file_with_another_content_is_replaced(processes: Processes, content: bytes) -> None:
    await processes.body(processes.start(), "ours", tag="1")
    files = MappedFiles(processes.directory, limit=_LIMIT)
    assert files.write(processes.file.name, [content]) is not None
    made, read = await processes.body(processes.start(), "ours", tag="1")
    assert read == len(_NAMES)
    assert await processes.body(processes.start(), "ours", tag="1") == (made, 0)


async def test_a_description_that_does_not_fit_its_file_is_ignored(processes: Processes) -> None:
    await processes.body(processes.start(), "ours", tag="1")
    files = MappedFiles(processes.directory, limit=_LIMIT)
    name = processes.file.name
    file = files.read(name)
    assert file is not None
    described = list_files._described(file.content)
    assert described is not None
    description, start = described
    body = bytes(file.content[start:])
    for wrong in (
        msgspec.structs.replace(description, first=len(body) + 1),
        msgspec.structs.replace(description, first=-1),
        msgspec.structs.replace(description, length=len(body) - 1),
        msgspec.structs.replace(description, key="other"),
        msgspec.structs.replace(description, format=0),
    ):
        encoded = msgspec.msgpack.encode(wrong)
        files.write(name, [len(encoded).to_bytes(4, "little"), encoded, body])
        _, read = await processes.body(processes.start(), "ours", tag="1")
        assert read == len(_NAMES)


async def test_the_list_of_another_store_is_not_shown(processes: Processes) -> None:
    await processes.body(processes.start(), tag="1")
    processes.store.named = "another"
    _, read = await processes.body(processes.start(), tag="1")
    assert read == len(_NAMES)


async def test_the_list_of_a_store_that_was_set_back_is_not_shown(processes: Processes) -> None:
    """Its serials were used again, so equal tags may name other lists."""
    await processes.body(processes.start(), tag="1")
    processes.clock.move(60)
    assert (await processes.body(processes.start(), tag="1"))[1] == 0
    processes.store.times[-1] = processes.clock.now()
    _, read = await processes.body(processes.start(), tag="1")
    assert read == len(_NAMES)
    assert (await processes.body(processes.start(), tag="1"))[1] == 0


async def test_a_full_disk_leaves_the_list_in_memory(processes: Processes, caplog: pytest.LogCaptureFixture) -> None:
    lists = processes.start()
    try:
        failpoints.arm("mapped.written=raise:ENOSPC")
        with caplog.at_level(logging.WARNING):
            made, _ = await processes.body(lists, tag="1")
            assert await processes.body(lists, tag="1") == (made, 0)
            failpoints.arm("mapped.written=raise:ENOSPC")
            _, read = await processes.body(lists, "p050x", tag="2")
    finally:
        failpoints.disarm()
    assert 0 < read <= 14
    assert isinstance(await lists.body(processes.wanted("p050x", tag="2")), bytes)
    assert len(caplog.records) == 1
    assert not [*processes.directory.iterdir()]
    await processes.body(lists, tag="3")
    assert (await processes.body(processes.start(), tag="3"))[1] == 0


async def test_a_list_that_is_too_long_is_not_written(processes: Processes) -> None:
    lists = processes.start(limit=100)
    for _ in range(2):
        assert (await processes.body(lists, tag="1"))[1] == len(_NAMES)
    assert not processes.directory.exists()


async def test_files_are_bounded_and_those_in_use_stay(processes: Processes) -> None:
    made, _ = await processes.body(processes.start(), tag="1", key="probe")
    size = processes.file.stat().st_size
    assert size < 2 * len(made)
    lists = processes.start(limit=3 * size)
    for number in range(6):
        await processes.body(lists, tag=f"{number}", key=f"key {number}")
        processes.clock.move(3600)
        await processes.body(lists, tag="0", key="key 0")
    assert sum(path.stat().st_size for path in processes.directory.iterdir()) <= 3 * size
    again = processes.start(limit=3 * size)
    assert (await processes.body(again, tag="0", key="key 0"))[1] == 0
    assert (await processes.body(again, tag="5", key="key 5"))[1] == 0
    assert (await processes.body(again, tag="1", key="key 1"))[1] == len(_NAMES)


async def _listed(world: World) -> bytes | memoryview:
    answer = await world.engine.listings.projects(
        DEV, principal=Principal(), media_type=JSON_V1, coding="gzip", if_none_match=None
    )
    assert answer.body is not None
    return answer.body


async def _fill(world: World) -> None:
    names = tuple((ProjectName(f"p{number:05}"), f"P{number:05}") for number in range(9000))
    await world.engine.store.apply([MirrorNames(PYPI, put=names)], who="[test]")


async def test_a_server_shows_the_lists_of_the_server_before(
    open_world: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = {"store": f"sqlite://{tmp_path}/index.sqlite", "blobs": f"file://{tmp_path}/blobs"}
    async with open_world(**stores) as world:
        await _fill(world)
        made = bytes(await _listed(world))
    monkeypatch.setattr(LongLists, "_made", None)
    async with open_world(**stores) as world:
        assert await _listed(world) == made
    assert len([*(tmp_path / "lists").iterdir()]) == 1


async def test_a_store_in_memory_writes_no_lists(open_world: Open, tmp_path: Path) -> None:
    async with open_world() as world:
        await _fill(world)
        assert isinstance(await _listed(world), bytes)
    assert not (tmp_path / "lists").exists()
