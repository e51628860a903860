"""`GET /{user}/{index}/{project}` of a project whose descriptions are long: the same document as ever, sent as it is read."""

from __future__ import annotations

import asyncio
import json
import select
import socket
from typing import Any

import pytest

from pkgindex_core.changes import PutFile, PutRelease
from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import File, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_http.wire import sending
from tests.http.conftest import HOSTED, Serve, Served

JSON = {"Accept": "application/json", "User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)"}
DEMO = ProjectName("demo")
VERSIONS = [f"1.{number}" for number in range(40)]


async def publish(served: Served, index: IndexName, *versions: str, words: int = 1000) -> None:
    for version in versions:
        digest = sha256_of(f"{index} {version}".encode())
        file = File(filename=f"demo-{version}.tar.gz", version=version, digests={"sha256": digest}, size=1)
        said = encode_metadata({"name": "demo", "version": version, "description": f"{index} {version} " * words})
        release = Release(version=version, metadata=said)
        await served.engine.store.apply([PutFile(index, DEMO, file), PutRelease(index, DEMO, release)], who="[test]")


async def told(served: Served, path: str) -> Any:
    async with served.get(path, headers=JSON) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.headers["X-Devpi-Api-Version"] == "2"
        assert answer.headers["Cache-Control"] == "no-store"
        return json.loads(await answer.read()), answer.headers.get("Transfer-Encoding")


async def test_a_large_document_is_streamed_and_says_of_each_version_what_the_small_one_says(serve: Serve) -> None:
    async with serve() as served:
        top = await served.index("root/top", bases=(HOSTED,))
        await publish(served, HOSTED, *VERSIONS)
        await publish(served, top, *VERSIONS[:5])
        whole, coding = await told(served, "/root/top/demo")
        assert (coding, whole["type"], list(whole["result"])) == ("chunked", "projectconfig", VERSIONS)
        for version, entry in whole["result"].items():
            small, coding = await told(served, f"/root/top/demo/{version}")
            assert (small["result"], coding) == (entry, None)
            assert ("+shadowing" in entry) == (version in VERSIONS[:5])
            assert len(entry["+links"]) == 1
        alone, coding = await told(served, "/root/top/demo?ignore_bases=")
        assert (coding, list(alone["result"])) == ("chunked", VERSIONS[:5])


async def test_what_is_asked_of_a_large_document_without_its_body(serve: Serve) -> None:
    async with serve() as served:
        await publish(served, HOSTED, *VERSIONS)
        async with served.request("HEAD", "/root/dev/demo", headers=JSON) as answer:
            assert (answer.status, answer.headers["X-Devpi-Api-Version"]) == (200, "2")
            assert await answer.read() == b""


async def test_who_reads_nothing_for_long_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "STALL_SECONDS", 0.2)
    async with serve() as served:
        await publish(served, HOSTED, *VERSIONS, words=40_000)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, served.address)
            client.send(b"GET /root/dev/demo HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
            end = select.poll()
            end.register(client, 0)  # only of errors
            assert await asyncio.to_thread(end.poll, 20_000), "the connection is held for ever"
