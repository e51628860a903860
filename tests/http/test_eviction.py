"""A server whose mirrored files have a bound: clients get every file all the same, and only files that can be fetched again ever go."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.services.administering.verified_record import open_record
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http import plugin
from pkgindex_mirror.caching.notes import FILE, CacheNotes
from pkgindex_mirror.readthrough import measuring
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.settings import read_settings
from pkgindex_mirror.testing import ScriptedUpstream

from .conftest import HOSTED, MIRROR, Serve, Served
from .forms import CONTENT_TYPE, encode_form, upload_parts

MB = 1_000_000
WHEELS = [
    build_wheel("demo", f"{number}.0", files={"demo.bin": random.Random(number).randbytes(MB)}) for number in range(40)
]
LARGE = build_wheel("large", "1.0", files={"large.bin": random.Random(99).randbytes(7 * MB)})
BOUND = 10 * MB


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        for wheel in WHEELS:
            fake.add("demo", wheel)
        fake.add("large", LARGE)
        yield fake


def bounded(upstream: ScriptedUpstream, size: int | str = BOUND, **others: Any) -> dict[str, Any]:
    """The settings of a server on disk with a bound."""
    plugins = load_plugins(program=plugin, settings={"mirror": {"cache_size": size, **others}})
    return {"store": "", "blobs": "", "mirrors": True, "upstream": upstream.url, "plugins": plugins}


def place(wheel: BuiltFile, index: IndexName = MIRROR) -> str:
    return f"/{index}/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"


def stored(served: Served) -> dict[str, int]:
    found = {}
    for path in Path(served.engine.settings.data).glob("blobs/mirrored/sha256/*/*"):
        try:
            found[path.name] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def source_of(served: Served) -> ReadThrough:
    source = served.engine._offered.sources["mirror"]
    assert isinstance(source, ReadThrough)
    return source


async def fetch(served: Served, wheel: BuiltFile, index: IndexName = MIRROR) -> None:
    async with served.get(place(wheel, index)) as answer:
        assert (answer.status, await answer.read() == wheel.data) == (200, True)


async def pusher(served: Served, *indexes: IndexName) -> dict[str, str]:
    """A user who may publish to these indexes."""
    await served.engine.store.apply(
        [PutIndex(IndexConfig(name=name, acl_upload=("alice",))) for name in indexes], who="[test]"
    )
    return await served.user("alice")


async def kept(served: Served, wheel: BuiltFile) -> None:
    """Wait until a file that was fetched is counted."""
    while await CacheNotes(served.engine.store).record(wheel.sha256) is None:
        await asyncio.sleep(0.01)
    while (await account(served)).arriving:
        await asyncio.sleep(0.01)


async def account(served: Served) -> Any:
    found = await CacheNotes(served.engine.store).ledger()
    assert found is not None
    return found[0]


async def check_account(served: Served) -> None:
    """Tend the cache as a server does now and then, and compare the account with the disk."""
    while (await account(served)).arriving:
        await asyncio.sleep(0.01)
    await source_of(served).cache.tend()
    on_disk = stored(served)
    ledger = await account(served)
    assert (ledger.kept, ledger.leaving) == (sum(on_disk.values()), {})
    assert ledger.kept <= BOUND
    records = [note.key async for batch in served.engine.store.notes(FILE) for note in batch]
    assert sorted(records) == sorted(on_disk)


class SlowReader:
    """A client that takes a byte now and then, with hardly any buffer of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
        self.body = bytearray()
        self._reader = reader
        self._writer = writer
        self._length = length

    @classmethod
    async def open(cls, served: Served, wheel: BuiltFile) -> SlowReader:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, served.address)
        reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
        writer.write(f"GET {place(wheel)} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        return cls(reader, writer, len(wheel.data))

    async def byte(self) -> None:
        self.body += await self._reader.readexactly(1)

    async def rest(self) -> bytes:
        self.body += await self._reader.readexactly(self._length - len(self.body))
        self._writer.close()
        return bytes(self.body)


async def test_the_bound_holds_under_twenty_times_as_much(serve: Serve, upstream: ScriptedUpstream) -> None:
    """Four clients fetch 200 MB in random order, and one reads slowly. The disk never has more than the bound and what is being read."""
    reading: Counter[str] = Counter()
    most = 0

    async def beyond(served: Served) -> int:
        """The bytes on the disk that neither the bound nor a reader accounts for, nor an arrival."""
        nonlocal most
        arriving = {arrival.sha256 for arrival in (await account(served)).arriving.values()}
        on_disk = stored(served)
        most = max(most, sum(on_disk.values()))
        return sum(size for key, size in on_disk.items() if not reading[key] and key not in arriving) - BOUND

    async with serve(**bounded(upstream)) as served:
        async with served.get(f"/{MIRROR}/+simple/demo/"), served.get(f"/{MIRROR}/+simple/large/"):
            pass
        slow = await SlowReader.open(served, LARGE)
        reading[LARGE.sha256] += 1
        await slow.byte()

        async def client(number: int) -> None:
            chosen = random.Random(number)
            for _ in range(50):
                wheel = chosen.choice(WHEELS)
                reading[wheel.sha256] += 1
                await fetch(served, wheel)
                reading[wheel.sha256] -= 1
                await slow.byte()
                assert await beyond(served) <= 0

        await asyncio.gather(*(client(number) for number in range(4)))
        assert LARGE.sha256 in stored(served)
        assert sha256_of(await slow.rest()) == LARGE.sha256
        await check_account(served)
        assert upstream.count("file") > 100  # files were removed and fetched again
        assert most > BOUND // 2


async def test_a_remembered_path_is_no_answer_for_a_file_that_was_removed(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    async with serve(**bounded(upstream)) as served:
        async with served.get(f"/{MIRROR}/+simple/demo/"):
            pass
        for _ in range(2):
            await fetch(served, WHEELS[0])
            await kept(served, WHEELS[0])
        assert upstream.count("file") == 1
        for wheel in WHEELS[1:15]:
            await fetch(served, wheel)
            await kept(served, wheel)
        assert WHEELS[0].sha256 not in stored(served)
        await fetch(served, WHEELS[0])
        assert upstream.count("file") == 16
        async with served.get(f"{place(WHEELS[0])}.metadata") as answer:
            assert await answer.read() == WHEELS[0].metadata


async def test_a_hosted_file_with_the_same_bytes_is_never_removed(serve: Serve, upstream: ScriptedUpstream) -> None:
    """Uploaded before or after the mirror had it, or pushed from the mirror."""
    before, after, pushed = WHEELS[0], WHEELS[1], WHEELS[2]
    target = IndexName("root/target")
    async with serve(**bounded(upstream)) as served:
        headers = await pusher(served, HOSTED, target)
        async with served.get(f"/{MIRROR}/+simple/demo/"):
            pass

        async def upload(wheel: BuiltFile) -> None:
            body = encode_form(upload_parts(wheel))
            form = {**headers, "Content-Type": CONTENT_TYPE.decode()}
            async with served.request("POST", f"/{HOSTED}/", data=body, headers=form) as answer:
                assert answer.status == 200, await answer.text()

        await upload(before)
        for wheel in (before, after, pushed):
            await fetch(served, wheel)
        await upload(after)
        wish = {"name": "demo", "version": "2.0", "targetindex": target}
        async with served.request("PUSH", f"/{MIRROR}", json=wish, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        for wheel in WHEELS[3:20]:
            await fetch(served, wheel)
            await kept(served, wheel)
        assert not {after.sha256, pushed.sha256} & stored(served).keys()
        await upstream.stop()
        await fetch(served, before, HOSTED)
        await fetch(served, after, HOSTED)
        await fetch(served, pushed, target)
        await check_account(served)


async def test_a_release_and_a_file_larger_than_the_cache_can_be_pushed(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    target = IndexName("root/target")
    wheels = [
        build_wheel("many", "1.0", build=f"{number}", files={"x": random.Random(number).randbytes(MB)})
        for number in range(6)
    ]
    for wheel in wheels:
        upstream.add("many", wheel)
    async with serve(**bounded(upstream, 2 * MB)) as served:
        headers = await pusher(served, target)
        wish = {"name": "many", "version": "1.0", "targetindex": target}
        async with served.request("PUSH", f"/{MIRROR}", json=wish, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        wish = {"name": "large", "version": "1.0", "targetindex": target}
        async with served.request("PUSH", f"/{MIRROR}", json=wish, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        await upstream.stop()
        for wheel in (*wheels, LARGE):
            await fetch(served, wheel, target)


async def test_an_evicted_file_is_no_damage(serve: Serve, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with serve(**bounded(upstream)) as served:
        async with served.get(f"/{MIRROR}/+simple/demo/"):
            pass
        for wheel in WHEELS[:15]:
            await fetch(served, wheel)
            await kept(served, wheel)

        async def pause(_: float) -> None: ...

        with open_record(tmp_path, anew=True) as record:
            found = await served.engine.verifying.verify(record, rate=0, pause=pause, progress=lambda *_: None)
        assert found.whole
        assert found.troubles == []
        assert found.unused == 0


@pytest.mark.parametrize(
    ("size", "expected"), [(1000, 1000), ("1000", 1000), ("20GiB", 20 << 30), ("1.5 MB", 1_500_000), (0, 0)]
)
def test_the_bound_is_a_number_of_bytes_or_has_a_unit(size: int | str, expected: int) -> None:
    assert read_settings({"cache_size": size}).cache_bytes == expected


@pytest.mark.parametrize("wrong", ["lots", "20 apples", -1, "-1GB", "20h"])
def test_another_bound_is_refused_with_an_example(wrong: int | str) -> None:
    with pytest.raises(Refused) as refused:
        read_settings({"cache_size": wrong})
    assert "cache_size" in str(refused.value)
    assert "20GiB" in (refused.value.hint or "")


def test_an_age_has_a_unit_too() -> None:
    assert read_settings({"cache_age": "30d"}).cache_seconds == 30 * 86_400


async def test_what_is_kept_and_what_was_removed_is_told(serve: Serve, upstream: ScriptedUpstream) -> None:
    async with serve(**bounded(upstream)) as served:
        for wheel in WHEELS[:15]:
            await fetch(served, wheel)
        await check_account(served)
        told = {each.meter: each.values.get(()) for each in await source_of(served).figures([])}
        on_disk = stored(served)
    fetched = sum(len(wheel.data) for wheel in WHEELS[:15])
    assert (told[measuring.CACHE], told[measuring.CACHE_LIMIT]) == (sum(on_disk.values()), BOUND)
    assert told[measuring.REMOVED] == 15 - len(on_disk) > 0
    assert told[measuring.REMOVED_BYTES] == fetched - sum(on_disk.values())
