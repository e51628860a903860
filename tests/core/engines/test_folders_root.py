"""Folders of projects: one look at one folder for each request, and none where nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkgindex_core.engines.routes import folders_root
from pkgindex_core.engines.routes.folders_root import FoldersRoot
from pkgindex_core.errors import ReadOnly, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.routing import IndexRoutes, RouteRule
from pkgindex_core.testing.index_cases.values import ManualClock

DEMO, OTHER = ProjectName("demo"), ProjectName("other")


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def rooted(workers: ThreadPoolExecutor, clock: ManualClock, *folders: str, pattern: str = "{name}") -> FoldersRoot:
    rules = [RouteRule(pattern=pattern, place="x", folder=folder) for folder in folders]
    return FoldersRoot("x", IndexRoutes(rules), index="root/x", workers=workers, clock=clock, poll_seconds=2.0)


def put(folder: Path, *names: str, age: float = 100.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.tar.gz").write_bytes(b"x")
    past = folder.stat().st_mtime - age
    os.utime(folder, (past, past))


async def test_a_folder_is_read_again_when_its_time_has_changed_and_not_otherwise(
    tmp_path: Path, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(folders_root.os, "scandir", lambda path: (read.append(str(path)), scandir(path))[1])
    clock = ManualClock()
    root = rooted(workers, clock, str(tmp_path / "pool"))
    put(tmp_path / "pool", "demo-1.0", "other-1.0")
    for project in (DEMO, OTHER, DEMO):
        await root.update(project)
        clock.advance(3)
    assert set(root.listing.files(DEMO)) == {"demo-1.0.tar.gz"}
    assert len(read) == 1
    put(tmp_path / "pool", "demo-2.0", age=50)
    await root.update(DEMO)
    assert set(root.listing.files(DEMO)) == {"demo-1.0.tar.gz", "demo-2.0.tar.gz"}
    assert len(read) == 2


async def test_other_folders_are_not_looked_at(tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    """A route may name a folder of a large disk."""
    put(tmp_path / "of-demo" / "within", "demo-9.0")
    put(tmp_path / "of-demo", "demo-1.0", "other-1.0")
    put(tmp_path / "of-other", "other-1.0", "demo-3.0")
    root = rooted(workers, ManualClock(), f"{tmp_path}/of-{{name}}")
    await root.update(DEMO)
    assert set(root.listing.projects) == {DEMO}
    assert set(root.listing.files(DEMO)) == {"demo-1.0.tar.gz"}
    await root.update()
    assert set(root.listing.projects) == {DEMO, OTHER}
    assert set(root.listing.files(OTHER)) == {"other-1.0.tar.gz"}


async def test_a_project_without_a_folder_is_absent_and_one_above_which_there_is_nothing_is_unknown(
    tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    root = rooted(workers, ManualClock(), f"{tmp_path}/mounted/{{name}}")
    with pytest.raises(Unavailable):
        await root.update(DEMO)
    assert not root.is_current(DEMO)
    (tmp_path / "mounted").mkdir()
    await root.update(DEMO)
    assert root.is_current(DEMO)
    assert not root.listing.projects


async def test_a_folder_that_may_not_be_read_is_ignored_in_lists_unless_it_was_seen(
    tmp_path: Path, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "demo", "demo-1.0")
    put(tmp_path / "other", "other-1.0")
    scandir = os.scandir
    closed = {str(tmp_path / "other")}

    def guarded(path: str) -> object:
        if path in closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folders_root.os, "scandir", guarded)
    clock = ManualClock()
    root = rooted(workers, clock, f"{tmp_path}/{{name}}")
    await root.update()
    assert set(root.listing.projects) == {DEMO}
    closed.add(str(tmp_path / "demo"))
    put(tmp_path / "demo", "demo-2.0", age=50)
    with pytest.raises(Unavailable, match="Permission denied"):
        await root.update(again=True)
    assert set(root.listing.projects) == {DEMO}


async def test_what_a_list_cannot_find_is_kept(tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    """With parameters in two segments a folder is found by its project alone."""
    put(tmp_path / "de" / "mo", "de-mo-1.0")
    root = rooted(workers, ManualClock(), f"{tmp_path}/{{a}}/{{b}}", pattern="{a}-{b}")
    await root.update()
    assert not root.listing.projects
    await root.update(ProjectName("de-mo"))
    await root.update(again=True)
    assert set(root.listing.projects) == {ProjectName("de-mo")}


async def test_nothing_is_written(tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    put(tmp_path / "demo", "demo-1.0")
    root = rooted(workers, ManualClock(), f"{tmp_path}/{{name}}")
    await root.update(DEMO)
    with pytest.raises(ReadOnly):
        await root.remove(root.listing.files(DEMO)["demo-1.0.tar.gz"])
