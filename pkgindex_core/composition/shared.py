"""The parts that services of several kinds share. An engine has one of each."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.engines.hosted_source import HostedSource
from pkgindex_core.engines.unreachable_source import UnreachableSource
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.administering.identity import Identity
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.building import Bodies
from pkgindex_core.services.reading.release_files import ReleaseFiles
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.services.writing.policing import UploadPolicing
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency
from pkgindex_core.tools.sources import Sources


class Shared(Struct, frozen=True, kw_only=True):
    """The parts that identify principals and resolve indexes, the sources of the content, the cache of what was rendered, and the checks of uploads and pushes."""

    identity: Identity
    currency: Currency
    sources: Sources
    resolving: Resolving
    assembling: Assembling
    release_files: ReleaseFiles
    bodies: Bodies
    policing: UploadPolicing


def make_shared(stores: Stores, offered: Offered, context: Context, settings: Settings) -> Shared:
    """Make the parts over one store."""
    store, blobs = stores.index, stores.blobs
    sources = Sources(
        offered.sources,
        hosted=HostedSource(store=store, blobs=blobs),
        absent=UnreachableSource(store=store, blobs=blobs),
    )
    currency = Currency(store)
    store.listen(currency.touch, currency.shown_before)
    return Shared(
        identity=Identity(
            store=store,
            currency=currency,
            authenticators=offered.authenticators,
            clock=context.clock,
            house=offered.house,
        ),
        currency=currency,
        sources=sources,
        resolving=Resolving(store=store, sources=sources, admission=offered.admission, currency=currency),
        assembling=Assembling(store=store, filters=offered.filters),
        release_files=ReleaseFiles(store=store, currency=currency, workers=context.workers),
        bodies=BoundedCache(settings.page_cache_bytes, size_of=len),
        policing=UploadPolicing(
            store=store,
            server=context.policies,
            book=context.advisories,
            decisions=offered.decisions,
            clock=context.clock,
        ),
    )
