"""Returning memory to the system after large pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

LARGE: Final = 16 * 1024 * 1024
"""The size in bytes from which on a page's memory is given back."""


def give_back() -> None:
    """Return freed memory to the system. Blocks for some milliseconds. Only the GNU C library keeps enough memory to need this."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    import ctypes  # loads the C library: a server that never had a large page does without

    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows: the program itself cannot be opened as a library
        return None
