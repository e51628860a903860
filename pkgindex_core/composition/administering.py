"""The services for users and indexes."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Passwords
from pkgindex_core.services.administering.examining import Examining
from pkgindex_core.services.administering.exempting import Exempting
from pkgindex_core.services.administering.indexes import Indexes, OwnerLimits
from pkgindex_core.services.administering.own_advisories import OwnAdvisories
from pkgindex_core.services.administering.project_options import ProjectOptions
from pkgindex_core.services.administering.project_statuses import ProjectStatuses
from pkgindex_core.services.administering.tokens import Tokens
from pkgindex_core.services.administering.users import Users
from pkgindex_core.services.reading.explaining import Explaining


class Administering(Struct, frozen=True, kw_only=True):
    """The services that change users and indexes."""

    tokens: Tokens
    users: Users
    indexes: Indexes
    project_statuses: ProjectStatuses
    project_options: ProjectOptions
    exempting: Exempting
    own_advisories: OwnAdvisories
    examining: Examining


def make_administering(
    stores: Stores,
    offered: Offered,
    shared: Shared,
    context: Context,
    settings: Settings,
    *,
    passwords: Passwords,
    explaining: Explaining,
) -> Administering:
    """Make the services over one store."""
    store, clock, workers = stores.index, context.clock, context.workers
    indexes = Indexes(
        store=store,
        options=offered.options,
        workers=workers,
        clock=clock,
        limits=OwnerLimits(indexes=settings.max_user_indexes, option_bytes=settings.max_user_option_bytes),
    )
    return Administering(
        tokens=Tokens(store=store, identity=shared.identity, clock=clock, most_tokens=settings.max_user_tokens),
        users=Users(store=store, passwords=passwords, clock=clock, empty_passwords=settings.devpi_defaults),
        indexes=indexes,
        project_statuses=ProjectStatuses(store=store),
        project_options=ProjectOptions(store=store, indexes=indexes, explaining=explaining),
        exempting=Exempting(store=store, indexes=indexes, clock=clock),
        own_advisories=OwnAdvisories(store=store, indexes=indexes, clock=clock),
        examining=Examining(store=store, sources=shared.sources, book=context.advisories, policies=context.policies),
    )
