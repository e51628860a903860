"""`GET /{user}/{index}/{project}` of a project whose descriptions are long: the same document as ever, sent as it is read."""

from __future__ import annotations

import json
from typing import Any

from pkgindex_core.changes import PutFile, PutRelease
from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import File, Release
from pkgindex_core.names import IndexName, ProjectName
from tests.http.conftest import HOSTED, Serve, Served

JSON = {"Accept": "application/json", "User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)"}
DEMO = ProjectName("demo")
VERSIONS = [f"1.{number}" for number in range(40)]


async def publish(served: Served, index: IndexName, *versions: str) -> None:
    for version in versions:
        digest = sha256_of(f"{index} {version}".encode())
        file = File(filename=f"demo-{version}.tar.gz", version=version, digests={"sha256": digest}, size=1)
        said = encode_metadata({"name": "demo", "version": version, "description": f"{index} {version} " * 1000})
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
