"""Returning memory to the system after large pages. Only the GNU C library keeps enough memory to need this."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

LARGE: Final = 16 * 1024 * 1024
"""The size in bytes from which on a page's memory is given back."""
_SPARE: Final = 8 * 1024 * 1024
"""Bytes of a block of memory that the system gets back as soon as it is freed, and of free memory at the end of the heap. By itself the library
raises both bounds, to 32 and 64 MiB; smaller ones cost more page faults than they are worth."""
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Numbers of `mallopt` (malloc.h)."""


def give_back() -> None:
    """Return freed memory to the system. Blocks for some milliseconds."""
    _call("malloc_trim", 0)


def share_memory() -> None:
    """Have the threads of this program share their memory: each one would keep what it once needed for a page. Call it before they start."""
    _call("mallopt", _ARENA_MAX, 1)
    _call("mallopt", _MMAP_THRESHOLD, _SPARE)
    _call("mallopt", _TRIM_THRESHOLD, _SPARE)


def _call(name: str, *numbers: int) -> None:
    function = getattr(_library(), name, None)
    if function is not None:
        function(*numbers)


@cache
def _library() -> Any:
    import ctypes  # takes two milliseconds to load

    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows: the program itself cannot be opened as a library
        return None
