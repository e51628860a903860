"""Parts of directory indexes: the listing is what lies there, digests outlive a restart and a torn line, half a file has no end."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.directory.file_systems import file_system
from pkgindex_core.engines.directory.inotify import Happening, Inotify
from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.listing import Entry, RootListing, project_of
from pkgindex_core.engines.directory.reading import has_end, read_distribution
from pkgindex_core.engines.directory.reading_in_place import reading_in_place
from pkgindex_core.engines.directory.root import Changed
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.sources import mark_of
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel

DIGEST = sha256_of(b"")
_FILENAMES = [f"{project}-1.{number}-py3-none-any.whl" for project in ("one", "two") for number in range(2)]
_PATHS = [f"/root/{folder}{name}" for folder in ("", "a/", "b/", "a/c/") for name in _FILENAMES]


def entry(path: str, mark: str) -> Entry:
    project = project_of(path.rpartition("/")[2])
    assert project is not None
    return Entry(path, project, mark, 1, 0.0)


@given(st.lists(st.dictionaries(st.sampled_from(_PATHS), st.sampled_from(["", "x", "y"]), max_size=6), max_size=8))
def test_a_listing_is_what_was_found_last(rounds: list[dict[str, str]]) -> None:
    listing, lying = RootListing(), dict[str, Entry]()
    for found in rounds:
        before = {name: (listing.version(name), listing.files(name)) for name in map(ProjectName, ("one", "two"))}
        news = {path: entry(path, mark) if mark else None for path, mark in found.items()}
        changed = listing.put(news)
        lying.update({path: each for path, each in news.items() if each is not None})
        for path in (path for path, each in news.items() if each is None):
            lying.pop(path, None)
        assert set(listing.projects) == {each.project for each in lying.values()}
        for name, (version, files) in before.items():
            expected: dict[str, Entry] = {}
            for path in sorted(lying, key=lambda path: (path.count("/"), path)):
                if lying[path].project == name:
                    expected.setdefault(lying[path].filename, lying[path])
            assert listing.files(name) == expected
            assert (listing.version(name) != version) is (name in changed)
            assert listing.files(name) == files or name in changed


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("Some.Name-1.0-py3-none-any.whl", "some-name"),
        ("some_name-1.0-1-py3-none-any.whl", "some-name"),
        ("some-name-1.0.tar.gz", "some-name"),
        ("some-name-1.0.zip", "some-name"),
        (".hidden-1.0-py3-none-any.whl", None),
        ("README.txt", None),
        ("broken-1.0.whl", None),
        ("naïve-1.0-py3-none-any.whl", None),
        (f"{'x' * 300}-1.0.tar.gz", None),
    ],
)
def test_the_project_of_a_file_is_told_by_its_name(filename: str, project: str | None) -> None:
    assert project_of(filename) == project


def test_digests_outlive_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = Journal(path)
    first.load()
    first.note("/a", "1", DIGEST)
    with path.open("ab") as file:
        file.write(b'\n["/torn","1","' + DIGEST.encode()[:10])
    first.note("/b", "1", DIGEST)
    first.note("/a", "2", DIGEST)
    second = Journal(path)
    second.load()
    assert second.known("/a", "1") is None
    assert second.known("/a", "2") == second.known("/b", "1") == DIGEST
    assert second.known("/torn", "1") is None
    assert (second.mark("/a"), second.mark("/torn")) == ("2", "")


def test_a_journal_that_grew_is_rewritten_without_what_is_gone(tmp_path: Path) -> None:
    there, path = tmp_path / "there", tmp_path / "journal"
    there.touch()
    journal = Journal(path)
    journal.load()
    for turn in range(1500):
        journal.note(str(there), str(turn), DIGEST)
    journal.note(str(tmp_path / "gone"), "1", DIGEST)
    again = Journal(path)
    again.load()
    assert len(path.read_bytes().split()) == 1
    third = Journal(path)
    third.load()
    assert third.known(str(there), "1499") == DIGEST


@pytest.mark.parametrize("built", [build_wheel("demo", "1.0"), build_sdist("demo", "1.0")], ids=["wheel", "sdist"])
def test_no_beginning_of_a_file_is_taken_for_the_whole(built: BuiltFile, tmp_path: Path) -> None:
    path = tmp_path / built.filename
    for end in range(0, built.size, 7):
        path.write_bytes(built.data[:end])
        assert not has_end(path)
        assert read_distribution(path, built.filename) is None
    path.write_bytes(built.data)
    assert has_end(path)
    found = read_distribution(path, built.filename)
    assert found is not None
    assert (found.file.sha256, found.file.size, found.file.version) == (built.sha256, built.size, "1.0")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_reading_a_file_wakes_nobody(tmp_path: Path) -> None:
    watch = Inotify()
    try:
        watch.watch(str(tmp_path))
        (tmp_path / "a").write_bytes(b"x")
        assert Happening(str(tmp_path), "a") in watch.read()
        (tmp_path / "a").read_bytes()
        list(tmp_path.iterdir())
        assert watch.read() == []
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "folder").mkdir()
        heard = watch.read()
        assert Happening(str(tmp_path), "b") in heard
        assert Happening(str(tmp_path), "folder", is_directory=True) in heard
    finally:
        watch.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells which file systems are mounted")
def test_the_file_system_of_a_directory_is_named() -> None:
    assert file_system("/proc") == "proc"
    assert file_system("/proc/self") == "proc"


async def test_a_file_that_goes_while_it_is_read_has_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is not a failure of the disk, so nothing is told."""
    wheel = tmp_path / _FILENAMES[0]
    wheel.write_bytes(b"its bytes")
    lying = entry(str(wheel), mark_of(wheel.lstat()))

    async def read(workers: ThreadPoolExecutor) -> None:
        async with reading_in_place(workers, lying) as path:
            path.unlink()
            path.read_bytes()

    with ThreadPoolExecutor(1) as workers, pytest.raises(Changed):
        await read(workers)
    assert caplog.messages == []
