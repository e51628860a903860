"""The bounds of work on an archive, and the result of an inspection.

Every reader of this package gets one `Findings` (`upload_rules`) and one `Budget`. Findings collect all problems, so that an
uploader gets them together. The budget bounds the time, so that a small file cannot occupy a worker for long.
"""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Refused

MIB = 1024 * 1024


class ArchiveLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one archive. Sizes are in bytes, times in seconds."""

    uncompressed_bytes: int = 8 * 1024 * MIB
    """All members together."""
    free_bytes: int = 64 * MIB
    """Up to this size `ratio` does not apply. Both bounds are PyPI's."""
    ratio: int = 50
    """The most bytes that an archive may unpack to, as a multiple of its own size, beyond `free_bytes`."""
    steep_ratio: int = 200
    """The same for the part of a stream that was read so far, so that a bomb is noticed early."""
    members: int = 100_000
    """Files and directories. The largest wheels on PyPI have some ten thousand."""
    directory_bytes: int = 32 * MIB
    """A zip's central directory; all names and extended headers of a tar."""
    metadata_bytes: int = 16 * MIB
    """METADATA, PKG-INFO, WHEEL and entry_points.txt, each."""
    record_bytes: int = 64 * MIB
    """RECORD, which grows with the number of members."""
    seconds: float = 300.0
    """Wall time for the whole inspection."""


DEFAULT_LIMITS = ArchiveLimits()


class Inspection(Struct, frozen=True, kw_only=True):
    """The contents of a valid archive."""

    metadata: bytes | None
    """The exact bytes of METADATA or PKG-INFO. None: the file was not read, or has no metadata."""
    warnings: tuple[str, ...] = ()
    names: frozenset[str]
    """Every file in the archive, by its full path."""
    license_root: str
    """The directory to which a `License-File` is relative (PEP 639), with a trailing slash."""
    uncompressed_bytes: int


class Budget:
    """The remaining time of an inspection."""

    __slots__ = ("_clock", "_end", "_seconds")

    def __init__(self, limits: ArchiveLimits, clock: Clock) -> None:
        self._clock = clock
        self._seconds = limits.seconds
        self._end = clock.monotonic() + limits.seconds

    def check(self) -> None:
        """Refuse the archive when the time is up. Call it once for every bounded piece of work."""
        if self._clock.monotonic() > self._end:
            raise Refused(
                f"the archive could not be read within {self._seconds:g} seconds",
                hint="make it smaller, or raise the time limit to take such files",
            )
