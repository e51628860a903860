"""What changes of hosted projects do to the tables: files with a past, standings with a past, tombstones."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pkgindex_core.changes import DropFile, DropProject, PutFile, PutProject, YankFile
from pkgindex_core.engines import change_rules
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.releases import drop_with_file, drop_with_project
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.errors import Missing
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, PageHead, decode_file
from pkgindex_core.names import ProjectName


class _LiveFile(Struct, frozen=True):
    """The live row of `files`."""

    id: int
    project: ProjectName
    born: int
    sha256: bytes


def change_hosted(
    tables: Tables, index_id: int, change: PutProject | DropProject | PutFile | DropFile | YankFile
) -> None:
    project = change.project
    standing = tables.held(index_id, project)
    held = standing if standing is not None and standing.holds else None
    match change:
        case PutProject(head=head):
            tables.stand(index_id, project, standing, head, held.file_count if held else 0)
        case DropProject():
            if held is None:
                raise Missing("project", project)
            tables.run(
                "REPLACE INTO tombstones (index_id, filename, project, sha256)"
                " SELECT index_id, filename, project, sha256 FROM files WHERE index_id = ? AND project = ? AND died = ?",
                (index_id, project, LIVE),
            )
            tables.end("files", "index_id = ? AND project = ?", (index_id, project))
            drop_with_project(tables, index_id, project)
            tables.stand(index_id, project, standing, None, 0)
        case PutFile(file=file):
            change_rules.hosted_digest(file)
            name = file.filename
            live = live_file(tables, index_id, name)
            holder = live.project if live else tombstone(tables, index_id, name)
            change_rules.one_project(name, project, holder or project, change.index)
            tables.run("DELETE FROM tombstones WHERE index_id = ? AND filename = ?", (index_id, name))
            if live is not None and live.sha256.hex() != file.sha256:
                drop_with_file(tables, index_id, project, name)
            _put_file(tables, index_id, project, file, live)
            head = held.head if held else PageHead(display_name=change.display_name)
            count = (held.file_count if held else 0) + (live is None)
            tables.stand(index_id, project, standing, head, count)
        case DropFile(filename=name):
            live = live_file(tables, index_id, name)
            if held is None or live is None or live.project != project:
                raise Missing("file", name)
            _close_file(tables, live)
            tables.run(
                "REPLACE INTO tombstones (index_id, filename, project, sha256) VALUES (?, ?, ?, ?)",
                (index_id, name, project, live.sha256),
            )
            drop_with_file(tables, index_id, project, name)
            tables.stand(index_id, project, standing, held.head, held.file_count - 1)
        case YankFile(filename=name, yanked=yanked):
            live = live_file(tables, index_id, name)
            if held is None or live is None or live.project != project:
                raise Missing("file", name)
            (body,) = tables.row("SELECT body FROM files WHERE id = ?", (live.id,)) or (b"",)
            _put_file(tables, index_id, project, msgspec.structs.replace(decode_file(body), yanked=yanked), live)
            tables.stand(index_id, project, standing, held.head, held.file_count)


def live_file(tables: Tables, index_id: int, filename: str) -> _LiveFile | None:
    row = tables.row(
        "SELECT id, project, born, sha256 FROM files WHERE index_id = ? AND filename = ? AND died = ?",
        (index_id, filename, LIVE),
    )
    return _LiveFile(*row) if row else None


def tombstone(tables: Tables, index_id: int, filename: str) -> ProjectName | None:
    row = tables.row("SELECT project FROM tombstones WHERE index_id = ? AND filename = ?", (index_id, filename))
    return ProjectName(row[0]) if row else None


def _put_file(tables: Tables, index_id: int, project: ProjectName, file: File, live: _LiveFile | None) -> None:
    if live is not None:
        _close_file(tables, live)
    row = page_row(file)
    metadata = bytes.fromhex(file.metadata_sha256) if file.metadata_sha256 else None
    tables.run(
        "INSERT INTO files (index_id, project, filename, born, died, sha256, metadata_sha256, version, fragment, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            index_id,
            project,
            file.filename,
            tables.serial,
            LIVE,
            bytes.fromhex(change_rules.hosted_digest(file)),
            metadata,
            row.version,
            row.fragment,
            row.body,
        ),
    )


def _close_file(tables: Tables, live: _LiveFile) -> None:
    if live.born == tables.serial:
        tables.run("DELETE FROM files WHERE id = ?", (live.id,))
    else:
        tables.run("UPDATE files SET died = ? WHERE id = ?", (tables.serial, live.id))
