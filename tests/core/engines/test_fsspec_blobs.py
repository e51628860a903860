"""What the fsspec store does with URLs and with the errors of file systems; the contract suite has the rest."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.fsspec import media
from pkgindex_core.engines.fsspec.blobs import FsspecBlobs
from pkgindex_core.engines.fsspec.opening import open_fsspec
from pkgindex_core.errors import Refused, StorageFull, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.testing.blob_store import collect, some_bytes
from tests.contracts.test_blob_stores import ObjectFiles


class FailingFiles(MemoryFileSystem):  # type: ignore[misc]  # fsspec ships no type information
    """Memory that fails in one method, once `error` is set."""

    protocol = "failing"
    store: dict[str, object] = {}  # noqa: RUF012 - fsspec's memory is shared by all instances as well
    pseudo_dirs: list[str] = [""]  # noqa: RUF012 - its directories are shared as well
    error: Exception | None = None
    method = ""

    def __getattribute__(self, name: str) -> object:
        error = type(self).error
        if error is None or name != type(self).method:
            return super().__getattribute__(name)

        def fail(*_: object, **__: object) -> None:
            raise error

        return fail


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    register_implementation("failing", FailingFiles, clobber=True)
    with ThreadPoolExecutor(2) as workers:
        yield Context(data=tmp_path, clock=SystemClock(), workers=workers)
    FailingFiles.error = None
    FailingFiles.store.clear()


@pytest.mark.parametrize(
    "url", ["file:///srv/blobs", "local:///srv/blobs", "simplecache::memory://x", "/srv/blobs", ""]
)
async def test_what_is_not_durable_or_no_url_is_refused(url: str, context: Context) -> None:
    with pytest.raises(Refused) as refusal:
        await open_fsspec(url, context)
    assert "file:///" in refusal.value.hint


async def test_an_unknown_scheme_is_refused_with_what_to_install(context: Context) -> None:
    with pytest.raises(Refused, match="nosuch://") as refusal:
        await open_fsspec("nosuch://user:secret@host/x", context)
    assert "secret" not in str(refusal.value)
    assert "install" in refusal.value.hint


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("AccessDenied for key=secret"), Unavailable),
        (TimeoutError("connect to https://user:secret@host"), Unavailable),
        (OSError(errno.ENOSPC, "secret"), StorageFull),
        (ValueError("secret"), Unavailable),
        (ConnectionResetError("secret"), Unavailable),
    ],
    ids=lambda it: getattr(it, "__name__", type(it).__name__),
)
@pytest.mark.parametrize("method", ["info", "pipe_file", "mv"])
async def test_foreign_errors_do_not_leave_and_tell_no_secrets(
    error: Exception, kind: type[Unavailable], method: str, context: Context
) -> None:
    store = await open_fsspec("failing://root", context)
    FailingFiles.error, FailingFiles.method = error, method
    with pytest.raises(kind) as failure:
        await store.put(b"a blob")
    assert "secret" not in str(failure.value) + failure.value.hint
    assert type(failure.value.__cause__) is type(error)
    FailingFiles.error = None
    assert await store.stat(sha256_of(b"a blob")) is None
    assert await store.sweep(older_than=0) == 0, "a failed upload leaves nothing"
    await store.put(b"a blob")


async def test_a_medium_that_can_not_be_asked_fails_at_the_start(context: Context) -> None:
    FailingFiles.error, FailingFiles.method = PermissionError(), "info"
    with pytest.raises(Unavailable):
        await open_fsspec("failing://root", context)


async def test_young_equal_bytes_are_not_sent_again(context: Context) -> None:
    store = await open_fsspec("failing://root", context)
    blob = await store.put(b"a blob")
    FailingFiles.error, FailingFiles.method = AssertionError(), "pipe_file"
    assert await store.put(b"a blob") == blob


class StallingFiles(ObjectFiles):
    """An object store whose transfers wait for `go_on`; `answers` says whether it still answers questions."""

    protocol = "stalling"
    buckets: dict[str, tuple[bytes, datetime]] = {}  # noqa: RUF012 - one store for all instances, as a real one is
    answers = True
    go_on: asyncio.Event
    questions = 0

    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        type(self).questions += 1
        if not self.answers:
            await asyncio.Event().wait()
        return await super()._info(path, **options)

    async def _cat_file(self, *arguments: Any, **options: Any) -> bytes:
        await self.go_on.wait()
        return await super()._cat_file(*arguments, **options)

    async def _pipe_file(self, *arguments: Any, **options: Any) -> None:
        await self.go_on.wait()
        await super()._pipe_file(*arguments, **options)

    async def _put_file(self, *arguments: Any, **options: Any) -> None:
        await self.go_on.wait()
        await super()._put_file(*arguments, **options)


@pytest.fixture
async def stalling(context: Context, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FsspecBlobs]:
    monkeypatch.setattr(media, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(media, "_PAUSE_SECONDS", 0.001)
    register_implementation("stalling", StallingFiles, clobber=True)
    StallingFiles.answers, StallingFiles.go_on = True, asyncio.Event()
    store = await open_fsspec("stalling://bucket", context)
    yield store
    await store.close()
    StallingFiles.buckets.clear()


async def _questioned(times: int) -> None:
    """Wait until the store has been asked so many more times."""
    enough = StallingFiles.questions + times
    while StallingFiles.questions < enough:
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_an_upload_may_stand_still_while_the_store_answers_questions(size: int, stalling: FsspecBlobs) -> None:
    data = some_bytes(size)
    async with asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(stalling.put(data))
        await _questioned(20)
        assert not putting.done()
        StallingFiles.go_on.set()
    assert await collect(stalling.read(putting.result().sha256)) == data


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_an_upload_ends_when_the_store_answers_nothing_any_more(size: int, stalling: FsspecBlobs) -> None:
    putting = asyncio.ensure_future(stalling.put(some_bytes(size)))
    await _questioned(5)
    StallingFiles.answers = False
    with pytest.raises(Unavailable, match="has not answered"):
        await putting
    assert not StallingFiles.buckets


async def test_a_download_ends_when_the_store_answers_nothing_any_more(stalling: FsspecBlobs) -> None:
    StallingFiles.go_on.set()
    blob = await stalling.put(b"a blob")
    StallingFiles.go_on.clear()
    reading = asyncio.ensure_future(collect(stalling.read(blob.sha256)))
    await _questioned(5)
    StallingFiles.answers = False
    with pytest.raises(Unavailable, match="has not answered"):
        await reading
