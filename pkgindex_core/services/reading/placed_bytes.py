"""Reads bytes of files on a local disk, also of such as others may change. Blocks: run it in a worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from pkgindex_core.errors import Removed, Unavailable
from pkgindex_core.protocols import Place
from pkgindex_core.protocols.sources import mark_of

Value = TypeVar("Value")


def use_file(place: Path | Place, use: Callable[[BinaryIO], Value]) -> Value:
    """The result of a function of the open file. Raises `Removed` for a file that is gone or was replaced."""
    try:
        with (place.path if isinstance(place, Place) else place).open("rb") as file:
            if isinstance(place, Place) and mark_of(os.fstat(file.fileno())) != place.mark:
                raise Removed
            return use(file)
    except FileNotFoundError as error:
        raise Removed from error
    except OSError as error:
        raise Unavailable(f"the file cannot be read: {error.strerror}") from error


def read_placed(place: Place, start: int, length: int) -> bytes:
    """A part of a file."""

    def read(file: BinaryIO) -> bytes:
        file.seek(start)
        return file.read(length)

    return use_file(place, read)
