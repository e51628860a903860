"""The URL of a database, and connections to it.

    postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?sslmode=verify-full&search_path=SCHEMA

asyncpg reads the URL, and the usual variables (PGPASSWORD, PGPASSFILE, PGSSLROOTCERT …). Of several hosts the one that takes writes is used. No
statement has a name, so a pooler may give each transaction another connection to the server.
"""

from __future__ import annotations

import os
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


class Place(Struct, frozen=True):
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
            target_session_attrs=self._wanted(),
        )

    def _wanted(self) -> Any:
        says = "target_session_attrs" in urlsplit(self.url).query or "PGTARGETSESSIONATTRS" in os.environ
        return None if says else "read-write"


def place_of(url: str) -> Place:
    """Read a URL. Raises `Refused`, without secrets, for one that names no database."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    database = parts.path.strip("/") or options.get("dbname") or options.get("database")
    if not database:
        raise Refused(
            f"{masked(url)!r} names no database",
            hint="write postgresql://USER@HOST:PORT/DATABASE; the password may stand in PGPASSWORD or in a password file",
        )
    if any(secret in options for secret in _SECRETS):
        raise Refused(
            "the URL of the index database has a password among its options",
            hint="write postgresql://USER:PASSWORD@HOST/DATABASE, or set PGPASSWORD or PGPASSFILE",
        )
    hosts = parts.netloc.rpartition("@")[2] or options.get("host", "")
    return Place(url=url, name=f"{hosts or 'on this host'}/{database}")
