"""Repeated answers with files, sidecars and heads of files: what is not parsed again, what ends that, and that each is counted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import DropFile, PutFile, PutIndex, PutProject, YankFile
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.talks import without_times
from tests.http.test_replays import Pair, get

DEMO = ProjectName("demo")
WHEEL = build_wheel("demo", "1.0")
DISK = ""
"""The value of `blobs` for the data directory."""


def path_of(file: File, index: IndexName = HOSTED) -> str:
    digest = file.sha256 or ""
    return f"/{index}/+f/{digest[:3]}/{digest[3:16]}/{file.filename}"


def body(said: bytes) -> bytes:
    return said.partition(b"\r\n\r\n")[2]


async def metrics(served: Served) -> dict[str, float]:
    """The counts of files, as an anonymous reader of open metrics gets them."""
    async with served.get("/+metrics") as answer:
        text = await answer.text()
    lines = re.findall(r'^(pkgindex_file[^ ]*\{index="root/dev"[^ ]*) (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("suffix", ["", ".metadata"])
@pytest.mark.parametrize("accept", ["", "*/*", "text/html"])
async def test_the_third_equal_request_is_not_parsed(serve: Serve, suffix: str, accept: str) -> None:
    async with serve(blobs=DISK) as served:
        path = path_of(await served.put(WHEEL)) + suffix
        pair, headers = Pair(served.server), {"Accept": accept} if accept else {}
        etag = re.findall(r"ETag: (\S+)", (await pair.talk.say(get(path))).decode("latin-1"))[0]
        for request in (
            get(path, User_Agent="x", **headers),
            get(path, method="HEAD", **headers),
            get(path, If_None_Match=etag, **headers),
        ):
            first, second, third = [await pair.asked(request) for _ in range(3)]
            assert (first[1], second[1], third[1]) == (False, False, True)
            assert without_times(first[0]) == without_times(third[0])
        whole = (await pair.asked(get(path, User_Agent="x", **headers)))[0]
        assert body(whole) == (WHEEL.metadata if suffix else WHEEL.data)


async def test_of_a_large_file_only_the_head_is_kept(serve: Serve) -> None:
    async with serve(blobs=DISK) as served:
        large = build_wheel("demo", "1.0", files={"noise.bin": bytes(range(256)) * 400}, stored=True)
        path = path_of(await served.put(large))
        pair = Pair(served.server)
        for _ in range(4):
            assert not (await pair.asked(get(path)))[1]
        head = await pair.kept(get(path, method="HEAD"))
        assert b"Content-Length: %d\r\n" % large.size in head
        assert not body(head)
        replays = served.server.replays
        assert replays is not None
        assert replays.size < large.size


async def test_a_part_is_not_kept(serve: Serve) -> None:
    async with serve(blobs=DISK) as served:
        pair, request = Pair(served.server), get(path_of(await served.put(WHEEL)), Range="bytes=0-9")
        for _ in range(4):
            said, repeated = await pair.asked(request)
            assert said.startswith(b"HTTP/1.1 206 ")
            assert not repeated


async def test_damaged_bytes_are_not_kept(serve: Serve) -> None:
    """What is kept is compared with the digest: a file that is mended later is right at once."""
    async with serve(blobs=DISK) as served:
        file = await served.put(WHEEL)
        place = await served.engine.blobs.locate(file.sha256, filename=file.filename)
        assert isinstance(place, Path)
        place.chmod(0o600)
        place.write_bytes(b"x" * WHEEL.size)
        pair, request = Pair(served.server), get(path_of(file))
        for _ in range(4):
            assert not (await pair.asked(request))[1]
        place.write_bytes(WHEEL.data)
        assert body(await pair.kept(request)) == WHEEL.data


@pytest.mark.parametrize("what", ["deleted", "replaced", "quarantined", "private", "yanked"])
@pytest.mark.parametrize("suffix", ["", ".metadata"])
@pytest.mark.parametrize("is_known", [False, True], ids=["", "another request has learned of it"])
async def test_a_change_ends_the_kept_answer(serve: Serve, what: str, suffix: str, is_known: bool) -> None:
    async with serve(blobs=DISK) as served:
        file = await served.put(WHEEL)
        pair, request = Pair(served.server), get(path_of(file) + suffix)
        await pair.kept(request)
        config = (await served.engine.store.tree()).indexes[HOSTED]
        change, status = {
            "deleted": (DropFile(HOSTED, DEMO, file.filename), b"410"),
            "replaced": (PutFile(HOSTED, DEMO, replace(file, digests={"sha256": "0" * 64})), b"410"),
            "quarantined": (PutProject(HOSTED, DEMO, PageHead(status="quarantined")), b"404"),
            "private": (PutIndex(replace(config, acl_read=("anna",))), b"401"),
            "yanked": (YankFile(HOSTED, DEMO, file.filename, "broken"), b"200"),
        }[what]
        await served.engine.store.apply([change], who="[test]")
        if is_known:
            await served.engine.currency.catch_up()
        said, repeated = await pair.asked(request)
        assert not repeated
        assert said.startswith(b"HTTP/1.1 " + status)


async def test_each_repetition_is_counted(serve: Serve) -> None:
    async with serve(blobs=DISK, open_metrics=True) as served:
        path = path_of(await served.put(WHEEL))
        pair = Pair(served.server)
        etag = re.findall(r"ETag: (\S+)", (await pair.talk.say(get(path))).decode("latin-1"))[0]
        for request in (
            get(path),
            get(path, method="HEAD"),
            get(path, If_None_Match=etag),
            get(f"{path}.metadata"),
        ):
            while not (await pair.asked(request))[1]:
                pass
            pending = served.engine.activity._pending
            before, downloads = await metrics(served), pending[HOSTED, DEMO].downloads
            plain = request.replace(b"localhost", b"other")  # the same question, which is parsed
            await pair.talk.say(plain)
            between, then = await metrics(served), pending[HOSTED, DEMO].downloads
            assert (await pair.asked(request))[1]
            after, now = await metrics(served), pending[HOSTED, DEMO].downloads
            changed = {name: between[name] - before[name] for name in between}
            assert any(changed.values())
            assert {name: after[name] - between[name] for name in after} == changed
            assert now - then == then - downloads == (request == get(path))


async def test_a_file_that_comes_back_is_given_again(serve: Serve) -> None:
    async with serve(blobs=DISK) as served:
        file = await served.put(WHEEL)
        pair, request = Pair(served.server), get(path_of(file))
        await pair.kept(request)
        await served.engine.store.apply([DropFile(HOSTED, DEMO, file.filename)], who="[test]")
        for _ in range(3):
            said, repeated = await pair.asked(request)
            assert said.startswith(b"HTTP/1.1 410 ")
            assert not repeated
        await served.engine.store.apply([PutFile(HOSTED, DEMO, file)], who="[test]")
        assert body((await pair.asked(request))[0]) == WHEEL.data
        assert body(await Pair(served.server).kept(request)) == WHEEL.data


@pytest.mark.parametrize("audited", [False, True])
async def test_a_read_that_is_recorded_is_not_repeated(serve: Serve, tmp_path: Path, audited: bool) -> None:
    async with serve(blobs=DISK, audit_reads=audited) as served:
        index = await served.index("root/private", acl_read=("anna",))
        await served.user("anna")
        request = get(path_of(await served.put(WHEEL, index=index), index), **basic("anna"))
        pair = Pair(served.server)
        said = [await pair.asked(request) for _ in range(4)]
        assert {body(each) for each, _ in said} == {WHEEL.data}
        assert any(repeated for _, repeated in said) is not audited
    if audited:
        (log,) = (tmp_path / "data" / "audit").iterdir()
        assert len(log.read_text().splitlines()) == len(said)


async def test_a_repetition_is_a_use_of_a_mirrored_file(serve: Serve) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", WHEEL)
        path = f"/root/pypi/+f/{WHEEL.sha256[:3]}/{WHEEL.sha256[3:16]}/{WHEEL.filename}"
        async with serve(blobs=DISK, mirrors=True, upstream=upstream.url) as served:
            pair = Pair(served.server)
            async with asyncio.timeout(10):
                while not (await pair.asked(get(path)))[1]:
                    await served.engine.settle()
            used: list[str] = []
            stays = True

            def use(key: str) -> bool:
                used.append(key)
                return stays

            served.engine.context.blob_store.watch(use)
            assert (await pair.asked(get(path)))[1]
            assert used == [WHEEL.sha256]
            stays = False  # it is being evicted: the plain way fetches it again
            assert not (await pair.asked(get(path)))[1]
