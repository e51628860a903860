"""The results of uploads. They are apart from the services, so that code that only reports them imports no service."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.errors import Conflict
from pkgindex_core.models import Attachment, File
from pkgindex_core.names import IndexName, ProjectName


class Published(Struct, frozen=True, kw_only=True):
    """The result of an upload of a file."""

    index: IndexName
    project: ProjectName
    file: File
    created: bool
    """False: the same bytes were there already, and nothing changed."""
    warnings: tuple[str, ...] = ()


class PublishedDocumentation(Struct, frozen=True, kw_only=True):
    """The result of an upload of documentation."""

    index: IndexName
    project: ProjectName
    attachment: Attachment
    created: bool
    """False: the same bytes were there already, and nothing changed."""
    warnings: tuple[str, ...] = ()


class Registered(Struct, frozen=True, kw_only=True):
    """The result of a registration."""

    index: IndexName
    project: ProjectName
    version: str
    created: bool
    """False: the same metadata was stored already, or files give it; nothing changed."""
    warnings: tuple[str, ...] = ()


UploadOutcome = Published | PublishedDocumentation | Registered


class DocumentationTaken(Conflict):
    """The version has other documentation, and the index is not volatile."""
