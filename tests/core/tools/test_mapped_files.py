"""Files that processes share: whole or ignored, replaced without harm to those that read them, and bounded."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

import pytest

from pkgindex_core import failpoints
from pkgindex_core.tools.mapped_files import MappedFiles

_NAME, _OTHER, _THIRD = ("a" * 64, "b" * 64, "c" * 64)


def content_of(files: MappedFiles, name: str = _NAME) -> bytes | None:
    found = files.read(name)
    return None if found is None else bytes(found.content)


def test_what_is_written_is_read_by_others_too(tmp_path: Path) -> None:
    files = MappedFiles(tmp_path / "lists", limit=1000)
    assert content_of(files) is None
    written = files.write(_NAME, [b"one", memoryview(b" two")])
    assert written is not None
    assert bytes(written.content) == b"one two"
    assert content_of(MappedFiles(tmp_path / "lists", limit=1000)) == b"one two"
    assert files.read(_NAME, known=written) is written
    assert [*(tmp_path / "lists").iterdir()] == [tmp_path / "lists" / _NAME]
    assert (tmp_path / "lists" / _NAME).stat().st_mode & 0o077 == 0


def test_a_replaced_or_removed_file_stays_whole_for_its_readers(tmp_path: Path) -> None:
    files = MappedFiles(tmp_path, limit=1_000_000)
    former = files.write(_NAME, [b"x" * 100_000])
    later = files.write(_NAME, [b"y"])
    assert former is not None
    assert files.read(_NAME, known=former) == later
    (tmp_path / _NAME).unlink()
    assert bytes(former.content) == b"x" * 100_000


@pytest.mark.parametrize("place", [0, 8, 12, 20, 500, -1])
def test_a_file_with_one_wrong_byte_is_ignored_and_replaced(tmp_path: Path, place: int) -> None:
    files = MappedFiles(tmp_path, limit=10_000)
    files.write(_NAME, [b"x" * 1000])
    data = bytearray((tmp_path / _NAME).read_bytes())
    data[place] ^= 1
    (tmp_path / _NAME).write_bytes(data)
    assert content_of(files) is None
    files.write(_NAME, [b"new"])
    assert content_of(files) == b"new"


@pytest.mark.parametrize("cut", [0, 1, 19, 20, 21, 1019])
def test_a_cut_file_is_ignored(tmp_path: Path, cut: int) -> None:
    files = MappedFiles(tmp_path, limit=10_000)
    files.write(_NAME, [b"x" * 1000])
    data = (tmp_path / _NAME).read_bytes()
    (tmp_path / _NAME).write_bytes(data[:cut])
    assert content_of(files) is None
    (tmp_path / _NAME).write_bytes(data + b"x")
    assert content_of(files) is None


@pytest.mark.parametrize("content", [b"", b"good", b"<html>" * 100])
def test_a_foreign_file_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / _NAME).write_bytes(content)
    files = MappedFiles(tmp_path, limit=10_000)
    assert content_of(files) is None
    files.write(_NAME, [b"new"])
    assert content_of(files) == b"new"


def test_a_directory_in_the_place_of_a_file_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / _NAME).mkdir()
    files = MappedFiles(tmp_path, limit=10_000)
    assert content_of(files) is None
    assert files.write(_NAME, [b"new"]) is None
    assert [*tmp_path.iterdir()] == [tmp_path / _NAME]


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EIO"])
def test_a_failing_disk_is_logged_once_and_leaves_nothing(
    tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = MappedFiles(tmp_path, limit=10_000)
    try:
        for _ in range(2):
            failpoints.arm(f"mapped.written=raise:{code}")
            with caplog.at_level(logging.WARNING):
                assert files.write(_NAME, [b"new"]) is None
    finally:
        failpoints.disarm()
    assert len(caplog.records) == 1
    assert os.strerror(getattr(errno, code)) in caplog.text
    assert not [*tmp_path.iterdir()]
    assert files.write(_NAME, [b"new"]) is not None


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = MappedFiles(tmp_path / "file" / "lists", limit=10_000)
    assert files.read(_NAME) is None
    assert files.write(_NAME, [b"new"]) is None


def test_the_least_recently_used_files_go_first(tmp_path: Path) -> None:
    files = MappedFiles(tmp_path, limit=2_500)
    for name in (_NAME, _OTHER):
        files.write(name, [b"x" * 1000])
    now = (tmp_path / _OTHER).stat().st_mtime
    for seconds, name in ((20, _NAME), (10, _OTHER)):
        os.utime(tmp_path / name, (now - seconds, now - seconds))
    files.touch(_NAME)
    (tmp_path / "of-others").write_bytes(b"x" * 10_000)
    files.write(_THIRD, [b"x" * 1000])
    assert sorted(path.name for path in tmp_path.iterdir()) == [_NAME, _THIRD, "of-others"]


def test_a_file_that_nothing_uses_goes_after_a_day(tmp_path: Path) -> None:
    files = MappedFiles(tmp_path, limit=10_000)
    files.write(_NAME, [b"old"])
    written = (tmp_path / _NAME).stat().st_mtime
    os.utime(tmp_path / _NAME, (written - 86_500, written - 86_500))
    files.write(_OTHER, [b"new"])
    assert [path.name for path in tmp_path.iterdir()] == [_OTHER]


def test_the_first_use_removes_what_killed_writers_left(tmp_path: Path) -> None:
    left, locked = tmp_path / "x.unfinished", tmp_path / "y.unfinished"
    left.touch()
    with locked.open("wb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        files = MappedFiles(tmp_path, limit=10_000)
        files.read(_NAME)
        assert [*tmp_path.iterdir()] == [locked]
