"""The data directory of a server, and messages about it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.urls import masked

PASSWORD_FILE: Final = "root-password"  # noqa: S105 - the name of a file
"""The file with the generated password of `root`, until that is changed."""
LISTS: Final = "lists"
"""The directory of long project lists, which the processes of a server share (`services.reading.list_files`). It may be removed at any time."""


def make_private(directory: Path) -> None:
    """Make the data directory, for this user only, unless it exists. Raises `Refused` if it cannot be made."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(
            f"{directory.absolute()} cannot be the data directory: it is a file, or below a file",
            hint="name a directory with --data; it is made if it is missing",
        ) from error
    except OSError as error:
        raise Refused(
            f"the data directory {directory.absolute()} cannot be made: {error.strerror}",
            hint="name a directory with --data that this user may write",
        ) from error


def place_of(settings: Settings) -> str:
    """The URLs of both halves of the store, without passwords."""
    return f"database: {masked(settings.store)}, files: {masked(settings.blobs)}"


def no_store(settings: Settings) -> Missing:
    """The error for a command that needs an existing store."""
    data = Path(settings.data).absolute()
    return Missing(
        "store",
        str(data),
        message=f"there is no store in {data} (database: {masked(settings.store)})",
        hint="check --data, --store and the configuration; to make a new store use"
        f" `pkgindex-serve run --data {data}`, `import` or `restore`",
    )
