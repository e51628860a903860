"""What the stores fail at, told to the log once and not for each request: a full disk is one line.

A trouble is told when it begins, again every minute while it lasts (with how often it happened), and when something was stored again.
The client is told each time. A full disk needs no traceback, and neither do bytes that are damaged: the line says which. What else the
system has refused is told with its traceback, which names the file and the call.
"""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Corrupt, PkgIndexError, StorageFull
from pkgindex_core.tools.bounded_cache import BoundedCache

AGAIN_SECONDS: Final = 60.0
_MOST_KINDS: Final = 100
"""Messages may name a blob, so there is no end of them."""


class _Trouble(Struct):
    told: float
    passes: bool
    """Whether it is over when something was stored: damage is not."""
    untold: int = 0
    """How often it happened since it was told."""


class Troubles:
    """Remembers what the log was told."""

    def __init__(self, clock: Clock, logger: logging.Logger) -> None:
        self._clock = clock
        self._logger = logger
        self._known: BoundedCache[str, _Trouble] = BoundedCache(_MOST_KINDS)

    def happened(self, error: PkgIndexError, cause: BaseException | None) -> None:
        """Tell the log, unless it was told a moment ago."""
        full, damage = isinstance(error, StorageFull), isinstance(error, Corrupt)
        name = StorageFull.__name__ if full else error.message
        now = self._clock.monotonic()
        trouble = self._known.get(name)
        if trouble is not None and now - trouble.told < AGAIN_SECONDS:
            trouble.untold += 1
            return
        again = f" ({trouble.untold} times more since this was told)" if trouble and trouble.untold else ""
        self._known.put(name, _Trouble(now, passes=not damage))
        because = f": {cause}" if cause is not None and str(cause) not in error.message else ""
        level = logging.ERROR if full or damage else logging.WARNING
        self._logger.log(level, "%s%s%s", error, because, again, exc_info=None if full or damage else cause)

    def wrote(self) -> None:
        """Something was stored: a disk that was full has room again, one that failed works."""
        if not self._known:
            return
        over = [(name, trouble.untold) for name, trouble in self._known.items() if trouble.passes]
        for name, _ in over:
            self._known.drop(name)
        if over:
            untold = sum(times for _, times in over)
            self._logger.warning("the stores take writes again; %d more requests had failed", untold)
