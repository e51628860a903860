"""What tests of the whole server share: a starter of processes, and servers within this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pkgindex_core import failpoints
from tests.crash.processes import Starter
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
