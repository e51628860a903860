"""How much work an archive may cause, and what is found out about it.

Every reader of this package is given one `Findings` (`upload_rules`) and one `Budget`: what is wrong is collected, so that an
uploader hears of everything at once, and what costs time is counted, so that a small file cannot occupy a worker for long.
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
    """Up to here an archive may be as compressible as it likes. The bound and `ratio` are PyPI's."""
    ratio: int = 50
    """How many times its own size an archive may unpack to, beyond `free_bytes`."""
    steep_ratio: int = 200
    """The same for what was read so far of a stream: a bomb is noticed before it has unpacked to `ratio`."""
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
    """What was found in an archive that is as it should be."""

    metadata: bytes | None
    """The exact bytes of METADATA or PKG-INFO. None: the file was not looked into, or says nothing of itself."""
    warnings: tuple[str, ...] = ()
    names: frozenset[str]
    """Every file in the archive, by its full path."""
    license_root: str
    """What a `License-File` is relative to (PEP 639), with a trailing slash."""
    uncompressed_bytes: int


class Budget:
    """Counts down the time an inspection may take."""

    __slots__ = ("_clock", "_end", "_seconds")

    def __init__(self, limits: ArchiveLimits, clock: Clock) -> None:
        self._clock = clock
        self._seconds = limits.seconds
        self._end = clock.monotonic() + limits.seconds

    def check(self) -> None:
        """Refuse the archive when its time is up. Call it once for every piece of work of a bounded size."""
        if self._clock.monotonic() > self._end:
            raise Refused(
                f"the archive could not be read within {self._seconds:g} seconds",
                hint="make it smaller, or raise the time limit if files this large are meant to be here",
            )
