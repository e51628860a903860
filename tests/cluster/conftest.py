"""What tests of several servers share."""

from __future__ import annotations

from tests.crash.conftest import starter

__all__ = ["starter"]
