"""What changes of releases and attachments do to their tables. No page shows either, so no standing is touched."""

from __future__ import annotations

from typing import Final

from pkgindex_core.changes import DropAttachment, DropRelease, PutAttachment, PutRelease
from pkgindex_core.engines import change_rules
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.errors import Missing
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.names import ProjectName

PACK_FROM: Final = 512
"""Bytes of an encoded release from which it is compressed; descriptions are long."""


def change_release(
    tables: Tables, index_id: int, change: PutRelease | DropRelease | PutAttachment | DropAttachment
) -> None:
    project = change.project
    held = tables.held(index_id, project)
    if held is None or not held.holds:
        raise Missing("project", project)
    match change:
        case PutRelease(release=release):
            version = canonical_version(release.version)
            tables.end("releases", "index_id = ? AND project = ? AND version = ?", (index_id, project, version))
            body = encode(release)
            packed = len(body) >= PACK_FROM
            tables.run(
                "INSERT INTO releases (index_id, project, version, born, died, packed, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    index_id,
                    project,
                    version,
                    tables.serial,
                    LIVE,
                    int(packed),
                    segments.compress(body) if packed else body,
                ),
            )
        case DropRelease(version=spelled):
            version = canonical_version(spelled)
            if not _has(tables, "releases", "version", index_id, project, version):
                raise Missing(change_rules.NOUNS["releases"], spelled)
            tables.end("releases", "index_id = ? AND project = ? AND version = ?", (index_id, project, version))
        case PutAttachment(attachment=attachment):
            digest = change_rules.attachment_digest(attachment)
            if attachment.about:
                _require(tables, "files", "filename", index_id, project, attachment.about)
            tables.end(
                "attachments", "index_id = ? AND project = ? AND filename = ?", (index_id, project, attachment.filename)
            )
            tables.run(
                "INSERT INTO attachments (index_id, project, filename, about, born, died, sha256, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    index_id,
                    project,
                    attachment.filename,
                    attachment.about,
                    tables.serial,
                    LIVE,
                    bytes.fromhex(digest),
                    encode(attachment),
                ),
            )
        case DropAttachment(filename=filename):
            _require(tables, "attachments", "filename", index_id, project, filename)
            tables.end("attachments", "index_id = ? AND project = ? AND filename = ?", (index_id, project, filename))


def has_attachment(tables: Tables, index_id: int, project: ProjectName, filename: str) -> bool:
    return _has(tables, "attachments", "filename", index_id, project, filename)


def drop_with_file(tables: Tables, index_id: int, project: ProjectName, filename: str) -> None:
    """What goes when a file goes."""
    tables.end("attachments", "index_id = ? AND project = ? AND about = ?", (index_id, project, filename))


def drop_with_project(tables: Tables, index_id: int, project: ProjectName) -> None:
    """What goes when a project goes."""
    for table in ("releases", "attachments"):
        tables.end(table, "index_id = ? AND project = ?", (index_id, project))


def _require(tables: Tables, table: str, column: str, index_id: int, project: ProjectName, name: str) -> None:
    if not _has(tables, table, column, index_id, project, name):
        raise Missing(change_rules.NOUNS[table], name)


def _has(tables: Tables, table: str, column: str, index_id: int, project: ProjectName, name: str) -> bool:
    sql = f"SELECT 1 FROM {table} WHERE index_id = ? AND project = ? AND {column} = ? AND died = ?"  # noqa: S608 - names are constants of this module
    return tables.row(sql, (index_id, project, name, LIVE)) is not None
