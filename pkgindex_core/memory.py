"""Giving memory back to the system after something large."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

LARGE: Final = 16 * 1024 * 1024
"""Bytes of a page after which memory is given back."""


def give_back() -> None:
    """Return what was freed. Blocks for some milliseconds; only the GNU C library keeps so much that this matters."""
    if _trim is not None:
        _trim(0)


def _find_trim() -> Callable[[int], int] | None:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no library that is the program itself
        return None


_trim = _find_trim()
