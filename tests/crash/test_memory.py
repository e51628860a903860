"""What size costs: a very large wheel goes in and out through a server that stays small; a crowd at one cold file costs one fetch.

The wheel is made while it is sent and checked while it is received, so that nothing but the server under test could hold it. Its
size is `PKGINDEX_TEST_LARGE_MIB` (256 unless told, see tests/README.md); memory is the most that the server's process ever had.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import shutil
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel, core_metadata
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import JSON, MIRROR, ROOT, file_path, prepare_data
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.http.forms import BOUNDARY, CONTENT_TYPE
from tests.http.wire import read_answer

Tally = Callable[[str, int], None]

MIB = 1 << 20
LARGE_MIB = int(os.environ.get("PKGINDEX_TEST_LARGE_MIB", "256"))
MOST_MIB = 200
"""What a server may ever have in memory."""
MEMBERS = 8
BLOCK = random.Random(0).randbytes(MIB)


class LargeWheel:
    """A wheel of `MEMBERS` equal, stored members, which exists nowhere as a whole."""

    filename = "large-1.0-py3-none-any.whl"

    def __init__(self, size: int) -> None:
        self._blocks = size // MEMBERS // MIB
        crc, digest = 0, hashlib.sha256()
        for _ in range(self._blocks):
            crc = zlib.crc32(BLOCK, crc)
            digest.update(BLOCK)
        self._of_block = (crc, self._blocks * MIB, base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode())
        whole, self.size = hashlib.sha256(), 0
        for data in self.chunks():
            whole.update(data)
            self.size += len(data)
        self.sha256 = whole.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the file, in order."""
        entries: list[tuple[str, int, int, bytes | None]] = []
        crc, size, digest = self._of_block
        entries += [(f"large/{number}.bin", crc, size, None) for number in range(MEMBERS)]
        record = [f"{name},sha256={digest},{size}" for name, *_ in entries]
        texts = {
            "METADATA": core_metadata("large", "1.0"),
            "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for name, text in texts.items():
            hashed = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
            record.append(f"large-1.0.dist-info/{name},sha256={hashed},{len(text)}")
        texts["RECORD"] = "\n".join([*record, "large-1.0.dist-info/RECORD,,", ""]).encode()
        entries += [(f"large-1.0.dist-info/{name}", zlib.crc32(text), len(text), text) for name, text in texts.items()]
        offset, directory = 0, b""
        for name, crc, size, text in entries:
            fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, crc, size, size, len(name), 0)
            directory += b"PK\x01\x02" + struct.pack("<H", 0x0314) + fields
            directory += struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, offset) + name.encode()
            head = b"PK\x03\x04" + fields + name.encode()
            yield head
            if text is None:
                for _ in range(self._blocks):
                    yield BLOCK
            else:
                yield text
            offset += len(head) + size
        count = len(entries)
        yield directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), offset, 0)


@pytest.mark.timeout(120 + LARGE_MIB)
async def test_a_large_wheel_in_and_out(starter: Starter, tmp_path: Path, tally: Tally) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, to see how much memory a process had")
    wheel = LargeWheel(LARGE_MIB * MIB)
    data = tmp_path / "data"
    await prepare_data(data)
    server = ServerProcess(starter, data)
    try:
        # A process of its own from the start: a fork would begin with the memory of what it was forked from.
        await server.start(cold=True)
        small = most_memory(server.pid)
        begun = time.monotonic()
        await upload_large(server, wheel)
        uploaded = time.monotonic()
        after_upload = most_memory(server.pid)
        await download_large(server, wheel)
        downloaded = time.monotonic()
        after_download = most_memory(server.pid)
        print(
            f"{wheel.size / MIB:.0f} MiB: up in {uploaded - begun:.1f} s, down in {downloaded - uploaded:.1f} s;"
            f" memory {small} MiB idle, {after_upload} MiB after the upload, {after_download} MiB after the download",
            file=sys.stderr,
        )
        assert after_download < MOST_MIB
    finally:
        await server.kill()
        shutil.rmtree(data)
    tally("MiB through a server, each way", LARGE_MIB)
    tally("MiB of memory a server had at most (largest file)", after_download)


