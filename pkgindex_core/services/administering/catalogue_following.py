"""The follower that keeps the catalogue of searches up to date while a server runs. Of several processes over a catalogue, one does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.memory import give_back
from pkgindex_core.protocols import ChangeLog, Follower

if TYPE_CHECKING:
    from pkgindex_core.services.administering.cataloguing import Cataloguing

_WORK: Final = "pkgindex_core.services.administering.cataloguing"
_FIRST_SECONDS: Final = 2.0
_TURN_SECONDS: Final = 5.0
"""Seconds between two attempts to be the one that updates."""
_WAIT_SECONDS: Final = 5.0
_COLLECT_SECONDS: Final = 0.5
"""Least seconds in which commits are collected for one update."""
_REST: Final = 19
"""How many times as long as an update took commits are collected for the next one. An update reads all files of each touched project, so
while files are uploaded into a large project one after another, at most a twentieth of the time goes into its entry."""
_LONG_SECONDS: Final = 0.1
"""Seconds of updates in a row after which memory is given back: a list of names or dozens of pages were read."""
_PAUSE_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class CatalogueFollower:
    """Brings the catalogue up to date after commits. `cataloguing` is called after the first seconds of a server, which is to answer first."""

    def __init__(self, cataloguing: Callable[[], Cataloguing], store: ChangeLog) -> None:
        self._cataloguing = cataloguing
        self._store = store

    async def follow(self) -> None:
        await asyncio.sleep(_FIRST_SECONDS)
        await asyncio.to_thread(import_module, _WORK)  # takes tens of milliseconds, in which requests would wait
        cataloguing = self._cataloguing()
        cataloguing.is_followed = True
        worked = 0.0
        while True:
            try:
                if not await cataloguing.may_step():
                    await asyncio.sleep(_TURN_SECONDS)
                    continue
                head, begun = await self._store.head(), time.monotonic()
                is_made = await cataloguing.step()
                took, progress = time.monotonic() - begun, await cataloguing.progress()
                worked += took
                if not is_made:
                    await self._store.wait(progress.serial, timeout=_WAIT_SECONDS)
                    await asyncio.sleep(_COLLECT_SECONDS)
                elif progress.walking is None and progress.serial >= head:
                    if worked >= _LONG_SECONDS:
                        await asyncio.to_thread(give_back)
                    worked = 0.0
                    await asyncio.sleep(max(_COLLECT_SECONDS, _REST * took))
            except PkgIndexError as error:
                _log.warning("searches cannot be brought up to date now: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        """Do nothing: the engine closes the catalogue."""


if TYPE_CHECKING:
    _: type[Follower] = CatalogueFollower
