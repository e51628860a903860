"""The services that read an index for a static tree."""

from __future__ import annotations

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.moving.static_projects import StaticProjects
from pkgindex_core.services.moving.static_sources import StaticSources


def make_static_projects(stores: Stores, offered: Offered, shared: Shared, context: Context) -> StaticProjects:
    """Make the service over one store."""
    return StaticProjects(
        store=stores.index,
        blobs=stores.blobs,
        resolving=shared.resolving,
        assembling=shared.assembling,
        admission=offered.admission,
        filters=offered.filters,
        renderers=offered.renderers,
        clock=context.clock,
    )


def make_static_sources(stores: Stores, shared: Shared) -> StaticSources:
    """Make the service over one store."""
    return StaticSources(store=stores.index, sources=shared.sources)
