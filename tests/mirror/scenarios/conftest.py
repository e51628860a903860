"""A registry that is made up, served by nginx. `benchmarks` has it, since the same one is measured with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from benchmarks.made_registry import MadeRegistry
from benchmarks.peers.registry import NginxRegistry, serving


class Upstream(Struct, frozen=True):
    """A registry and its server."""

    registry: MadeRegistry
    server: NginxRegistry


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """A registry of 24 projects with 95 files."""
    if missing := NginxRegistry(tmp_path).missing():
        pytest.skip(f"nginx: {missing}")
    with serving(tmp_path / "upstream") as server:
        registry = server.registry()
        registry.fill(24, 95)
        server.requests()
        yield Upstream(registry=registry, server=server)
