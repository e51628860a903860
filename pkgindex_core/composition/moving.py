"""The services that push releases, and back up, restore, import and migrate whole stores."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Passwords
from pkgindex_core.services.moving.backups.restoring import Restoring
from pkgindex_core.services.moving.backups.taking import TakingBackups
from pkgindex_core.services.moving.checking_pushes import PushChecks
from pkgindex_core.services.moving.feeding import Feeding
from pkgindex_core.services.moving.importing.devpi import DevpiImport
from pkgindex_core.services.moving.migrating import Migrating
from pkgindex_core.services.moving.pushable_releases import PushableReleases
from pkgindex_core.services.moving.pushing import Pushing
from pkgindex_core.services.moving.remote_pushing import RemotePushing


class Moving(Struct, frozen=True, kw_only=True):
    """The services that push, back up, restore, import, migrate, and feed replicas."""

    pushing: Pushing
    remote_pushing: RemotePushing
    taking_backups: TakingBackups
    restoring: Restoring
    migrating: Migrating
    feeding: Feeding
    devpi_import: DevpiImport


def make_moving(stores: Stores, offered: Offered, shared: Shared, context: Context, *, passwords: Passwords) -> Moving:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    releases = PushableReleases(
        store=store,
        blobs=blobs,
        resolving=shared.resolving,
        sources=shared.sources,
        filters=offered.filters,
        clock=clock,
    )
    return Moving(
        pushing=Pushing(
            store=store,
            sources=shared.sources,
            releases=releases,
            checks=PushChecks(
                blobs=blobs,
                checks=offered.checks,
                policing=shared.policing,
                workers=workers,
            ),
            clock=clock,
        ),
        remote_pushing=RemotePushing(releases=releases, publishers=offered.publishers),
        taking_backups=TakingBackups(store=store, blobs=blobs, clock=clock),
        restoring=Restoring(store=store, blobs=blobs),
        migrating=Migrating(store=store, blobs=blobs),
        feeding=Feeding(store=store, blobs=blobs, sources=shared.sources, options=offered.options),
        devpi_import=DevpiImport(
            store=store, blobs=blobs, options=offered.options, passwords=passwords, workers=workers, clock=clock
        ),
    )
