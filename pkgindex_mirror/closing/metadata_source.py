"""The role of a source of metadata: what a closure asks about projects and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.version_facts import VersionFacts


class MetadataSource(Protocol):
    """Pages and metadata of an index. Raises `Unavailable` when an answer is not known now; unknown is never absent."""

    async def page(self, project: ProjectName) -> Sequence[File] | None:
        """The files of a project; None: there is no such project."""
        ...

    async def facts(self, project: ProjectName, file: File) -> VersionFacts:
        """The needs of a wheel or a source distribution. If they can never be read, `VersionFacts.unknown` says why."""
        ...
