"""The services that answer installers: pages, lists and files."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec import Struct

from pkgindex_core.composition.data_directory import LISTS
from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.services.reading.building import Building
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.finding import Finding
from pkgindex_core.services.reading.list_files import ListFiles
from pkgindex_core.services.reading.listing import Listings
from pkgindex_core.services.reading.long_lists import LongLists
from pkgindex_core.services.reading.long_pages import LongPages
from pkgindex_core.services.reading.offering import Offering
from pkgindex_core.services.reading.pages import Pages

_SHARE: Final = 4
"""Long pages, and long lists, each take at most a quarter of the bytes of the page cache, beside it."""


class Reading(Struct, frozen=True, kw_only=True):
    """The services that every server needs."""

    pages: Pages
    listings: Listings
    files: Files


def make_reading(stores: Stores, offered: Offered, shared: Shared, context: Context, settings: Settings) -> Reading:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    admission, filters, renderers = offered.admission, offered.filters, offered.renderers
    finding = Finding(store=store, sources=shared.sources, currency=shared.currency)
    limit = shared.bodies.limit // _SHARE
    long_pages = LongPages(store=store, assembling=shared.assembling, renderers=renderers, limit=limit, workers=workers)
    list_files = ListFiles(
        context.data / LISTS,
        limit=limit,
        store=store,
        identity=partial(identity_of, store),
        clock=clock,
        workers=workers,
    )
    return Reading(
        pages=Pages(
            resolving=shared.resolving,
            building=Building(
                assembling=shared.assembling,
                renderers=renderers,
                bodies=shared.bodies,
                long_pages=long_pages,
                decisions=offered.decisions,
                workers=workers,
            ),
            admission=admission,
            filters=filters,
            renderers=renderers,
            bodies=shared.bodies,
            clock=clock,
        ),
        listings=Listings(
            store=store,
            resolving=shared.resolving,
            sources=shared.sources,
            admission=admission,
            filters=filters,
            renderers=renderers,
            bodies=shared.bodies,
            long_lists=LongLists(
                limit=limit,
                workers=workers,
                # A store in memory has nothing for another process, or for the next start.
                files=None if settings.store.startswith("memory:") else list_files,
            ),
            workers=workers,
        ),
        files=Files(
            store=store,
            blobs=blobs,
            finding=finding,
            sources=shared.sources,
            offering=Offering(filters=filters, release_files=shared.release_files, decisions=offered.decisions),
            clock=clock,
        ),
    )
