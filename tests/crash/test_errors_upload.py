"""The system refuses something at every step of an upload: the client is told, nothing half is there, and it passes.

A live server over SQLite and a local disk. After each refusal reads go on, nothing is shown that was not acknowledged, and the
same upload works a moment later, without a restart.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core import failpoints
from pkgindex_core.errors import StorageFull, Unavailable
from pkgindex_core.models import Serial
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.clients import ask
from tests.crash.oracle import HOSTED, file_path, spooled, upload
from tests.crash.test_kill_upload import PASSES
from tests.http.conftest import Serve, Served

Tally = Callable[[str, int], None]

ERRORS = ("EIO", "ENOSPC", "EMFILE")
COMMITTED = {"commit.committed", "upload.committed", "upload.answered"}
"""Steps behind the commit: what fails here is the answer alone. Nobody was told, but the file is there, whole."""

THERE = build_wheel("there", "1.0")


@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_at_a_step_of_an_upload(
    error: str, serve: Serve, armed: None, caplog: pytest.LogCaptureFixture, tally: Tally
) -> None:
    async with serve(store="", blobs="") as served:
        await assert_uploads(served, THERE)
        commits = await served.engine.store.head()
        injections = [(point, turn) for point, passes in PASSES.items() for turn in range(1, passes + 1)]
        for number, (point, turn) in enumerate(injections):
            built = build_wheel("demo", f"{number}.0")
            caplog.clear()
            failpoints.arm(f"{point}=raise:{error}@{turn}")
            answer = await upload(served.address, built)
            assert failpoints.hits[point] >= turn, point  # the file and its metadata are kept side by side
            failpoints.disarm()
            assert answer is not None, point
            assert answer.status == (507 if error == "ENOSPC" else 503), point
            text = answer.body.decode()
            assert "storage failed" in text or "no room" in text or "index database" in text
            assert len(text.splitlines()) == 2  # what is wrong, what to do
            assert str(served.engine.settings.data) not in text
            assert "Traceback" not in text
            assert answer.header("Retry-After")
            # What the client is not told stands in the log, once: where it failed.
            (record,) = caplog.records
            if error == "ENOSPC":  # a full disk is one line
                assert record.exc_info is None
                assert os.strerror(errno.ENOSPC) in record.getMessage()
            else:
                assert record.exc_info
                assert isinstance(record.exc_info[1], OSError)
                assert record.exc_info[1].errno == getattr(errno, error)
            commits += point in COMMITTED
            assert await served.engine.store.head() == commits, point
            await assert_shows(served, built, there=point in COMMITTED)
            await assert_shows(served, THERE, there=True)
            assert spooled(served.engine.settings.data) == []
            await assert_uploads(served, built)
            commits += point not in COMMITTED
            assert await served.engine.store.head() == commits, point
            if number == len(PASSES):
                open_files = count_open_files()
        assert count_open_files() <= open_files
        log = await served.engine.store.commits(Serial(0))
        assert [commit.serial for commit in log] == list(range(1, len(log) + 1))
    tally("errno injections", len(injections))
    tally("acknowledged uploads checked", len(injections) + 1)


def count_open_files() -> int:
    """How many descriptors this process has; 0 where nobody can tell."""
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.exists() else 0


async def assert_uploads(served: Served, built: BuiltFile) -> None:
    """It is acknowledged, and there."""
    answer = await upload(served.address, built)
    assert answer is not None
    assert answer.status == 200, answer.body
    await assert_shows(served, built, there=True)


async def assert_shows(served: Served, built: BuiltFile, *, there: bool) -> None:
    """Page, file and metadata agree on whether it is there."""
    project = built.filename.split("-")[0]
    page = await ask(served.address, f"/{HOSTED}/+simple/{project}/")
    assert page.status in {200, 404}
    assert (built.sha256.encode() in page.body) == there
    place = file_path(built)
    for path, expected in ((place, built.data), (f"{place}.metadata", built.metadata)):
        answer = await ask(served.address, path)
        if there:
            assert (answer.status, answer.body) == (200, expected)
        else:
            assert answer.status == 404


async def test_a_file_that_cannot_be_opened_is_unavailable_and_not_a_broken_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = build_wheel("large", "1.0", files={"large.bin": random.Random(1).randbytes(100_000)})
    opened = os.open

    def refuse(path: str | Path, *arguments: Any, **options: Any) -> int:
        if Path(path).name in {THERE.sha256, large.sha256}:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *arguments, **options)

    async with serve(store="", blobs="") as served:
        for built in (THERE, large):
            await assert_uploads(served, built)
            with monkeypatch.context() as patch:
                patch.setattr(os, "open", refuse)
                answer = await ask(served.address, file_path(built))
            assert (answer.status, answer.is_whole) == (503, True)
            assert b"too many files are open" in answer.body
            assert "etag" not in answer.headers
            await assert_shows(served, built, there=True)


async def test_programs_that_embed_the_library_are_told_in_its_own_words(serve: Serve, armed: None) -> None:
    async with serve(store="", blobs="") as served:
        root = Principal(name="root")
        for error, expected in (("ENOSPC", StorageFull), ("EIO", Unavailable)):
            failpoints.arm(f"upload.spool_opened=raise:{error}")
            with pytest.raises(Unavailable) as refused:
                async with served.engine.uploads.receive(HOSTED, root) as incoming:
                    await incoming.begin_content(THERE.filename)
            assert type(refused.value) is expected
            failpoints.disarm()
        # What the caller's own connection does is the caller's business.
        with pytest.raises(ConnectionResetError):
            async with served.engine.uploads.receive(HOSTED, root):
                raise ConnectionResetError
