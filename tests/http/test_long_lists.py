"""Long lists over HTTP: the body is sent from the file that processes share."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from pkgindex_core.changes import MirrorNames
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_http.wire import replies
from tests.http.conftest import Serve

NAMES = sorted(hashlib.sha256(b"%d" % number).hexdigest()[:40] for number in range(20_000))
MIRROR = IndexName("root/far")
LIST = f"/{MIRROR}/+simple/"


async def test_a_long_list_is_sent_from_its_file(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = {"store": f"sqlite://{tmp_path}/index.sqlite", "blobs": f"file://{tmp_path}/blobs"}
    written = []
    write = replies.write_whole

    def seen(transport: object, head: bytes, body: bytes | memoryview) -> None:
        written.append((type(body), len(body)))
        write(transport, head, body)  # type: ignore[arg-type]  # whatever it was called with

    monkeypatch.setattr(replies, "write_whole", seen)
    bodies = []
    async with serve(**stores) as served:
        await served.index(MIRROR, type="mirror", mirror_url="http://127.0.0.1:9/")
        put = tuple((ProjectName(name), name) for name in NAMES)
        await served.engine.store.apply([MirrorNames(MIRROR, put=put)], who="[test]")
        for _ in range(2):
            async with served.get(LIST, headers={"Accept": JSON_V1, "Accept-Encoding": "gzip"}) as answer:
                bodies.append(await answer.read())
                assert answer.headers["Content-Encoding"] == "gzip"
        assert [project["name"] for project in json.loads(gzip.decompress(bodies[0]))["projects"]] == NAMES
        async with served.request("HEAD", LIST, headers={"Accept": JSON_V1, "Accept-Encoding": "gzip"}) as head:
            assert (head.headers["Content-Length"], await head.read()) == (str(len(bodies[0])), b"")
        async with served.get(LIST, headers={"Accept": JSON_V1}) as answer:
            assert await answer.read() == gzip.decompress(bodies[0])
        assert served.engine.listings.long_lists.kept.size == len(bodies[0])
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) > replies._COPIED_BYTES
    assert [kind for kind, size in written if size == len(bodies[0])] == [memoryview, memoryview]
