"""The directory that belongs to a server, and how an operator is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.urls import masked

PASSWORD_FILE: Final = "root-password"  # noqa: S105 - the name of a file
"""The generated password of `root`, until somebody changes it."""


def make_private(directory: Path) -> None:
    """Make the data directory, for this user only, unless it is there. `Refused` when it cannot be made."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(
            f"{directory.absolute()} cannot be the data directory: there is a file in its place",
            hint="name a directory with --data; it is made if need be",
        ) from error
    except OSError as error:
        raise Refused(
            f"the data directory {directory.absolute()} cannot be made: {error.strerror}",
            hint="choose one with --data that this user may write",
        ) from error


def place_of(settings: Settings) -> str:
    """Where both halves of the store are, without passwords."""
    return f"database: {masked(settings.store)}, files: {masked(settings.blobs)}"


def no_store(settings: Settings) -> Missing:
    """The error when there should be a store already."""
    data = Path(settings.data).absolute()
    return Missing(
        "store",
        str(data),
        message=f"there is no store in {data} (database: {masked(settings.store)})",
        hint="check --data, --store and the configuration; a store is made by"
        f" `pkgindex-serve run --data {data}`, or by `import`",
    )
