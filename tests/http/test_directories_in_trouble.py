"""What people and machines do to a directory: nothing is taken for absent that is merely unknown, and nothing is shown that is not there."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory import directory_index, local_moves, local_root, reading, walking
from pkgindex_core.engines.directory.inotify import Inotify
from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.local_root import LocalRoot
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.plugins import load_plugins
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_http import plugin as native
from tests.http.conftest import Serve, basic
from tests.http.test_directories import PATIENCE, ROOT, directory, until


@contextmanager
def forbidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a folder that may not be looked into: tests may run as the system's root, which may do anything."""
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(walking.os, "scandir", refusing)
        folder.chmod(0o000)
        yield
    folder.chmod(0o755)


async def test_a_folder_that_may_not_be_read_any_more_makes_nothing_absent(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        there.drop(build_wheel("demo", "1.0"))
        there.drop(build_wheel("demo", "2.0"), "private")
        before = await there.page()
        with forbidden(there.root / "private", monkeypatch):
            assert await there.page() == before
        await until(lambda: _is(there.page(), before))
        there.drop(build_wheel("demo", "3.0"))
        assert set(await there.page()) == {*before, "demo-3.0-py3-none-any.whl"}


async def test_a_folder_that_could_never_be_read_hides_nothing_else(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lost+found` is one."""
    async with directory(serve, tmp_path / "packages") as there:
        (there.root / "lost+found").mkdir()
        built = build_wheel("demo", "1.0")
        there.drop(built)
        with forbidden(there.root / "lost+found", monkeypatch):
            assert set(await there.page()) == {built.filename}


async def test_a_link_that_is_turned_to_another_directory_is_followed(serve: Serve, tmp_path: Path) -> None:
    """`current -> release-1`, as releases are switched. A file system that is mounted over the root comes in the same way."""
    plugins = load_plugins(program=native, settings={"directory": {"poll_seconds": 0.05}})
    places = [tmp_path / "release-1", tmp_path / "release-2"]
    for number, place in enumerate(places):
        place.mkdir()
        built = build_wheel("demo", f"{number}.0")
        (place / built.filename).write_bytes(built.data)
    current = tmp_path / "current"
    current.symlink_to(places[0])
    async with directory(serve, current, plugins=plugins) as there:
        assert set(await there.page()) == {"demo-0.0-py3-none-any.whl"}
        beside = tmp_path / "beside"
        beside.symlink_to(places[1])
        beside.replace(current)
        await until(lambda: _is(_names(there), {"demo-1.0-py3-none-any.whl"}))


async def test_a_folder_above_the_root_that_is_renamed_makes_nothing_absent(serve: Serve, tmp_path: Path) -> None:
    plugins = load_plugins(program=native, settings={"directory": {"poll_seconds": 0.0}})
    (tmp_path / "above").mkdir()
    async with directory(serve, tmp_path / "above" / "packages", plugins=plugins) as there:
        built = build_wheel("demo", "1.0")
        there.drop(built)
        before = await there.page()
        (tmp_path / "above").rename(tmp_path / "away")
        assert (await there.fetch(before[built.filename]))[0] == 503
        assert await there.page() == before
        (tmp_path / "away").rename(tmp_path / "above")
        assert await there.fetch((await there.page())[built.filename]) == (200, built.data)


async def test_a_folder_whose_name_is_no_text_is_a_folder(serve: Serve, tmp_path: Path) -> None:
    """Names of the days of Latin-1."""
    async with directory(serve, tmp_path / "packages") as there:
        folder = os.fsdecode(b"caf\xe9")
        first, second = build_wheel("demo", "1.0"), build_wheel("other", "1.0")
        there.drop(first, folder)
        file = (await there.page())[first.filename]
        assert await there.fetch(file) == (200, first.data)
        there.drop(second, folder)
        await until(lambda: _has_read(there, 2))  # nobody asks for the other one


async def test_a_deleted_file_is_gone_however_many_copies_lie_there(serve: Serve, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    async with directory(serve, tmp_path / "packages", str(second), index={"volatile": True}) as there:
        built, kept = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
        there.drop(built)
        there.drop(kept)
        there.drop(built, "a/b")
        (second / built.filename).write_bytes(build_wheel("demo", "1.0", files={"more.py": b""}).data)
        file = (await there.page())[built.filename]
        assert await there.delete(f"/{file['url'].removeprefix('../../../../')}") in {200, 201}
        assert set(await there.page()) == {kept.filename}
        assert there.lying == [kept.filename]
        assert list(second.iterdir()) == []


async def test_a_beginning_that_ends_within_another_archive_is_not_the_whole(serve: Serve, tmp_path: Path) -> None:
    """A wheel that carries wheels: what lies at its beginning ends like an archive, and is half of one."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("module.py", b"x")
    files = {"carried.whl": inner.getvalue(), "more.py": os.urandom(100_000)}
    built = build_wheel("demo", "1.0", files=files, stored=True)
    end = built.data.index(inner.getvalue()) + len(inner.getvalue())
    async with directory(serve, tmp_path / "packages") as there:
        copying = there.root / built.filename
        for more in (0, 1, 22, 5000):
            copying.write_bytes(built.data[: end + more])
            assert await there.page() == {}
        copying.write_bytes(built.data)
        assert await there.fetch((await there.page())[built.filename]) == (200, built.data)


async def test_a_clock_that_goes_ahead_does_not_show_half_a_file(serve: Serve, tmp_path: Path) -> None:
    """The other machine of a shared file system may be seconds ahead."""
    async with directory(serve, tmp_path / "packages") as there:
        copying = there.root / "demo-1.0.win32.exe"
        copying.write_bytes(b"MZ")
        ahead = copying.stat().st_mtime + 5
        os.utime(copying, (ahead, ahead))
        assert await there.page() == {}


async def test_a_name_without_a_version_is_no_project(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        (there.root / "backup.zip").write_bytes(b"not an archive")
        there.drop(build_wheel("other", "1.0"))
        assert await there.page("backup") == {}
        assert await there.names() == ["other"]


async def test_strangers_are_not_told_where_the_files_lie(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        there.drop(build_wheel("demo", "1.0"))
        await there.served.user("ann")
        for path in (
            "/root/wheels",
            "/root",
            "/",
            "/root/wheels/+api",
            "/root/wheels/+simple/",
            "/root/wheels/+simple/demo/",
        ):
            for headers in ({}, basic("ann", "correct horse battery staple")):
                async with there.served.get(path, headers={"Accept": "application/json", **headers}) as answer:
                    assert str(tmp_path) not in await answer.text(), path
        async with there.served.get("/root/wheels", headers={"Accept": "application/json", **basic("root")}) as answer:
            assert json.loads(await answer.read())["result"]["roots"] == [str(there.root)]


@pytest.mark.parametrize("root", ["/srv/a\n/b", "/srv/a\x1bb"])
async def test_roots_with_more_than_one_line_are_refused(root: str, serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        options = {"type": "directory", "roots": [root]}
        with pytest.raises(Refused):
            await there.served.engine.indexes.create("root/more", options, principal=ROOT)


def test_a_folder_that_became_a_link_is_not_looked_into(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "demo-1.0-py3-none-any.whl").write_bytes(b"")
    (root / "folder").symlink_to(outside, target_is_directory=True)
    walked = walking.walk(str(root), str(root / "folder"), lambda _directory: None, lambda _directory: False)
    assert not walked.entries


async def test_what_is_asked_for_is_read_before_all_else(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    read = reading.read_distribution

    def recorded(path: Path, filename: str, sha256: Sha256 | None = None) -> reading.Distribution | None:
        order.append(filename.partition("-")[0])
        return read(path, filename, sha256)

    monkeypatch.setattr(reading, "read_distribution", recorded)
    async with directory(serve, tmp_path / "packages") as there:
        for number in range(20):
            there.drop(build_wheel(f"a{number}", "1.0"))
        for number in range(6):
            there.drop(build_wheel("demo", f"{number}.0"))
        assert len(await there.page()) == 6
        await until(lambda: _has_read(there, 26))
    assert order[:6] == ["demo"] * 6


async def test_folders_that_come_when_no_watch_is_left_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(watch: Inotify, folder: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)

    journal = Journal(tmp_path / "journal")
    (tmp_path / "packages").mkdir()
    with ThreadPoolExecutor(1) as workers:
        root = LocalRoot(
            str(tmp_path / "packages"),
            workers=workers,
            clock=SystemClock(),
            journal=journal,
            poll_seconds=60.0,
            heard=lambda: None,
        )
        await root.update()
        monkeypatch.setattr(Inotify, "watch", none_left)
        (tmp_path / "packages" / "folder").mkdir()
        (tmp_path / "packages" / "folder" / "demo-1.0-py3-none-any.whl").touch()
        await root.update()
        assert list(root.listing.projects) == ["demo"]
        await root.close()


async def test_a_directory_that_gives_no_answer_holds_nobody_up(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of NFS that is down: each call waits until it is back."""
    is_back = asyncio.Event()
    update = LocalRoot._update

    async def waiting(root: LocalRoot, *arguments: Any, **options: Any) -> None:
        await is_back.wait()
        await update(root, *arguments, **options)

    settings = {"directory": {"poll_seconds": 0.0, "wait": 0.05, "stale_wait": 0.05}}
    async with directory(
        serve, tmp_path / "packages", plugins=load_plugins(program=native, settings=settings)
    ) as there:
        there.drop(build_wheel("demo", "1.0"))
        await until(lambda: _is(_names(there), {"demo-1.0-py3-none-any.whl"}))
        monkeypatch.setattr(LocalRoot, "_update", waiting)
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                assert await _names(there) == {"demo-1.0-py3-none-any.whl"}
                assert await there.names() == ["demo"]
                async with there.served.get("/root/wheels/+simple/other/") as answer:
                    assert answer.status == 503
                assert (await there.upload(build_wheel("demo", "2.0")))[0] == 503
        there.drop(build_wheel("demo", "3.0"))
        is_back.set()
        await until(lambda: _is(_names(there), {"demo-1.0-py3-none-any.whl", "demo-3.0-py3-none-any.whl"}))


async def test_uploads_need_no_hard_links(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """exFAT has none, and neither have some file systems of FUSE."""
    link = os.link

    def refused(source: Path, target: Path) -> None:
        if Path(target).parent == tmp_path / "packages":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source))
        link(source, target)

    monkeypatch.setattr("os.link", refused)
    async with directory(serve, tmp_path / "packages", index={"volatile": True}) as there:
        for built in (build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"more.py": b""})):
            assert await there.upload(built) == (200, "")
            file = (await there.page())[built.filename]
            assert await there.fetch(file) == (200, built.data)
            assert there.lying == [built.filename]

        def full(source: Path, target: Path) -> None:
            target.write_bytes(source.read_bytes()[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

        monkeypatch.setattr("shutil.copy2", full)
        assert (await there.upload(build_wheel("demo", "1.0")))[0] == 507
        assert there.lying == [built.filename]
        assert (there.root / built.filename).read_bytes() == built.data


async def test_the_hint_names_the_directory_and_not_the_blob_store(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(local_moves, "_synchronize", read_only)
    async with directory(serve, tmp_path / "packages") as there:
        status, text = await there.upload(build_wheel("demo", "1.0"))
        assert status == 503
        assert "the file system of the directory of the index is read-only" in text
        assert there.lying == []


@pytest.mark.parametrize("kind", ["", "nfs4"])
async def test_names_that_nobody_has_take_no_memory(
    kind: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_root, "shared_file_system", lambda _: kind)
    monkeypatch.setattr(local_root, "_REMEMBERED", 3, raising=False)
    monkeypatch.setattr(directory_index, "_ABSENT", 3, raising=False)
    async with directory(serve, tmp_path / "packages") as there:
        there.drop(build_wheel("demo", "1.0"))
        assert set(await there.page()) == {"demo-1.0-py3-none-any.whl"}
        for number in range(10):
            assert await there.page(f"name{number}") == {}
        there.drop(build_wheel("name1", "1.0"))
        await until(lambda: _is(_names_of(there, "name1"), {"name1-1.0-py3-none-any.whl"}))
        holders = [*there.source._roots.values(), *there.source._indexes.values()]
        sizes = [
            len(each) for holder in holders for each in vars(holder).values() if isinstance(each, dict | BoundedCache)
        ]
        assert max(sizes) < 8


async def test_a_root_that_is_empty_for_long_takes_no_descriptors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A system gives each of its users 128 descriptors of inotify."""
    place = tmp_path / "packages"
    place.mkdir()
    (place / "demo-1.0-py3-none-any.whl").touch()
    with ThreadPoolExecutor(1) as workers:
        root = LocalRoot(
            str(place),
            workers=workers,
            clock=SystemClock(),
            journal=Journal(tmp_path / "journal"),
            poll_seconds=0.0,
            heard=lambda: None,
        )
        await root.update()
        place.rename(tmp_path / "away")
        place.mkdir()
        before = _descriptors_of_inotify()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await root.update()
        assert _descriptors_of_inotify() < before
        assert len(caplog.records) == 1
        place.rmdir()
        (tmp_path / "away").rename(place)
        await root.update()
        assert list(root.listing.projects) == ["demo"]
        assert _descriptors_of_inotify() == before
        await root.close()


def _descriptors_of_inotify() -> int:
    targets = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return targets.count("anon_inode:inotify")


async def _is(asked: Any, expected: Any) -> bool:
    return bool(await asked == expected)


async def _names(there: Any) -> set[str]:
    return set(await there.page())


async def _names_of(there: Any, project: str) -> set[str]:
    return set(await there.page(project))


async def _has_read(there: Any, files: int) -> bool:
    return bool(there.read == files)
