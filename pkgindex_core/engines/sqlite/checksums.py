"""Checksums of the database's pages: reading a page that was damaged on the disk is an error, not a wrong answer.

SQLite itself does not notice such damage: a changed bit in the name of a hosted project makes it unknown, so that its files come from an
upstream. The file system `cksmvfs`, an extension in apsw's wheels, writes a checksum of 8 bytes at the end of each page, and compares it
when the page is read. It ignores databases without these bytes, so each connection uses it. New databases have the bytes; older ones
get them with `renew_checksums`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import apsw

from pkgindex_core.errors import Refused

CHECKSUM_BYTES: Final = 8
_EXTENSION: Final = str(Path(apsw.__file__).parent / "sqlite_extra_binaries" / "cksumvfs")
"""Where `apsw.sqlite_extra` finds it, which is not loaded: it takes 3 ms. SQLite adds the ending of the platform."""
_FILE_SYSTEM: Final = "cksmvfs"
_RESERVED_OFFSET: Final = 20
"""https://sqlite.org/fileformat.html 1.3: "Bytes of unused "reserved" space at the end of each page. Usually 0." """


@cache
def file_system() -> str | None:
    """The name of the file system that compares checksums; None when this apsw does not have it."""
    usual = apsw.vfs_names()[0]
    loader = apsw.Connection(":memory:")
    loader.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1)
    try:
        loader.load_extension(_EXTENSION)
    except apsw.Error:
        return None
    finally:
        loader.close()
    apsw.set_default_vfs(usual)  # the extension had made itself the default for the whole program
    return _FILE_SYSTEM


def have_checksums(connection: apsw.Connection) -> None:
    """Make a new database reserve room for checksums. Has no effect on a database with pages."""
    if file_system() is not None and connection.pragma("page_count") == 0:
        connection.reserve_bytes(reserve=CHECKSUM_BYTES)


def renew_checksums(connection: apsw.Connection) -> None:
    """Rewrite every page with a checksum, also in a database that had none.

    Fails while another connection is open, because it leaves WAL mode.
    """
    if file_system() is None:
        return
    connection.pragma("checksum_verification", False)
    connection.pragma("journal_mode", "delete")
    connection.reserve_bytes(reserve=CHECKSUM_BYTES)
    connection.execute("VACUUM")
    connection.pragma("checksum_verification", True)


def require_comparing(path: Path) -> None:
    """Refuse a database with checksums if this apsw cannot write them: changed pages would look damaged to others."""
    if file_system() is not None:
        return
    with path.open("rb") as file:
        header = file.read(_RESERVED_OFFSET + 1)
    if header[_RESERVED_OFFSET:] == bytes([CHECKSUM_BYTES]):
        raise Refused(
            f"{path} has page checksums, which this installation of apsw cannot write",
            hint="install apsw from its wheel, which has the extension cksumvfs: pip install --force-reinstall apsw",
        )
