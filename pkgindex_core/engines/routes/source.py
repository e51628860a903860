"""`RoutesSource`, the `Source` of indexes of the type `routes`: the projects that their routes take from folders.

Like files in a directory index, these are the index's own, and have digests, metadata and a history. What routes take from elsewhere is in bases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.directory.root import Root
from pkgindex_core.engines.directory.settings import DirectorySettings
from pkgindex_core.engines.directory.source import DirectorySource
from pkgindex_core.engines.routes.folders_root import FoldersRoot
from pkgindex_core.errors import BadUpstream
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols import Source
from pkgindex_core.rules.routing import IndexRoutes, RoutesOf


class RoutesSource(DirectorySource):
    """The directory engine, with a `FoldersRoot` for each index."""

    JOURNAL: ClassVar[str] = "routes.journal"

    def __init__(self, context: Context, settings: DirectorySettings) -> None:
        super().__init__(context, settings)
        self._routes_of = RoutesOf()

    def _roots_of(self, config: IndexConfig) -> tuple[str, ...]:
        routes = self._routes(config)
        rules = msgspec.json.encode([(rule.pattern, rule.folder) for rule in routes.rules])
        return (f"{config.name}:{sha256_of(rules)}",)

    def _make_root(self, name: str, config: IndexConfig) -> Root:
        root = FoldersRoot(
            name,
            self._routes(config),
            index=config.name,
            workers=self._context.workers,
            clock=self._context.clock,
            poll_seconds=self._settings.poll_seconds,
        )
        self._roots[name] = root
        return root

    def _routes(self, config: IndexConfig) -> IndexRoutes:
        routes = self._routes_of(config)
        if routes is None:
            raise BadUpstream(f"{config.name} has no routes", hint="set routes, below the user root")
        return routes


if TYPE_CHECKING:
    _: type[Source] = RoutesSource
