"""What tests of the whole server share: a starter of processes, and servers within this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pkgindex_core import failpoints
from tests.crash.processes import PATIENCE_SECONDS, Starter, clean_environment
from tests.http.conftest import serve

__all__ = ["serve"]


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """Starts servers in milliseconds."""
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture
def armed() -> Iterator[None]:
    """Failpoints of this process may be armed; afterwards they are not."""
    yield
    failpoints.disarm()


Command = Callable[..., "asyncio.Future[int]"]


@pytest.fixture
def command(starter: Starter, tmp_path: Path) -> Callable[..., object]:
    """Run `pkgindex-serve …` to its end; return its status, negative for a signal."""

    async def run(*words: str | Path, failpoints: str = "") -> int:
        env = clean_environment() | ({"PKGINDEX_FAILPOINTS": failpoints} if failpoints else {})
        with (tmp_path / "output").open("ab") as output:
            pid = starter.fork([*map(str, words)], env, output.fileno(), output.fileno())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (status := starter.status(pid)) is None:
                await asyncio.sleep(0.005)
        return status

    return run
