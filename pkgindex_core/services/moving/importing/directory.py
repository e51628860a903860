"""The directory of a dump: its index mapped into memory, its files opened by the names the index gives, and no others.

A name leads to a regular file inside the directory or nowhere: the index is data, and data from elsewhere. Blocking.

Mapped, because the index may be larger than memory. Whoever cuts the file off meanwhile ends the process (SIGBUS), which is as safe as
any other end: an import goes on when it is run again.
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
    """What devpi-export wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def index(self) -> Iterator[mmap.mmap]:
        """The bytes of dataindex.json; only what is looked at is read."""
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
        """A file of the dump, or why there is none."""
        parts = relpath.split("/")
        if not relpath.isprintable() or any(part in {"", ".", ".."} for part in parts):
            return "its place in the dump is no path"
        path = self.path.joinpath(*parts)
        try:
            if not path.resolve(strict=True).is_relative_to(self.path.resolve(strict=True)):
                return "it lies outside of the dump"
            if not path.is_file():
                return "it is no file in the dump"
            return path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return "it is not in the dump"
        except OSError as error:
            if error.errno in {errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}:
                return f"it cannot be read: {error.strerror}"
            raise Unavailable(f"the dump cannot be read: {error.strerror}", hint="see to its disk") from error
