"""Checksums of the database's pages: a page that the disk has changed is an error when it is read, not another answer.

SQLite believes what it reads. A changed bit in a row was served as a page that is no JSON, and one in a project's name made that
name unknown, so that it was asked of the upstream. The file system `cksmvfs`, an extension that apsw ships, keeps 8 bytes at the end of
each page for a checksum, writes them and compares them. It leaves databases without these bytes alone, so it is used for
each connection; a database gets the bytes when it is made, and an older one stays as it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import apsw

from pkgindex_core.errors import Refused

CHECKSUM_BYTES: Final = 8
_FILE_SYSTEM: Final = "cksmvfs"
_RESERVED_OFFSET: Final = 20
"""https://sqlite.org/fileformat.html 1.3: "Bytes of unused "reserved" space at the end of each page. Usually 0." """


@cache
def file_system() -> str | None:
    """The name of the file system that compares checksums; None when this apsw does not have it."""
    from apsw import sqlite_extra

    usual = apsw.vfs_names()[0]
    loader = apsw.Connection(":memory:")
    try:
        sqlite_extra.load(loader, "cksumvfs")
    except (sqlite_extra.NotAvailable, apsw.Error, OSError):
        return None
    finally:
        loader.close()
    apsw.set_default_vfs(usual)  # it made itself the default of every other connection in this program
    return _FILE_SYSTEM


def have_checksums(connection: apsw.Connection) -> None:
    """Give a database that has no page yet room for checksums; another one stays as it is."""
    if file_system() is not None and connection.pragma("page_count") == 0:
        connection.reserve_bytes(reserve=CHECKSUM_BYTES)


def renew_checksums(connection: apsw.Connection) -> None:
    """Write every page again with its checksum, or a database without checksums with room for them.

    For one connection alone: the write-ahead log is left, which fails while another connection is open.
    """
    if file_system() is None:
        return
    connection.pragma("checksum_verification", False)
    connection.pragma("journal_mode", "delete")
    connection.reserve_bytes(reserve=CHECKSUM_BYTES)
    connection.execute("VACUUM")
    connection.pragma("checksum_verification", True)


def require_comparing(path: Path) -> None:
    """Refuse a database with checksums where they could not be written: each page that a commit changes would look damaged."""
    if file_system() is not None:
        return
    with path.open("rb") as file:
        header = file.read(_RESERVED_OFFSET + 1)
    if header[_RESERVED_OFFSET:] == bytes([CHECKSUM_BYTES]):
        raise Refused(
            f"{path} has page checksums, which this installation of apsw cannot write",
            hint="install apsw from its wheel, which has the extension cksumvfs: pip install --force-reinstall apsw",
        )
