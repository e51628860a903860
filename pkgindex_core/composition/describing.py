"""The services that describe: documents, search, versions, explanations."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.services.administering.cataloguing import Cataloguing
from pkgindex_core.services.reading.advising import Advising
from pkgindex_core.services.reading.browsing import Browsing
from pkgindex_core.services.reading.effects import ChangePreviews
from pkgindex_core.services.reading.explaining import Explaining
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.findlinks import FindLinks
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.news import RecentNews
from pkgindex_core.services.reading.overview import Overview
from pkgindex_core.services.reading.past import Past
from pkgindex_core.services.reading.permalinks import Permalinks
from pkgindex_core.services.reading.project_information import ProjectInformation
from pkgindex_core.services.reading.provenances import Provenances
from pkgindex_core.services.reading.searching import Searching
from pkgindex_core.services.reading.showing import Showing
from pkgindex_core.services.reading.versions import Versions


class Describing(Struct, frozen=True, kw_only=True):
    """The services that change nothing, and that installers do not need."""

    searching: Searching
    browsing: Browsing
    showing: Showing
    permalinks: Permalinks
    findlinks: FindLinks
    information: ProjectInformation
    locating: Locating
    versions: Versions
    overview: Overview
    explaining: Explaining
    effects: ChangePreviews
    news: RecentNews
    past: Past
    provenances: Provenances
    advising: Advising


def make_describing(
    stores: Stores,
    offered: Offered,
    shared: Shared,
    context: Context,
    *,
    files: Files,
    catalogue: SearchCatalogue,
    cataloguing: Cataloguing,
) -> Describing:
    """Make the services over one store."""
    store, clock, workers = stores.index, context.clock, context.workers
    resolving, assembling, filters = shared.resolving, shared.assembling, offered.filters
    locating = Locating(
        store=store, resolving=resolving, filters=filters, release_files=shared.release_files, clock=clock
    )
    showing = Showing(
        store=store, resolving=resolving, assembling=assembling, filters=filters, workers=workers, clock=clock
    )
    return Describing(
        searching=Searching(
            store=store,
            catalogue=catalogue,
            cataloguing=cataloguing,
            resolving=resolving,
            assembling=assembling,
            filters=filters,
            workers=workers,
            clock=clock,
        ),
        browsing=Browsing(store=store, resolving=resolving, sources=shared.sources, filters=filters),
        showing=showing,
        permalinks=Permalinks(store=store, showing=showing),
        findlinks=FindLinks(
            store=store,
            resolving=resolving,
            assembling=assembling,
            currency=shared.currency,
            admission=offered.admission,
            filters=filters,
            bodies=shared.bodies,
            workers=workers,
            clock=clock,
        ),
        information=ProjectInformation(
            store=store,
            resolving=resolving,
            assembling=assembling,
            filters=filters,
            book=context.advisories,
            workers=workers,
            clock=clock,
        ),
        advising=Advising(store=store, book=context.advisories),
        locating=locating,
        provenances=Provenances(
            store=store, blobs=stores.blobs, files=files, locating=locating, sources=shared.sources
        ),
        versions=Versions(
            store=store, resolving=resolving, assembling=assembling, filters=filters, workers=workers, clock=clock
        ),
        overview=Overview(store=store, options=offered.options),
        explaining=Explaining(resolving=resolving, assembling=assembling, clock=clock),
        effects=ChangePreviews(store=store, resolving=resolving),
        news=RecentNews(store=store),
        past=Past(
            store=store,
            resolving=resolving,
            assembling=assembling,
            filters=filters,
            renderers=offered.renderers,
            workers=workers,
            clock=clock,
        ),
    )
