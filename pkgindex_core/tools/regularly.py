"""Does work in the background of a server again and again. Its errors are logged, and end nothing."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from pkgindex_core.errors import Conflict, PkgIndexError

LOOK_SECONDS: Final = 30.0
"""Most seconds between two looks whether work is due, so that another server takes over soon when one dies."""

_log = logging.getLogger(__name__)


async def regularly(
    what: str, look: Callable[[], Awaitable[object]], *, every: float, pause: Callable[[float], Awaitable[None]]
) -> NoReturn:
    """Call `look` until cancelled, four times in `every` seconds or more often. It does the work that is due.

    A `Conflict` means that another process does the work just now. An error that comes again is logged once.
    """
    told = ""
    while True:
        await pause(min(LOOK_SECONDS, every / 4))
        try:
            await look()
        except Conflict:
            continue
        except Exception as error:
            before, told = told, repr(error)
            if told == before:
                continue
            if isinstance(error, PkgIndexError):
                _log.warning("%s is interrupted: %s", what, error)
            else:
                _log.exception("%s failed; it goes on later", what)
        else:
            told = ""
