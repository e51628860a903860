"""The services that answer: pages, lists, files, documents, and why they are as they are."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.reading.documentation import Documentation
from pkgindex_core.services.reading.explaining import Explaining
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.findlinks import FindLinks
from pkgindex_core.services.reading.listing import Listings
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.overview import Overview
from pkgindex_core.services.reading.pages import Pages
from pkgindex_core.services.reading.project_information import ProjectInformation
from pkgindex_core.services.reading.versions import Versions


class Reading(Struct, frozen=True, kw_only=True):
    """All that answers and changes nothing."""

    pages: Pages
    listings: Listings
    files: Files
    findlinks: FindLinks
    information: ProjectInformation
    locating: Locating
    documentation: Documentation
    versions: Versions
    overview: Overview
    explaining: Explaining


def make_reading(stores: Stores, offered: Offered, context: Context, *, page_cache_bytes: int) -> Reading:
    """Make them over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    admission, filters = offered.admission, offered.filters
    renderers, refreshers = offered.renderers, offered.refreshers
    pages = Pages(
        store=store,
        admission=admission,
        filters=filters,
        renderers=renderers,
        refreshers=refreshers,
        workers=workers,
        clock=clock,
        cache_bytes=page_cache_bytes,
    )
    return Reading(
        pages=pages,
        listings=Listings(
            store=store,
            pages=pages,
            admission=admission,
            filters=filters,
            renderers=renderers,
            refreshers=refreshers,
            workers=workers,
        ),
        files=Files(store=store, blobs=blobs, filters=filters, refreshers=refreshers, clock=clock),
        findlinks=FindLinks(
            store=store, pages=pages, admission=admission, filters=filters, workers=workers, clock=clock
        ),
        information=ProjectInformation(store=store, pages=pages, filters=filters, workers=workers, clock=clock),
        locating=Locating(store=store, pages=pages),
        documentation=Documentation(
            store=store, blobs=blobs, pages=pages, admission=admission, filters=filters, workers=workers, clock=clock
        ),
        versions=Versions(store=store, pages=pages, filters=filters, workers=workers, clock=clock),
        overview=Overview(store=store, options=offered.options),
        explaining=Explaining(
            store=store, pages=pages, admission=admission, filters=filters, refreshers=refreshers, clock=clock
        ),
    )
