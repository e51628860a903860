"""Fixtures for tests of several servers."""

from __future__ import annotations

from tests.crash.conftest import starter

__all__ = ["starter"]
