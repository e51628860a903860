"""Opens the store of a `postgresql://` URL. A start without one loads nothing else of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context

if TYPE_CHECKING:
    from pkgindex_core.engines.postgresql.index import PostgresqlIndex


async def open_postgresql(url: str, context: Context) -> PostgresqlIndex:
    """Open `postgresql://USER@HOST:PORT/DATABASE`; makes or migrates the schema if needed."""
    try:
        from pkgindex_core.engines.postgresql.index import PostgresqlIndex
    except ImportError as error:
        raise Refused(
            f"an index store in PostgreSQL needs a package that is not installed: {error.name}",
            hint="install the server with its extra `postgres`: pip install 'pkgindex[postgres]'",
        ) from error
    return await PostgresqlIndex.open(url, context.clock, may_create=context.may_create)
