"""The follower that keeps the catalogue of searches up to date while a server runs. Of several processes over a catalogue, one does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import ChangeLog, Follower
from pkgindex_core.protocols.catalogue import Catalogue
from pkgindex_core.services.administering.cataloguing import Cataloguing

_TURN_SECONDS: Final = 5.0
"""Seconds between two attempts to be the one that updates."""
_WAIT_SECONDS: Final = 5.0
_COLLECT_SECONDS: Final = 0.5
"""Seconds in which commits are collected for one update."""
_PAUSE_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class CatalogueFollower:
    """Brings the catalogue up to date after commits."""

    def __init__(self, cataloguing: Cataloguing, catalogue: Catalogue, store: ChangeLog) -> None:
        self._cataloguing = cataloguing
        self._catalogue = catalogue
        self._store = store

    async def follow(self) -> None:
        while True:
            try:
                if not await self._catalogue.lead():
                    await asyncio.sleep(_TURN_SECONDS)
                    continue
                if not await self._cataloguing.step():
                    await self._store.wait((await self._catalogue.progress()).serial, timeout=_WAIT_SECONDS)
                    await asyncio.sleep(_COLLECT_SECONDS)
            except PkgIndexError as error:
                _log.warning("searches cannot be brought up to date now: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        """Do nothing: the engine closes the catalogue."""


async def make_follower(context: Context) -> Follower | None:
    """Make the follower; None without a catalogue."""
    store, blobs, catalogue = context.index_store, context.blob_store, context.catalogue
    if catalogue is None:
        return None
    assert store is not None
    assert blobs is not None
    cataloguing = Cataloguing(store=store, blobs=blobs, catalogue=catalogue, workers=context.workers)
    return CatalogueFollower(cataloguing, catalogue, store)


if TYPE_CHECKING:
    _: type[Follower] = CatalogueFollower
