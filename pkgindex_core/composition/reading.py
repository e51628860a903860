"""The services that answer installers: pages, lists and files."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.finding import Finding
from pkgindex_core.services.reading.listing import Listings
from pkgindex_core.services.reading.offering import Offering
from pkgindex_core.services.reading.pages import Pages


class Reading(Struct, frozen=True, kw_only=True):
    """The services that every server needs."""

    pages: Pages
    listings: Listings
    files: Files


def make_reading(stores: Stores, offered: Offered, shared: Shared, context: Context) -> Reading:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    admission, filters, renderers = offered.admission, offered.filters, offered.renderers
    finding = Finding(store=store, sources=shared.sources, currency=shared.currency)
    return Reading(
        pages=Pages(
            resolving=shared.resolving,
            assembling=shared.assembling,
            admission=admission,
            filters=filters,
            renderers=renderers,
            bodies=shared.bodies,
            decisions=offered.decisions,
            workers=workers,
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
