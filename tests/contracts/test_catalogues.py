"""Every catalogue passes the contract suite."""

from __future__ import annotations

from pkgindex_core.engines.memory.catalogue import MemoryCatalogue
from pkgindex_core.engines.sqlite.catalogue import FILE, SqliteCatalogue
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.testing.catalogue import SearchCatalogueContract


class TestMemoryCatalogue(SearchCatalogueContract):
    survives_reopening = False

    async def open_catalogue(self) -> SearchCatalogue:
        return MemoryCatalogue()


class TestSqliteCatalogue(SearchCatalogueContract):
    async def open_catalogue(self) -> SearchCatalogue:
        return SqliteCatalogue(self.directory / FILE)
