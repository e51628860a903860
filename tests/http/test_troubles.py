"""The log of a server in trouble: a line when it begins, one a minute while it lasts, one when it is over."""

from __future__ import annotations

import errno
import logging

import pytest

from pkgindex_core.errors import Corrupt, StorageFull, Unavailable
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.troubles import AGAIN_SECONDS, Troubles
from tests.crash.oracle import upload
from tests.http.conftest import Serve

FULL = StorageFull("no room keeping a blob: No space left on device", retry_after=300)
ENOSPC = OSError(errno.ENOSPC, "No space left on device")
LOGGER = logging.getLogger("pkgindex.http")


class MovableClock(ManualClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def troubles(clock: MovableClock) -> Troubles:
    return Troubles(clock, LOGGER)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER.name]
    assert all(record.exc_info is None or "storage failed" in record.getMessage() for record in caplog.records)
    caplog.clear()
    return told


def test_a_full_disk_is_one_line_a_minute(
    troubles: Troubles, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        troubles.happened(FULL, ENOSPC)
        troubles.happened(StorageFull("no room left for the index database"), None)
    assert lines(caplog) == ["no room keeping a blob: No space left on device: [Errno 28] No space left on device"]
    clock.seconds += AGAIN_SECONDS
    troubles.happened(StorageFull("no room left for the index database"), None)
    assert lines(caplog) == ["no room left for the index database (99 times more since the last such line)"]
    troubles.happened(FULL, ENOSPC)
    troubles.wrote()
    troubles.wrote()
    assert lines(caplog) == ["the stores take writes again; 1 more requests had failed"]
    troubles.happened(FULL, ENOSPC)
    assert len(lines(caplog)) == 1


def test_each_trouble_has_its_own_line(troubles: Troubles, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        troubles.happened(Corrupt("blob a has 1 bytes"), None)
        troubles.happened(Unavailable("storage failed"), OSError(errno.EIO, "Input/output error"))
        troubles.happened(Corrupt("blob b has 1 bytes"), None)
    assert lines(caplog) == [
        "blob a has 1 bytes",
        "storage failed: [Errno 5] Input/output error",
        "blob b has 1 bytes",
    ]
    for number in range(1000):
        troubles.happened(Corrupt(f"blob {number} has 1 bytes"), None)
    assert len(troubles._known) <= 100


async def test_a_server_whose_disk_is_full_says_so_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each client is answered 507, and when there is room the same server goes on."""
    built = build_wheel("demo", "1.0")
    async with serve() as served:
        with monkeypatch.context() as full:

            async def refuse(*_: object, **__: object) -> None:
                raise FULL from ENOSPC

            full.setattr(served.engine.store, "apply", refuse)
            for _ in range(10):
                assert (await upload(served.address, built)).status == 507  # type: ignore[union-attr]  # it answers
        assert len(lines(caplog)) == 1
        assert (await upload(served.address, built)).status == 200  # type: ignore[union-attr]  # as above
        assert lines(caplog) == ["the stores take writes again; 9 more requests had failed"]
