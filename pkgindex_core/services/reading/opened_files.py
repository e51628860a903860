"""The results of opening a file: stored bytes, bytes that are being fetched, or another URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, ColdFile, Place, SignedUrl, Span
from pkgindex_core.protocols.sources import FilePart


class StoredContent(Struct, frozen=True, kw_only=True):
    """The bytes of a file in the blob store or at a place of its source, and the fastest way to them."""

    project: ProjectName
    file: File
    blob: Blob
    place: Path | Place | SignedUrl | None
    """A local path, one whose file others may change, a URL to redirect to, or None: use `Files.read`."""
    public: bool
    """Whether anonymous clients may have it, so that shared caches may keep it."""
    warnings: tuple[str, ...] = ()
    """The warnings of filters, a sentence each."""


class ArrivingContent(Struct, frozen=True, kw_only=True):
    """The bytes of a file that is being fetched."""

    project: ProjectName
    file: File
    arriving: ColdFile
    public: bool
    warnings: tuple[str, ...] = ()
    """The warnings of filters, a sentence each."""


class PartContent(Struct, frozen=True, kw_only=True):
    """A part of a file that is not stored, or its size."""

    project: ProjectName
    file: File
    part: FilePart
    public: bool
    """Whether anonymous clients may have it, so that shared caches may keep it."""
    warnings: tuple[str, ...] = ()
    """The warnings of filters, a sentence each."""


class ElsewhereFile(Struct, frozen=True, kw_only=True):
    """A file that clients fetch from another URL."""

    project: ProjectName
    file: File
    url: str
    warnings: tuple[str, ...] = ()
    """The warnings of filters, a sentence each."""


PartOf = Callable[[File, int], Span | None]
"""The part of a file of so many bytes that a client wants, as `protocols.sources.Wanted`."""

OpenedPart = PartContent | StoredContent | ArrivingContent | ElsewhereFile
OpenedFile = StoredContent | ArrivingContent | ElsewhereFile
