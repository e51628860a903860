"""Every catalogue passes the contract suite."""

from __future__ import annotations

from pkgindex_core.engines.memory.catalogue import MemoryCatalogue
from pkgindex_core.engines.sqlite.catalogue import FILE, SqliteCatalogue
from pkgindex_core.protocols.catalogue import Catalogue
from pkgindex_core.testing.catalogue import CatalogueContract


class TestMemoryCatalogue(CatalogueContract):
    survives_reopening = False

    async def open_catalogue(self) -> Catalogue:
        return MemoryCatalogue()


class TestSqliteCatalogue(CatalogueContract):
    async def open_catalogue(self) -> Catalogue:
        return SqliteCatalogue(self.directory / FILE)
