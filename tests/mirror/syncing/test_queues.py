"""The queue of files, and how many transfers it has at a time."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.errors import StorageFull
from pkgindex_core.models import File
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.syncing.file_queue import FetchedFile, FileOutcome, FileQueue, UnfetchedFile
from pkgindex_mirror.syncing.lanes import AdaptiveLimit


def files(host: str, count: int) -> list[File]:
    return [File(filename=f"{host}-{number}", url=f"https://{host}/{number}") for number in range(count)]


class Hosts:
    """Counts the transfers of each host that are under way."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.failing: set[str] = set()

    async def fetch(self, file: File) -> FileOutcome:
        host = file.url.split("/")[2]
        self.now[host] = self.now.get(host, 0) + 1
        self.most[host] = max(self.most.get(host, 0), self.now[host])
        await asyncio.sleep(0)
        self.now[host] -= 1
        if file.filename in self.failing:
            return UnfetchedFile(filename=file.filename, reason="no", is_trouble=True)
        return FetchedFile(1)


async def test_each_host_has_its_own_limit():
    hosts = Hosts()
    queue = FileQueue(hosts.fetch, ManualClock(), most_per_host=5)
    await asyncio.gather(queue.bring(files("a.example", 50)), queue.bring(files("b.example", 50)))
    assert hosts.most == {"a.example": 5, "b.example": 5}
    assert queue.load == (0, 0)


async def test_a_project_is_told_what_could_not_be_fetched():
    hosts = Hosts()
    hosts.failing = {"a.example-3"}
    queue = FileQueue(hosts.fetch, ManualClock(), most_per_host=5)
    one, other = await asyncio.gather(queue.bring(files("a.example", 5)), queue.bring(files("b.example", 5)))
    assert [each.filename for each in one] == ["a.example-3"]
    assert not other


async def test_a_failure_of_the_run_reaches_the_project():
    async def full(_file: File) -> FileOutcome:
        raise StorageFull("no room")

    queue = FileQueue(full, ManualClock(), most_per_host=2)
    with pytest.raises(StorageFull):
        await queue.bring(files("a.example", 9))
    await queue.close()


def test_a_limit_grows_while_all_goes_well_and_halves_once_for_one_trouble():
    limit = AdaptiveLimit(most=40, first=8)
    for _ in range(8):
        limit.succeeded()
    assert limit.limit == 16
    for _ in range(5):
        limit.failed(now=100.0)
    assert limit.limit == 8
    limit.failed(now=102.0)
    assert limit.limit == 4
    for _ in range(4):
        limit.succeeded()
    assert limit.limit == 5
    for _ in range(2000):
        limit.succeeded()
    assert limit.limit == 40


def test_a_limit_never_ends_all_transfers():
    limit = AdaptiveLimit(most=4)
    for second in range(20):
        limit.failed(now=second * 2.0)
    assert limit.limit == 1
