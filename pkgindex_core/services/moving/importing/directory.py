"""The directory of a devpi dump: its index, mapped into memory, and the files that the index names.

The index is untrusted: a name opens only a regular file inside the directory. Blocking.

The index is mapped because it may be larger than memory. If another program truncates it meanwhile, the process dies (SIGBUS).
That is as safe as any other death: the import can be run again.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pkgindex_core.errors import Refused, Unavailable

INDEX: Final = "dataindex.json"


class DevpiDirectory:
    """A directory that devpi-export wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def index(self) -> Iterator[mmap.mmap]:
        """Map dataindex.json. Bytes are read from disk when they are used."""
        try:
            with (self.path / INDEX).open("rb") as stream:
                if not os.fstat(stream.fileno()).st_size:
                    raise Refused(f"{self.path / INDEX} is empty", hint="was the export finished?")
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    yield mapped
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused(
                f"{self.path} has no {INDEX}", hint="name the directory that `devpi-export DIR` has written to its end"
            ) from error
        except (PermissionError, IsADirectoryError) as error:
            raise Refused(f"{self.path / INDEX} cannot be read: {error.strerror}") from error

    def open(self, relpath: str) -> BinaryIO | str:
        """Open a file of the dump; returns the reason if that is not possible."""
        parts = relpath.split("/")
        if not relpath.isprintable() or any(part in {"", ".", ".."} for part in parts):
            return "its path in the dump is invalid"
        path = self.path.joinpath(*parts)
        try:
            if not path.resolve(strict=True).is_relative_to(self.path.resolve(strict=True)):
                return "its path leads out of the dump"
            if not path.is_file():
                return "it is not a regular file"
            return path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return "the dump does not have it"
        except OSError as error:
            if error.errno in {errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}:
                return f"it cannot be read: {error.strerror}"
            raise Unavailable(
                f"the dump cannot be read: {error.strerror}", hint="check the disk of the dump"
            ) from error
