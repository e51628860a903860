"""Makes the source of routed indexes. A server without such an index loads nothing else of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkgindex_core.engines.late_source import LateSource
from pkgindex_core.hookspecs import Context

if TYPE_CHECKING:
    from pkgindex_core.engines.routes.source import RoutesSource


async def make_source(context: Context) -> LateSource:
    """Make the source. The table `[plugins.routes]` is the server's."""

    def make() -> RoutesSource:
        from pkgindex_core.engines.directory.settings import DirectorySettings
        from pkgindex_core.engines.routes.source import RoutesSource

        return RoutesSource(context, DirectorySettings())

    return LateSource(make)
