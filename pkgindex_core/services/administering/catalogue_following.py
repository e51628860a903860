"""The follower that keeps the catalogue of searches up to date while a server runs. Of several processes over a catalogue, one does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.protocols import ChangeLog, Follower

if TYPE_CHECKING:
    from pkgindex_core.services.administering.cataloguing import Cataloguing

_WORK: Final = "pkgindex_core.services.administering.cataloguing"
_FIRST_SECONDS: Final = 2.0
_TURN_SECONDS: Final = 5.0
"""Seconds between two attempts to be the one that updates."""
_WAIT_SECONDS: Final = 5.0
_COLLECT_SECONDS: Final = 0.5
"""Seconds in which commits are collected for one update."""
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
        while True:
            try:
                if not await cataloguing.may_step():
                    await asyncio.sleep(_TURN_SECONDS)
                elif not await cataloguing.step():
                    await self._store.wait(await cataloguing.serial(), timeout=_WAIT_SECONDS)
                    await asyncio.sleep(_COLLECT_SECONDS)
            except PkgIndexError as error:
                _log.warning("searches cannot be brought up to date now: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        """Do nothing: the engine closes the catalogue."""


if TYPE_CHECKING:
    _: type[Follower] = CatalogueFollower
