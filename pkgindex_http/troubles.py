"""Logs failures of the stores once, not for each request, so that a full disk is one line.

A trouble is logged when it begins, every minute while it lasts (with the number of requests), and when writing works again.
Each client gets the error. A full disk and damaged bytes are logged without a traceback; other refusals of the system have one,
since it names the file and the call.
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
"""The bound of remembered troubles: messages may name a blob, so there can be any number."""


class _Trouble(Struct):
    told: float
    passes: bool
    """Whether it ends when a write succeeds. Damage does not."""
    untold: int = 0
    """How often it happened since it was last logged."""


class Troubles:
    """Logs troubles, and remembers which were logged."""

    def __init__(self, clock: Clock, logger: logging.Logger) -> None:
        self._clock = clock
        self._logger = logger
        self._known: BoundedCache[str, _Trouble] = BoundedCache(_MOST_KINDS)

    def happened(self, error: PkgIndexError, cause: BaseException | None) -> None:
        """Log a failure, unless the same one was logged within `AGAIN_SECONDS`."""
        full, damage = isinstance(error, StorageFull), isinstance(error, Corrupt)
        name = StorageFull.__name__ if full else error.message
        now = self._clock.monotonic()
        trouble = self._known.get(name)
        if trouble is not None and now - trouble.told < AGAIN_SECONDS:
            trouble.untold += 1
            return
        again = f" ({trouble.untold} times more since the last such line)" if trouble and trouble.untold else ""
        self._known.put(name, _Trouble(now, passes=not damage))
        because = f": {cause}" if cause is not None and str(cause) not in error.message else ""
        level = logging.ERROR if full or damage else logging.WARNING
        self._logger.log(level, "%s%s%s", error, because, again, exc_info=None if full or damage else cause)

    def wrote(self) -> None:
        """End the troubles that pass, after a successful write, and log that they are over."""
        if not self._known:
            return
        over = [(name, trouble.untold) for name, trouble in self._known.items() if trouble.passes]
        for name, _ in over:
            self._known.drop(name)
        if over:
            untold = sum(times for _, times in over)
            self._logger.warning("the stores take writes again; %d more requests had failed", untold)
