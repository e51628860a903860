"""What the fsspec store does with URLs and with the errors of file systems; the contract suite has the rest."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.fsspec_blobs import open_fsspec
from pkgindex_core.errors import Refused, StorageFull, Unavailable
from pkgindex_core.hookspecs import Context


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
