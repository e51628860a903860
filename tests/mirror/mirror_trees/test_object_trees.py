"""A tree on a medium of fsspec has the same objects as one in a directory, and one run at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pkgindex_core.engines.fsspec.connecting import connect
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.object_lease import ObjectLease
from pkgindex_core.errors import BadUpstream, Conflict
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.trees.layout import file_path
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.verifying import TreeVerifying, VerifyOrder
from tests.mirror.mirror_trees.mirrors import Imagined, bring, contents, imagined, opened, sync

JSON = TreeOptions(json=True)


@pytest.fixture
def url() -> Iterator[str]:
    name = f"mirror-{uuid4().hex}"
    yield f"memory://{name}/tree"
    for path in MemoryFileSystem().find(f"/{name}"):
        MemoryFileSystem().rm_file(path)


def objects(url: str) -> dict[str, bytes]:
    """The bytes of everything that a reader may see, by path."""
    files = MemoryFileSystem()
    root = f"/{url.partition('://')[2]}/"
    return {
        path.removeprefix(root): files.cat_file(path)
        for path in files.find(root)
        if not path.removeprefix(root).startswith(".pkgindex")
    }


def projects() -> list[Imagined]:
    return [imagined("alpha-one", "1.0", "1.1", serial=3, document=True), imagined("beta", "1.0", document=True)]


async def test_it_has_the_objects_of_a_local_tree(tmp_path: Path, url: str) -> None:
    await sync(tmp_path, projects(), JSON)
    fetched = await sync(url, projects(), JSON)
    assert len(fetched) == 9
    assert objects(url) == contents(tmp_path)
    assert await sync(url, projects(), JSON) == []
    await sync(tmp_path, [], JSON, gone=["beta"])
    await sync(url, [], JSON, gone=["beta"])
    assert objects(url) == contents(tmp_path)


async def test_its_rows_are_found_by_the_next_run(url: str) -> None:
    await sync(url, projects(), JSON)
    async with opened(url, JSON) as tree:
        await tree.open()
        assert [state.name async for batch in tree.states() for state in batch] == ["alpha-one", "beta"]
        assert (await tree.facts())["serial"] == "9"
        assert await tree.held(ProjectName("beta")) == projects()[1].project


async def test_a_tree_whose_rows_were_lost_is_taken_over(url: str) -> None:
    await sync(url, projects(), JSON)
    before = objects(url)
    MemoryFileSystem().rm_file(f"/{url.partition('://')[2]}/.pkgindex/mirror.db")
    assert await sync(url, projects(), JSON) == []
    assert objects(url) == before


async def test_large_files_and_wrong_ones(url: str) -> None:
    large = imagined("large", "1.0", size=3_000_000, has_sidecars=False)
    file = large.project.files[0]
    async with opened(url) as tree, tree.turn():
        async with tree.sink(file) as sink:
            await sink.write(b"x" * 2_000_000)
            with pytest.raises(BadUpstream):
                await sink.keep()
        assert await tree.missing([file]) == [file]
        await bring(tree, large)
        await tree.finish({})
    assert objects(url)[file_path(file)] == large.bytes[file.filename].data


async def test_older_pages_are_kept(url: str) -> None:
    options = TreeOptions(keep_index_versions=2)
    for serial in (3, 4, 5):
        await sync(url, [imagined("alpha-one", "1.0", serial=serial)], options)
    pages = [path for path in objects(url) if "/versions/" in path and path.endswith(".html")]
    assert sorted(page.split("_")[1] for page in pages) == ["4", "5"]
    assert b"SERIAL 5" in objects(url)["web/simple/alpha-one/index.html"]


async def test_damage_is_found_and_files_of_nobody_are_removed(url: str) -> None:
    there = projects()
    await sync(url, there, JSON)
    root = f"/{url.partition('://')[2]}"
    before = objects(url)
    MemoryFileSystem().pipe_file(f"{root}/web/packages/old.tar.gz", b"?")
    wheel = there[0].project.files[0]
    MemoryFileSystem().pipe_file(f"{root}/{file_path(wheel)}", b"y" * 40)
    async with opened(url, JSON) as tree, tree.turn():
        report = await TreeVerifying(tree, VerifyOrder(delete=True)).run()
        assert [(each.filename, each.problem) for each in report.wrong] == [(wheel.filename, "wrong bytes")]
        assert (report.unowned, report.removed) == (["web/packages/old.tar.gz"], 1)
    assert await sync(url, there, JSON) == [wheel.filename]
    assert objects(url) == before


async def test_one_run_at_a_time(url: str) -> None:
    async with opened(url) as one, opened(url) as other, one.turn():
        with pytest.raises(Conflict, match="another run works"):
            async with other.turn():
                pass
    async with opened(url) as other, other.turn():
        pass


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[Medium, str]]:
    with ThreadPoolExecutor(2) as workers:
        medium, root = await connect(url, workers=workers, storage_options={})
        yield medium, f"{root}/.pkgindex/lease"
        await medium.close()


async def test_the_lease_of_a_killed_run_ends(url: str) -> None:
    clock = ManualClock()
    async with connected(url) as (medium, directory):
        await medium.call("makedirs", directory, exist_ok=True)
        await medium.create(
            f"{directory}/{7:010}", b'{"holder": "the dead", "until": %d}' % (clock.now() // 1_000_000 + 60)
        )
        lease = ObjectLease(medium, directory, clock, subject="this mirror")
        with pytest.raises(Conflict, match="the dead"):
            async with lease.held():
                pass
        clock.advance(66)
        async with lease.held():
            assert [path[-2:] for path in await medium.call("ls", directory, detail=False)] == ["08"]


async def test_work_ends_when_its_lease_is_lost(url: str) -> None:
    async with connected(url) as (medium, directory):
        lease = ObjectLease(medium, directory, ManualClock(), subject="this mirror", seconds=0.2)

        async def work() -> None:
            async with lease.held():
                await medium.create(f"{directory}/{9:010}", b"{}")
                await asyncio.Event().wait()

        with pytest.raises(Conflict, match="taken this mirror over"):
            await work()


@pytest.mark.parametrize("later", [(), (1,)])
async def test_work_ends_when_others_have_worked_meanwhile_and_ended(url: str, later: Sequence[int]) -> None:
    """A later holder removes the objects of earlier ones, and at its end its own. The numbers then begin anew."""
    async with connected(url) as (medium, directory):
        await medium.call("makedirs", directory, exist_ok=True)
        await medium.create(f"{directory}/{6:010}", b"{}")
        lease = ObjectLease(medium, directory, ManualClock(), subject="this mirror", seconds=0.2)

        async def work() -> None:
            async with lease.held():
                for number in later:
                    await medium.create(f"{directory}/{number:010}", b"{}")
                await medium.ask("rm_file", f"{directory}/{7:010}")
                async with asyncio.timeout(5):
                    await asyncio.Event().wait()

        with pytest.raises(Conflict, match="taken this mirror over"):
            await work()


async def test_a_new_object_is_created_once(url: str) -> None:
    async with connected(url) as (medium, directory):
        assert await medium.create(f"{directory}/one", b"1")
        assert not await medium.create(f"{directory}/one", b"2")
        assert await medium.call("cat_file", f"{directory}/one") == b"1"
