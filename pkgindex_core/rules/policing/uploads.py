"""Uploads as rules see them. Pure, except that a rule may ask for the names in a wheel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName


class PolicedUpload(Struct, frozen=True, kw_only=True):
    """A file on its way into an index."""

    index: IndexName
    project: ProjectName
    file: File
    """With its sha256 and size."""
    release: Sequence[File]
    """The files of its release that are there."""
    metadata: bytes = b""
    """The METADATA or PKG-INFO of the archive; empty if it has none, or is not at hand."""
    members: Callable[[], Sequence[str]] | None = None
    """Reads the names in a wheel, once for all rules; None for other files. Raises `Refused` if the wheel cannot be read."""
