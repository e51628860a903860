"""Removing the directories that the removal of a file has left empty. Blocks."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def remove_emptied(place: Path, *, below: Collection[Path]) -> None:
    """Remove the directories above a removed file, as long as they are empty, up to one of `below`, which stays."""
    for directory in place.parents:
        if directory in below:
            return
        try:
            directory.rmdir()
        except FileNotFoundError:
            continue  # another removal was faster
        except OSError:
            return  # something is left in it
