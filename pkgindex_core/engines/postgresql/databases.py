"""The URL of a database, and connections to it.

    postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?sslmode=verify-full&search_path=SCHEMA

asyncpg reads the URL, and the usual variables (PGPASSWORD, PGPASSFILE, PGSSLROOTCERT …). Of several hosts the one that takes writes is used, unless
the URL has `target_session_attrs`. No statement has a name, so a pooler may give each transaction another connection to the server.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.urls import masked

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 30.0
"""Seconds after which a statement counts as lost. It may wait for a commit of another server."""
_SECRETS: Final = ("password", "sslpassword")


class Database(Struct, frozen=True):
    """One database. `name` is its URL without secrets and options, for messages."""

    url: str
    name: str

    async def connect(self) -> asyncpg.Connection[Any]:
        """Make a connection to a server that takes writes. Raises the errors of asyncpg and of the system."""
        return await asyncpg.connect(
            self.url,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=0,
            target_session_attrs=None if "target_session_attrs" in urlsplit(self.url).query else "read-write",
        )


def database_of(url: str) -> Database:
    """Read a URL. Raises `Refused`, without secrets, for one that names no database."""
    hidden = masked(url)  # also where the password has a sign that ends the host in a URL
    parts = urlsplit(hidden)
    options = {name for name, _ in parse_qsl(parts.query)}
    if options.intersection(_SECRETS):
        raise Refused(
            "the URL of the index database has a password among its options",
            hint="write postgresql://USER:PASSWORD@HOST/DATABASE, or set PGPASSWORD or PGPASSFILE",
        )
    name = parts.path.strip("/")
    if not name:
        raise Refused(
            f"{hidden!r} names no database",
            hint="write postgresql://USER@HOST:PORT/DATABASE; the password may stand in PGPASSWORD or in a password file",
        )
    return Database(url=url, name=f"{parts.netloc.rpartition('@')[2] or 'on this host'}/{name}")
