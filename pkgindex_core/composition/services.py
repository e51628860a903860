"""All services over one store.

Those that answer installers are made at once. The others are made, and their modules loaded, at the first use of one of their kind, so that a
server starts without them. Making a service reads nothing and cannot fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pkgindex_core.composition.caches import caches_of
from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.reading import make_reading
from pkgindex_core.composition.shared import make_shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.hookspecs import Context
from pkgindex_core.tools.bounded_cache import NamedCache
from pkgindex_core.tools.passwords import PasswordPool

if TYPE_CHECKING:
    from pkgindex_core.composition.administering import Administering
    from pkgindex_core.composition.describing import Describing
    from pkgindex_core.composition.mending import Mending
    from pkgindex_core.composition.moving import Moving
    from pkgindex_core.composition.writing import Writing
    from pkgindex_core.protocols.catalogue import SearchCatalogue
    from pkgindex_core.services.administering.activity import Activity
    from pkgindex_core.services.administering.auditing import Auditing
    from pkgindex_core.services.administering.cataloguing import Cataloguing
    from pkgindex_core.services.administering.clearing import Clearing
    from pkgindex_core.services.administering.examining import Examining
    from pkgindex_core.services.administering.exempting import Exempting
    from pkgindex_core.services.administering.indexes import Indexes
    from pkgindex_core.services.administering.own_advisories import OwnAdvisories
    from pkgindex_core.services.administering.project_options import ProjectOptions
    from pkgindex_core.services.administering.project_statuses import ProjectStatuses
    from pkgindex_core.services.administering.repairing import Repairing
    from pkgindex_core.services.administering.scrubbing import Scrubbing
    from pkgindex_core.services.administering.tokens import Tokens
    from pkgindex_core.services.administering.users import Users
    from pkgindex_core.services.administering.verifying import Verifying
    from pkgindex_core.services.administering.wheel_metadata import WheelMetadata
    from pkgindex_core.services.moving.backups.restoring import Restoring
    from pkgindex_core.services.moving.backups.taking import TakingBackups
    from pkgindex_core.services.moving.feeding import Feeding
    from pkgindex_core.services.moving.importing.devpi import DevpiImport
    from pkgindex_core.services.moving.migrating import Migrating
    from pkgindex_core.services.moving.pushing import Pushing
    from pkgindex_core.services.moving.remote_pushing import RemotePushing
    from pkgindex_core.services.moving.static_projects import StaticProjects
    from pkgindex_core.services.moving.static_sources import StaticSources
    from pkgindex_core.services.reading.advising import Advising
    from pkgindex_core.services.reading.browsing import Browsing
    from pkgindex_core.services.reading.deciding import Decisions
    from pkgindex_core.services.reading.documentation import Documentation
    from pkgindex_core.services.reading.effects import ChangePreviews
    from pkgindex_core.services.reading.explaining import Explaining
    from pkgindex_core.services.reading.file_contents import FileContents
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
    from pkgindex_core.services.reading.sizing import Sizing
    from pkgindex_core.services.reading.versions import Versions
    from pkgindex_core.services.writing.attesting import Attesting
    from pkgindex_core.services.writing.registering import Registering
    from pkgindex_core.services.writing.releases import Releases
    from pkgindex_core.services.writing.results import Results
    from pkgindex_core.services.writing.retaining import Retaining
    from pkgindex_core.services.writing.undeleting import Undeleting
    from pkgindex_core.services.writing.uploads import Uploads


class Services:
    """The services, each under its name."""

    def __init__(
        self, stores: Stores, offered: Offered, context: Context, settings: Settings, passwords: PasswordPool
    ) -> None:
        self.settings = settings
        self.context = context
        self.passwords = passwords
        self._stores = stores
        self._offered = offered
        self._shared = shared = make_shared(stores, offered, context, settings)
        self.sources = shared.sources
        self.currency = shared.currency
        self.identity = shared.identity
        self.bodies = shared.bodies
        self._reading = reading = make_reading(stores, offered, shared, context, settings)
        self.pages = reading.pages
        self.listings = reading.listings
        self.files = reading.files

    def caches(self) -> Sequence[NamedCache]:
        """The caches in memory, with what they have and their limits."""
        return caches_of(self._stores, self._offered, self._shared, self._reading, vars(self))

    @property
    def searching(self) -> Searching:
        return self._describing.searching

    @property
    def browsing(self) -> Browsing:
        return self._describing.browsing

    @property
    def showing(self) -> Showing:
        return self._describing.showing

    @property
    def permalinks(self) -> Permalinks:
        return self._describing.permalinks

    @property
    def findlinks(self) -> FindLinks:
        return self._describing.findlinks

    @property
    def information(self) -> ProjectInformation:
        return self._describing.information

    @property
    def locating(self) -> Locating:
        return self._describing.locating

    @property
    def versions(self) -> Versions:
        return self._describing.versions

    @property
    def overview(self) -> Overview:
        return self._describing.overview

    @property
    def explaining(self) -> Explaining:
        return self._describing.explaining

    @property
    def effects(self) -> ChangePreviews:
        return self._describing.effects

    @property
    def news(self) -> RecentNews:
        return self._describing.news

    @property
    def past(self) -> Past:
        return self._describing.past

    @property
    def provenances(self) -> Provenances:
        return self._describing.provenances

    @property
    def tokens(self) -> Tokens:
        return self._administering.tokens

    @property
    def users(self) -> Users:
        return self._administering.users

    @property
    def indexes(self) -> Indexes:
        return self._administering.indexes

    @property
    def exempting(self) -> Exempting:
        return self._administering.exempting

    @property
    def own_advisories(self) -> OwnAdvisories:
        return self._administering.own_advisories

    @property
    def advising(self) -> Advising:
        return self._describing.advising

    @property
    def decisions(self) -> Decisions:
        return self._offered.decisions

    @property
    def project_statuses(self) -> ProjectStatuses:
        return self._administering.project_statuses

    @property
    def project_options(self) -> ProjectOptions:
        return self._administering.project_options

    @property
    def examining(self) -> Examining:
        return self._administering.examining

    @property
    def uploads(self) -> Uploads:
        return self._writing.uploads

    @property
    def attesting(self) -> Attesting:
        return self._writing.attesting

    @property
    def registering(self) -> Registering:
        return self._writing.registering

    @property
    def releases(self) -> Releases:
        return self._writing.releases

    @property
    def results(self) -> Results:
        return self._writing.results

    @property
    def retaining(self) -> Retaining:
        return self._writing.retaining

    @property
    def undeleting(self) -> Undeleting:
        return self._writing.undeleting

    @property
    def pushing(self) -> Pushing:
        return self._moving.pushing

    @property
    def remote_pushing(self) -> RemotePushing:
        return self._moving.remote_pushing

    @property
    def taking_backups(self) -> TakingBackups:
        return self._moving.taking_backups

    @property
    def restoring(self) -> Restoring:
        return self._moving.restoring

    @property
    def feeding(self) -> Feeding:
        return self._moving.feeding

    @property
    def migrating(self) -> Migrating:
        return self._moving.migrating

    @property
    def devpi_import(self) -> DevpiImport:
        return self._moving.devpi_import

    @property
    def auditing(self) -> Auditing:
        return self._mending.auditing

    @property
    def verifying(self) -> Verifying:
        return self._mending.verifying

    @property
    def repairing(self) -> Repairing:
        return self._mending.repairing

    @property
    def wheel_metadata(self) -> WheelMetadata:
        return self._mending.wheels

    @property
    def clearing(self) -> Clearing:
        return self._mending.clearing

    @property
    def scrubbing(self) -> Scrubbing:
        return self._mending.scrubbing

    @cached_property
    def activity(self) -> Activity:
        from pkgindex_core.services.administering.activity import Activity

        return Activity(store=self._stores.index, clock=self.context.clock)

    @cached_property
    def cataloguing(self) -> Cataloguing:
        from pkgindex_core.services.administering.cataloguing import Cataloguing

        return Cataloguing(
            store=self._stores.index,
            blobs=self._stores.blobs,
            catalogue=self.catalogue,
            workers=self.context.workers,
        )

    @cached_property
    def catalogue(self) -> SearchCatalogue:
        return self._offered.make_catalogue()

    async def close_catalogue(self) -> None:
        """Close the catalogue, if it was ever used."""
        if "catalogue" in self.__dict__:
            await self.catalogue.close()

    @cached_property
    def documentation(self) -> Documentation:
        from pkgindex_core.composition.documenting import make_documentation

        return make_documentation(self._stores, self._offered, self._shared, self.context)

    @cached_property
    def file_contents(self) -> FileContents:
        from pkgindex_core.composition.documenting import make_file_contents

        return make_file_contents(self._stores, self.context, files=self.files, locating=self.locating)

    @cached_property
    def sizing(self) -> Sizing:
        from pkgindex_core.composition.documenting import make_sizing

        return make_sizing(self.context, showing=self.showing, contents=self.file_contents)

    @cached_property
    def static_projects(self) -> StaticProjects:
        from pkgindex_core.composition.publishing import make_static_projects

        return make_static_projects(self._stores, self._offered, self._shared, self.context)

    @cached_property
    def static_sources(self) -> StaticSources:
        from pkgindex_core.composition.publishing import make_static_sources

        return make_static_sources(self._stores, self._shared)

    @cached_property
    def _describing(self) -> Describing:
        from pkgindex_core.composition.describing import make_describing

        return make_describing(
            self._stores,
            self._offered,
            self._shared,
            self.context,
            files=self.files,
            catalogue=self.catalogue,
            cataloguing=self.cataloguing,
        )

    @cached_property
    def _administering(self) -> Administering:
        from pkgindex_core.composition.administering import make_administering

        return make_administering(
            self._stores,
            self._offered,
            self._shared,
            self.context,
            self.settings,
            passwords=self.passwords,
            explaining=self.explaining,
        )

    @cached_property
    def _writing(self) -> Writing:
        from pkgindex_core.composition.writing import make_writing

        return make_writing(self._stores, self._shared, self._offered, self.context, self.settings)

    @cached_property
    def _moving(self) -> Moving:
        from pkgindex_core.composition.moving import make_moving

        return make_moving(self._stores, self._offered, self._shared, self.context, passwords=self.passwords)

    @cached_property
    def _mending(self) -> Mending:
        from pkgindex_core.composition.mending import make_mending

        return make_mending(self._stores, self._offered, self._shared, self.context)
