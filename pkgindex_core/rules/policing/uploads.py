"""Uploads as rules see them, and the rules that are about uploads alone. Pure, except that a rule may read the spooled archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    path: Path | None = None
    """The archive, if it is at hand. Read only."""