async def upload_large(server: ServerProcess, wheel: LargeWheel) -> None:
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": "large",
        "version": "1.0",
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": wheel.sha256,
    }
    lines = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (BOUNDARY, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    disposition = f'form-data; name="content"; filename="{wheel.filename}"'.encode()
    before = b"".join([*lines, b"--%s\r\nContent-Disposition: %s\r\n\r\n" % (BOUNDARY, disposition)])
    behind = b"\r\n--%s--\r\n" % BOUNDARY
    head = [
        b"POST /legacy/ HTTP/1.1",
        b"Host: localhost",
        b"Authorization: " + ROOT["Authorization"].encode(),
        b"Content-Type: " + CONTENT_TYPE,
        b"Content-Length: %d" % (len(before) + wheel.size + len(behind)),
    ]
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"\r\n".join([*head, b"", before]))
    for data in wheel.chunks():
        writer.write(data)
        await writer.drain()
    writer.write(behind)
    answer = await read_answer(reader)
    writer.close()
    assert answer.status == 200, answer.body


async def download_large(server: ServerProcess, wheel: LargeWheel) -> None:
    page = await ask(server.address, "/simple/large/", **JSON)
    assert wheel.sha256.encode() in page.body
    path = f"/root/dev/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
    reader, writer = await asyncio.open_connection(*server.address, limit=MIB)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"\r\nContent-Length: {wheel.size}\r\n".encode() in head
    digest, left = hashlib.sha256(), wheel.size
    while left:
        data = await reader.read(min(left, MIB))
        assert data, f"{left} bytes are missing"
        digest.update(data)
        left -= len(data)
    assert digest.hexdigest() == wheel.sha256
    writer.close()


def most_memory(pid: int) -> int:
    """The most memory that a process ever had, in MiB."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        yield fake


@pytest.mark.timeout(120 + LARGE_MIB)
@pytest.mark.parametrize("servers", [1, 2])
async def test_fifty_clients_at_one_cold_file_are_one_fetch(
    servers: int, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    """Of one server, or of two over one data directory. Memory is bounded, and a client that reads byte by byte harms nobody."""
    contents = {f"cold-{number}.bin": BLOCK for number in range(max(LARGE_MIB // 16, 5))}
    built = build_wheel("cold", "1.0", files=contents, stored=True)
    upstream.add("cold", built)
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    first, last = ServerProcess(starter, data), ServerProcess(starter, data)
    async with running(first), running(last), asyncio.timeout(PATIENCE_SECONDS + LARGE_MIB):
        asked = [first, last][:servers] * (50 // servers)
        for server in asked[:servers]:
            assert (await ask(server.address, "/root/pypi/+simple/cold/")).is_whole
        slow = [asyncio.ensure_future(read_bytewise(server, file_path(built, MIRROR))) for server in asked[:servers]]
        digests = await asyncio.gather(*(digest_of(server, file_path(built, MIRROR)) for server in asked))
        assert set(digests) == {built.sha256}
        assert not any(each.done() for each in slow)
        for each in slow:
            each.cancel()
        await asyncio.wait(slow)
        assert upstream.count("page") <= servers
        assert upstream.count("file") == 1
        assert max(most_memory(server.pid) for server in asked[:servers]) <= MOST_MIB
    tally("clients at one cold file", len(asked))


async def digest_of(server: ServerProcess, path: str) -> str:
    """GET a file without holding it; the sha256 of what came."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    digest = hashlib.sha256()
    while piece := await reader.read(MIB):
        digest.update(piece)
    writer.close()
    return digest.hexdigest()


async def read_bytewise(server: ServerProcess, path: str) -> None:
    """GET a file and read a byte now and then."""
    reader, writer = await asyncio.open_connection(*server.address, limit=1)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        while await reader.read(1):
            await asyncio.sleep(0.2)
    finally:
        writer.close()
