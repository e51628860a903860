"""pip and uv install from a server whose cache is smaller than what they want: what was evicted is fetched again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_mirror.caching.notes import FILE, CacheNotes
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.object_stores import ObjectStore, seaweedfs

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

BOUND = 100_000
"""Bytes. Has room for one of packaging and idna, and not for setuptools."""


def local(_: Path) -> None:
    return None


@pytest.mark.parametrize("start", [local, seaweedfs])
async def test_a_file_that_was_evicted_is_fetched_again(
    start: Callable[[Path], ObjectStore | None], upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    store = await asyncio.to_thread(start, tmp_path / "store")
    if store is None and start is not local:
        pytest.skip("the server is not installed")
    words = ("--blobs", f"{store.url}/evicting") if store is not None else ()
    variables = (
        {**store.environment, "PKGINDEX_PLUGINS__FSSPEC__STORAGE_OPTIONS": store.options} if store is not None else {}
    )
    server = ServerProcess(
        tmp_path / "data", upstream.url, *words, **variables, PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE=f'"{BOUND} B"'
    )
    try:
        await server.start()
        for client in installers.names:
            for wanted in ("packaging", "six", "idna", "setuptools"):
                ran, found = await installers.install(client, f"{server.url}/simple/", wanted)
                assert len(found) == 1, ran.output + server.log
        assert await server.stop() == 0
        fetched = Counter(asked.path.rpartition("/")[2].partition("-")[0] for asked in upstream.asked)
        assert fetched["packaging"] >= len(installers.names)
        ledger, records = await account(server.data)
        assert ledger == sum(records)
        assert ledger <= BOUND
        if store is None:
            paths = (server.data / "blobs" / "mirrored" / "sha256").glob("*/*")
            assert sorted(path.stat().st_size for path in paths) == sorted(records)
    finally:
        await server.kill()
        if store is not None:
            store.kill()


async def account(data: Path) -> tuple[int, list[int]]:
    """The bytes that are counted, and the sizes of the files that are recorded."""
    store = await SqliteIndex.open(data / "index.sqlite", SystemClock())
    try:
        notes = CacheNotes(store)
        found = await notes.ledger()
        assert found is not None
        keys = [note.key async for batch in store.notes(FILE) for note in batch]
        records = [await notes.record(key) for key in keys]  # type: ignore[arg-type]  # keys are digests
        return found[0].kept, [record[0].size for record in records if record is not None]
    finally:
        await store.close()
