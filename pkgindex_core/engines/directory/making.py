"""Makes the source of directory indexes. A server without such an index loads nothing else of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkgindex_core.engines.directory.settings import read_settings
from pkgindex_core.engines.late_source import LateSource
from pkgindex_core.hookspecs import Context

if TYPE_CHECKING:
    from pkgindex_core.engines.directory.source import DirectorySource


async def make_source(context: Context) -> LateSource:
    """Make the source; `[plugins.directory]` holds its settings (`DirectorySettings`), which are checked at once."""
    settings = read_settings(context.settings)

    def make() -> DirectorySource:
        from pkgindex_core.engines.directory.source import DirectorySource

        return DirectorySource(context, settings)

    return LateSource(make)
