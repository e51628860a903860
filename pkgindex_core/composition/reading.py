"""The services that answer: pages, lists, files, documents, and why they are as they are."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.reading.documentation import Documentation
from pkgindex_core.services.reading.explaining import Explaining
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.finding import Finding
from pkgindex_core.services.reading.findlinks import FindLinks
from pkgindex_core.services.reading.listing import Listings
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.overview import Overview
from pkgindex_core.services.reading.pages import Bodies, Pages
from pkgindex_core.services.reading.project_information import ProjectInformation
from pkgindex_core.services.reading.searching import Searching
from pkgindex_core.services.reading.versions import Versions
from pkgindex_core.tools.bounded_cache import BoundedCache


class Reading(Struct, frozen=True, kw_only=True):
    """All that answers and changes nothing."""

    bodies: Bodies
    pages: Pages
    listings: Listings
    searching: Searching
    files: Files
    findlinks: FindLinks
    information: ProjectInformation
    locating: Locating
    documentation: Documentation
    versions: Versions
    overview: Overview
    explaining: Explaining


def make_reading(
    stores: Stores, offered: Offered, shared: Shared, context: Context, *, page_cache_bytes: int
) -> Reading:
    """Make them over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    admission, filters, renderers = offered.admission, offered.filters, offered.renderers
    currency, sources = shared.currency, shared.sources
    resolving, assembling = shared.resolving, shared.assembling
    bodies: Bodies = BoundedCache(page_cache_bytes, size_of=len)
    finding = Finding(store=store, sources=sources, currency=currency)
    return Reading(
        bodies=bodies,
        pages=Pages(
            resolving=resolving,
            assembling=assembling,
            admission=admission,
            filters=filters,
            renderers=renderers,
            bodies=bodies,
            workers=workers,
            clock=clock,
        ),
        listings=Listings(
            store=store,
            resolving=resolving,
            sources=sources,
            admission=admission,
            filters=filters,
            renderers=renderers,
            bodies=bodies,
            workers=workers,
        ),
        searching=Searching(resolving=resolving, sources=sources, filters=filters),
        files=Files(store=store, blobs=blobs, finding=finding, sources=sources, filters=filters, clock=clock),
        findlinks=FindLinks(
            store=store,
            resolving=resolving,
            assembling=assembling,
            currency=currency,
            admission=admission,
            filters=filters,
            bodies=bodies,
            workers=workers,
            clock=clock,
        ),
        information=ProjectInformation(
            store=store, resolving=resolving, assembling=assembling, filters=filters, workers=workers, clock=clock
        ),
        locating=Locating(store=store, resolving=resolving),
        documentation=Documentation(
            store=store,
            blobs=blobs,
            resolving=resolving,
            currency=currency,
            filters=filters,
            workers=workers,
            clock=clock,
        ),
        versions=Versions(
            store=store, resolving=resolving, assembling=assembling, filters=filters, workers=workers, clock=clock
        ),
        overview=Overview(store=store, options=offered.options),
        explaining=Explaining(resolving=resolving, assembling=assembling, clock=clock),
    )
