"""Directory indexes over HTTP: a file that is dropped appears, one that is removed disappears, and nothing wrong is ever sent."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.engines.directory import local_root
from pkgindex_core.engines.directory.local_moves import LocalMove, hide_file
from pkgindex_core.engines.directory.source import DirectorySource
from pkgindex_core.engines.late_source import LateSource
from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.uploads import upload_form
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.http.conftest import Serve, Served, basic

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
ROOT = Principal(name="root")
PASSWORD = "correct horse"  # of a server that lives for a test
PATIENCE = 30.0


class Directory:
    """A server with the index `root/wheels` over a directory."""

    def __init__(self, served: Served, root: Path) -> None:
        self.served = served
        self.root = root

    def drop(self, built: BuiltFile, folder: str = "") -> Path:
        """Put a file there as rsync does: beside, and renamed."""
        place = self.root / folder
        place.mkdir(parents=True, exist_ok=True)
        beside = place / f".{built.filename}.part"
        beside.write_bytes(built.data)
        return beside.rename(place / built.filename)

    async def page(self, project: str = "demo", index: str = "root/wheels") -> dict[str, dict[str, Any]]:
        async with self.served.get(f"/{index}/+simple/{project}/", headers=JSON) as answer:
            if answer.status == 404:
                return {}
            assert answer.status == 200, await answer.text()
            return {file["filename"]: file for file in json.loads(await answer.read())["files"]}

    async def names(self) -> list[str]:
        async with self.served.get("/root/wheels/+simple/", headers=JSON) as answer:
            return [each["name"] for each in json.loads(await answer.read())["projects"]]

    async def fetch(self, file: dict[str, Any], **headers: str) -> tuple[int, bytes]:
        async with self.served.get(f"/{file['url'].removeprefix('../../../../')}", headers=headers) as answer:
            return answer.status, await answer.read()

    async def upload(self, built: BuiltFile) -> tuple[int, str]:
        content_type, body = upload_form(built)
        headers = {**basic("root"), "Content-Type": content_type}
        async with self.served.request("POST", "/root/wheels/", data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def delete(self, path: str) -> int:
        async with self.served.request("DELETE", path, headers=basic("root")) as answer:
            return int(answer.status)

    @property
    def read(self) -> int:
        """Files that were read whole since the start."""
        return self.source.settling.read

    @property
    def source(self) -> DirectorySource:
        """The source of all directories."""
        source = self.served.engine.sources.by_type["directory"]
        assert isinstance(source, LateSource)
        made = source.made
        assert isinstance(made, DirectorySource)
        return made

    @property
    def lying(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob("*") if path.is_file())


@asynccontextmanager
async def directory(serve: Serve, root: Path, *more: str, **options: Any) -> AsyncIterator[Directory]:
    root.mkdir(exist_ok=True)
    index = {"type": "directory", "roots": [str(root), *more], "volatile": False, **options.pop("index", {})}
    told = {"upstream": "http://127.0.0.1:1/simple/", "root_password": PASSWORD, **options}
    async with serve(mirrors=True, **told) as served:
        tree = await served.engine.store.tree()
        if IndexName("root/wheels") not in tree.indexes:
            await served.engine.indexes.create("root/wheels", index, principal=ROOT)
        yield Directory(served, root)


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_files_appear_and_disappear(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        assert await there.page() == {}
        wheel, sdist, other = build_wheel("demo", "1.0"), build_sdist("demo", "1.0"), build_wheel("other", "2.0")
        there.drop(wheel)
        assert list(await there.page()) == [wheel.filename]
        there.drop(sdist, "deep/er")
        there.drop(other, "deep")
        (there.root / ".hidden").mkdir()
        there.drop(build_wheel("secret", "1.0"), ".hidden")
        assert set(await there.page()) == {wheel.filename, sdist.filename}
        assert await there.names() == ["demo", "other"]
        assert await there.page("secret") == {}
        file = (await there.page())[wheel.filename]
        assert await there.fetch(file) == (200, wheel.data)
        assert (await there.fetch({"url": f"{file['url']}.metadata"})) == (200, wheel.metadata)
        (there.root / wheel.filename).unlink()
        assert list(await there.page()) == [sdist.filename]
        assert (await there.fetch(file))[0] in {404, 410}
        (there.root / "deep" / "er" / sdist.filename).unlink()
        (there.root / "deep").rename(tmp_path / "moved away")
        assert await there.page() == {}
        assert await there.names() == []


async def test_a_page_says_of_a_file_what_it_says_of_an_upload(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        wheel = build_wheel("demo", "1.0", requires_python=">=3.8")
        there.drop(wheel)
        file = (await there.page())[wheel.filename]
        assert file["hashes"] == {"sha256": wheel.sha256}
        assert file["size"] == wheel.size
        assert file["requires-python"] == ">=3.8"
        assert "sha256" in file["core-metadata"]
        seen = file["upload-time"]
        os.utime(there.root / wheel.filename, (1e9, 1e9))
        assert (await there.page())[wheel.filename]["upload-time"] == seen
        yank = {"data": json.dumps({"yanked": "bad"}), "headers": {**basic("root"), "Content-Type": "application/json"}}
        path = f"/{file['url'].removeprefix('../../../../')}"
        async with there.served.request("PATCH", path, **yank) as answer:
            assert answer.status == 200, await answer.text()
        os.utime(there.root / wheel.filename, (2e9, 2e9))
        assert (await there.page())[wheel.filename]["yanked"] == "bad"


async def test_a_file_that_is_being_copied_is_not_listed_before_it_is_whole(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        for built in (build_wheel("demo", "1.0"), build_sdist("demo", "2.0")):
            copying = there.root / built.filename
            for end in (0, 1, built.size // 2, built.size - 1):
                copying.write_bytes(built.data[:end])
                assert built.filename not in await there.page()
            copying.write_bytes(built.data)
            file = (await there.page())[built.filename]
            assert await there.fetch(file) == (200, built.data)


async def test_a_file_that_is_replaced_is_taken_anew(serve: Serve, tmp_path: Path) -> None:
    """Renamed over the old one, and written over it; the old digest never answers with other bytes."""
    async with directory(serve, tmp_path / "packages") as there:
        before = build_wheel("demo", "1.0")
        place = there.drop(before)
        old = (await there.page())[before.filename]
        for number, replace in enumerate([there.drop, lambda built: place.write_bytes(built.data)]):
            after = build_wheel("demo", "1.0", files={"more.py": b"#" * (number + 1)})
            replace(after)
            status, body = await there.fetch(old)
            assert status in {404, 410, 503}, body
            new = (await there.page())[after.filename]
            assert new["hashes"] == {"sha256": after.sha256}
            assert await there.fetch(new) == (200, after.data)
            assert (await there.fetch(old))[0] in {404, 410}
            old = new


async def test_a_large_file_that_changes_while_it_is_sent_is_cut(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built = build_wheel("demo", "1.0", files={"large.bin": os.urandom(30_000_000)}, stored=True)
        place = there.drop(built)
        file = (await there.page())[built.filename]
        url = f"{there.served.url}/{file['url'].removeprefix('../../../../')}"
        received = 0

        async def receive() -> None:
            nonlocal received
            async with there.served.client.get(url) as answer:
                assert answer.status == 200
                async for chunk in answer.content.iter_chunked(1 << 16):
                    if not received:
                        with place.open("r+b") as changed:
                            changed.write(b"other bytes")
                    received += len(chunk)

        with pytest.raises(aiohttp.ClientError):
            await receive()
        assert received < built.size


async def test_a_restart_reads_no_file_again(serve: Serve, tmp_path: Path) -> None:
    stores = {"data": tmp_path / "data", "store": "", "blobs": ""}
    wheels = [build_wheel(name, "1.0") for name in ("demo", "other", "third")]
    async with directory(serve, tmp_path / "packages", **stores) as there:
        for built in wheels:
            there.drop(built)
        before = await there.page()
        for name in ("other", "third"):
            assert await there.page(name)
        assert there.read == 3
    async with directory(serve, tmp_path / "packages", **stores) as there:
        there.drop(build_wheel("fourth", "1.0"))
        (there.root / wheels[2].filename).unlink()
        assert await there.page() == before
        assert await there.page("other")
        assert await there.page("third") == {}
        assert await there.page("fourth")
        assert there.read == 1


async def test_what_nobody_asks_for_follows_behind(serve: Serve, tmp_path: Path) -> None:
    """Searches and replicas know what lies there, though nobody asked for its page."""
    async with directory(serve, tmp_path / "packages") as there:
        there.drop(build_wheel("other", "1.0"))
        await there.names()
        store = there.served.engine.store

        async def stored(project: str) -> bool:
            return any(row.name == project for row in await store.projects(IndexName("root/wheels")))

        await until(lambda: stored("other"))
        there.drop(build_wheel("third", "1.0"))
        await until(lambda: stored("third"))


async def test_an_upload_lies_in_the_directory(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built, other = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"more.py": b""})
        status, said = await there.upload(built)
        assert status == 200, said
        assert there.lying == [built.filename]
        assert (there.root / built.filename).read_bytes() == built.data
        assert (await there.upload(built))[0] == 200
        assert (await there.upload(other))[0] in {400, 409}
        assert (there.root / built.filename).read_bytes() == built.data
        assert await there.fetch((await there.page())[built.filename]) == (200, built.data)
        assert there.read == 0, "an upload is not read again"


async def test_the_bytes_of_an_upload_lie_in_the_directory_alone(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        wheel, sdist = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")
        for built in (wheel, sdist, wheel):
            assert (await there.upload(built))[0] == 200
        assert there.lying == sorted([wheel.filename, sdist.filename])
        blobs = [blob.sha256 async for blob in there.served.engine.blobs.walk()]
        assert blobs == [sha256_of(wheel.metadata)], "the sidecar is stored, since nothing else has it apart"


async def test_an_upload_of_what_was_just_removed_is_no_success(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built = build_wheel("demo", "1.0")
        assert (await there.upload(built))[0] == 200
        (there.root / built.filename).unlink()
        status, said = await there.upload(built)
        assert status in {400, 409}
        assert "deleted" in said


async def test_an_upload_replaces_only_what_may_be_replaced(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages", index={"volatile": True}) as there:
        built, other = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"more.py": b""})
        there.drop(built, "below")
        assert (await there.page())[built.filename]["hashes"] == {"sha256": built.sha256}
        assert (await there.upload(other))[0] == 200
        assert there.lying == [built.filename], "it was replaced where it lay"
        assert (await there.page())[built.filename]["hashes"] == {"sha256": other.sha256}
        assert await there.fetch((await there.page())[built.filename]) == (200, other.data)


async def test_an_upload_does_not_take_the_name_of_what_was_just_dropped(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built, other = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"more.py": b""})
        there.drop(built)
        assert (await there.upload(other))[0] in {400, 409}
        assert (await there.upload(built))[0] == 200
        assert there.lying == [built.filename]
        assert (there.root / built.filename).read_bytes() == built.data


async def test_a_deletion_takes_the_file_away(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages", index={"volatile": True}) as there:
        wheels = [build_wheel("demo", version) for version in ("1.0", "2.0")]
        for built in wheels:
            there.drop(built)
        url = (await there.page())[wheels[0].filename]["url"]
        assert await there.delete(f"/{url.removeprefix('../../../../')}") in {200, 201}
        assert there.lying == [wheels[1].filename]
        assert list(await there.page()) == [wheels[1].filename]
        assert await there.delete("/root/wheels/demo") in {200, 201}
        assert there.lying == []
        assert await there.page() == {}


async def test_a_deletion_that_is_refused_leaves_the_file(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built = build_wheel("demo", "1.0")
        there.drop(built)
        url = (await there.page())[built.filename]["url"]
        assert await there.delete(f"/{url.removeprefix('../../../../')}") == 403
        assert there.lying == [built.filename]


async def test_its_names_are_never_taken_from_a_mirror_and_never_told_to_one(serve: Serve, tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", build_wheel("demo", "99.0"))
        upstream.add("public", build_wheel("public", "1.0"))
        index = {"bases": ["root/pypi"]}
        (tmp_path / "packages").mkdir()
        (tmp_path / "packages" / "demo-1.0-py3-none-any.whl").write_bytes(build_wheel("demo", "1.0").data)
        async with directory(serve, tmp_path / "packages", index=index, upstream=upstream.url) as there:
            await there.served.engine.indexes.create(
                "root/team", {"bases": ["root/wheels", "root/pypi"]}, principal=ROOT
            )
            for name in ("root/wheels", "root/team"):
                assert list(await there.page("demo", name)) == ["demo-1.0-py3-none-any.whl"]
                assert list(await there.page("public", name)) == ["public-1.0-py3-none-any.whl"]
            assert upstream.count("/simple/demo/") == 0
            assert upstream.count("/simple/public/") > 0
            there.drop(build_wheel("public", "0.5"))
            assert list(await there.page("public", "root/team")) == ["public-0.5-py3-none-any.whl"]
            there.root.rename(tmp_path / "unmounted")
            async with there.served.get("/root/team/+simple/unheard/", headers=JSON) as answer:
                assert answer.status == 503, "whether it is ours is not known"


async def test_a_directory_that_is_gone_makes_nothing_absent(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        built = build_wheel("demo", "1.0")
        there.drop(built)
        before = await there.page()
        there.root.rename(tmp_path / "elsewhere")
        assert await there.page() == before
        assert (await there.fetch(before[built.filename]))[0] == 503
        there.root.mkdir()  # as an unmounted file system leaves it
        assert await there.page() == before
        there.root.rmdir()
        (tmp_path / "elsewhere").rename(there.root)
        assert await there.fetch((await there.page())[built.filename]) == (200, built.data)
        (there.root / built.filename).unlink()
        assert await there.page() == {}


async def test_links_are_not_followed(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "demo-1.0-py3-none-any.whl").write_bytes(build_wheel("demo", "1.0").data)
        (there.root / "demo-1.0-py3-none-any.whl").symlink_to(outside / "demo-1.0-py3-none-any.whl")
        (there.root / "folder").symlink_to(outside, target_is_directory=True)
        os.mkfifo(there.root / "demo-2.0-py3-none-any.whl")
        assert await there.page() == {}
        inside = there.drop(build_wheel("demo", "3.0"))
        file = (await there.page())["demo-3.0-py3-none-any.whl"]
        inside.unlink()
        inside.symlink_to(outside / "demo-1.0-py3-none-any.whl")
        assert (await there.fetch(file))[0] in {404, 410, 503}


async def test_the_first_root_that_has_a_name_gives_it(serve: Serve, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    async with directory(serve, tmp_path / "packages", str(second)) as there:
        ours, theirs = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"more.py": b""})
        (second / theirs.filename).write_bytes(theirs.data)
        (second / "demo-2.0-py3-none-any.whl").write_bytes(build_wheel("demo", "2.0").data)
        assert (await there.page())[theirs.filename]["hashes"] == {"sha256": theirs.sha256}
        there.drop(ours)
        page = await there.page()
        assert page[ours.filename]["hashes"] == {"sha256": ours.sha256}
        assert set(page) == {ours.filename, "demo-2.0-py3-none-any.whl"}
        assert (await there.upload(build_wheel("demo", "3.0")))[0] == 200
        assert (there.root / "demo-3.0-py3-none-any.whl").is_file()


@pytest.mark.parametrize(
    "roots", ["/", "relative", "/srv/../", "s3://key:secret@bucket/x", "https://pypi.org/simple", "", "a::b", "/a\0b"]
)
async def test_roots_that_are_refused(roots: str, serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        with pytest.raises(Refused):
            await there.served.engine.indexes.create("root/more", {"type": "directory", "roots": roots}, principal=ROOT)


async def test_only_root_shows_directories(serve: Serve, tmp_path: Path) -> None:
    async with directory(serve, tmp_path / "packages") as there:
        await there.served.user("ann")
        engine: Engine = there.served.engine
        options = {"type": "directory", "roots": str(there.root)}
        for principal in (Principal(name="ann"), ROOT):
            with pytest.raises(Refused, match="only indexes of the user root"):
                await engine.indexes.create("ann/wheels", options, principal=principal)


async def test_two_servers_on_one_directory(serve: Serve, tmp_path: Path) -> None:
    """One database, one directory: both show the same, whichever of them took an upload."""
    stores = {"data": tmp_path / "data", "store": "", "blobs": ""}
    async with directory(serve, tmp_path / "packages", **stores) as one, directory(serve, one.root, **stores) as two:
        wheels = [build_wheel("demo", f"1.{number}") for number in range(8)]
        for number, built in enumerate(wheels):
            if number % 2:
                assert (await (one, two)[number // 2 % 2].upload(built))[0] == 200
            else:
                one.drop(built)
            pages = await asyncio.gather(one.page(), two.page())
            expected = {each.filename: {"sha256": each.sha256} for each in wheels[: number + 1]}
            for page in pages:
                assert {name: file["hashes"] for name, file in page.items()} == expected
        for there in (one, two):
            for built in wheels:
                assert await there.fetch((await there.page())[built.filename]) == (200, built.data)


@pytest.mark.parametrize("left", [[], ["2.0"]], ids=["the last file", "one of two"])
async def test_another_server_finds_a_file_gone_before_its_deletion_is_committed(
    left: list[str], serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = {"data": tmp_path / "data", "store": "", "blobs": "", "index": {"volatile": True}}
    async with directory(serve, tmp_path / "packages", **stores) as one, directory(serve, one.root, **stores) as two:

        async def found_gone(workers: Executor, target: Path) -> LocalMove:
            moved = await hide_file(workers, target)
            assert target.name not in await two.page()
            return moved

        for path in ("root/wheels/demo/1.0", ""):
            kept = [build_wheel("demo", version) for version in left]
            built = build_wheel("demo", "1.0")
            for each in (built, *kept):
                one.drop(each)
            url = (await one.page())[built.filename]["url"].removeprefix("../../../../")
            with monkeypatch.context() as patched:
                patched.setattr(local_root, "hide_file", found_gone)
                assert await one.delete(f"/{path or url}") in {200, 201}
            for there in (one, two):
                assert list(await there.page()) == [each.filename for each in kept]
            assert one.lying == [each.filename for each in kept]
