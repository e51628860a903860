"""`/+ready` tells apart what can be read and what can be written, for the whole and for each store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pkgindex_core.errors import StorageFull, Unavailable
from tests.http.conftest import Serve, Served


async def ready(served: Served, wanted: str = "") -> tuple[int, dict[str, Any]]:
    async with served.get(f"/+ready{wanted}") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.json()


async def fails(*_arguments: Any, **_options: Any) -> Any:
    raise Unavailable("a test says so")


async def is_full(*_arguments: Any, **_options: Any) -> Any:
    raise StorageFull("a test says so")


async def hangs(*_arguments: Any, **_options: Any) -> Any:
    await asyncio.Event().wait()


async def breaks_off(*_arguments: Any, **_options: Any) -> AsyncIterator[bytes]:
    raise Unavailable("a test says so")
    yield b""


GOOD = {"read": True, "write": True}
UNWRITABLE = {"read": True, "write": False}
UNREADABLE = {"read": False, "write": True}


@pytest.mark.parametrize(
    ("store", "method", "failure", "index_store", "blob_store"),
    [
        pytest.param("store", "head", fails, UNREADABLE, GOOD, id="the index store does not answer"),
        pytest.param("store", "head", hangs, UNREADABLE, GOOD, id="the index store is silent"),
        pytest.param("store", "put_note", is_full, UNWRITABLE, GOOD, id="the index store has no room"),
        pytest.param("store", "put_note", hangs, UNWRITABLE, GOOD, id="the index store hangs at a write"),
        pytest.param("blobs", "read", breaks_off, GOOD, UNREADABLE, id="the blob store cannot be read"),
        pytest.param("blobs", "put", is_full, GOOD, UNWRITABLE, id="the blob store has no room"),
        pytest.param("blobs", "put", hangs, GOOD, UNWRITABLE, id="the blob store hangs at a write"),
    ],
)
async def test_reading_and_writing_are_told_apart(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    method: str,
    failure: Any,
    index_store: dict[str, bool],
    blob_store: dict[str, bool],
) -> None:
    async with serve() as served:
        whole = {"ready": True, "read": True, "write": True, "stopping": False, "index_store": GOOD, "blob_store": GOOD}
        assert await ready(served) == (200, whole)
        with monkeypatch.context() as broken:
            broken.setattr(getattr(served.engine, store), method, failure)
            served.server.readiness.forget()
            reads = index_store["read"] and blob_store["read"]
            parts = {
                "read": reads,
                "write": False,
                "stopping": False,
                "index_store": index_store,
                "blob_store": blob_store,
            }
            assert await ready(served) == (503, {"ready": False, **parts})
            assert await ready(served, "?for=write") == (503, {"ready": False, **parts})
            assert await ready(served, "?for=read") == (200 if reads else 503, {"ready": reads, **parts})
        if failure is not hangs:
            served.server.readiness.forget()
            assert await ready(served) == (200, whole)


async def test_a_server_that_stops_is_ready_for_nothing(serve: Serve) -> None:
    async with serve() as served:
        served.server.readiness.stopping = True
        for wanted in ("", "?for=read", "?for=write"):
            status, document = await ready(served, wanted)
            assert (status, document["ready"], document["stopping"]) == (503, False, True)


async def test_everybody_who_asks_at_once_shares_the_writes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        counted = 0
        put = served.engine.blobs.put

        async def counting(data: bytes) -> Any:
            nonlocal counted
            counted += 1
            return await put(data)

        monkeypatch.setattr(served.engine.blobs, "put", counting)
        assert {status for status, _ in await asyncio.gather(*(ready(served) for _ in range(20)))} == {200}
        assert counted == 1


async def test_an_unknown_purpose_is_an_error(serve: Serve) -> None:
    async with serve() as served, served.get("/+ready?for=everything") as answer:
        assert answer.status == 400
        assert "write read or write" in await answer.text()
