"""Mirrored pages in one piece, each stored once under the sha256 of its bytes (table `pages`).

    log       ─► names the page of a change by its digest. Such a page is never dropped, since the log can be replayed.
    standing  ─► points at the page that a project has or had. `uses` counts them; the page is dropped with the last one.

So the first page of a project is written once. A page that a difference has made is not in the log, and is dropped with its last standing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import apsw

from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.tables import Tables


def log(tables: Tables, digests: Mapping[bytes, bytes]) -> None:
    """Store the pages of a commit; they are never dropped."""
    tables.logged = {kept: _stored(tables, digest, None, kept) for kept, digest in digests.items()}


def point_at(tables: Tables, kept: bytes) -> int:
    """Store a page for a standing that will point at it; returns its number."""
    logged = tables.logged.get(kept)
    return _stored(tables, sha256(kept).digest(), 1, kept) if logged is None else logged


def _stored(tables: Tables, digest: bytes, uses: int | None, kept: bytes) -> int:
    """Store a page or add to its uses, and return its number. None: the page is never dropped, and its uses are not counted."""
    ((page,),) = tables.rows(
        "INSERT INTO pages (digest, uses, kept) VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET uses = uses + excluded.uses RETURNING id",
        (digest, uses, kept),
    )
    number: int = page
    return number


def point_again(tables: Tables, index_id: int, project: str) -> int:
    """Count another standing that points at the page of a project; returns the page's number."""
    ((page,),) = tables.rows(
        "UPDATE pages SET uses = uses + 1 WHERE id = (SELECT page FROM standings WHERE index_id = ? AND project = ? AND died = ?)"
        " RETURNING id",
        (index_id, project, LIVE),
    )
    number: int = page
    return number


def let_go(tables: Tables, condition: str, bindings: Sequence[apsw.SQLiteValue]) -> None:
    """Drop the pages at which only these standings point. The caller changes the standings next. `condition` is a constant."""
    pointed = f"FROM standings WHERE {condition} AND page > 0"
    counted = f"SELECT page, count(*) AS uses {pointed} GROUP BY page"
    tables.run(
        f"UPDATE pages SET uses = pages.uses - gone.uses FROM ({counted}) AS gone WHERE id = gone.page AND pages.uses > 0",  # noqa: S608 - conditions are constants of this package
        bindings,
    )
    tables.run(f"DELETE FROM pages WHERE uses = 0 AND id IN (SELECT page {pointed})", bindings)  # noqa: S608 - as above
