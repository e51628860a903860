"""Finds the index of a file by its name alone, as in PyPI's URLs of files.

The layers and their order are those of the page of the file's project. The rules of the found index apply when a client then asks
for the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.package_paths import package_directories
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, PageFilter, Principal, Projects
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.finding import CANDIDATES
from pkgindex_core.services.reading.release_files import ReleaseFiles
from pkgindex_core.services.reading.resolving import Resolving


class Locating:
    """Finds files by name."""

    def __init__(
        self,
        *,
        store: Projects,
        resolving: Resolving,
        filters: Mapping[str, PageFilter],
        release_files: ReleaseFiles,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._filters = filters
        self._release_files = release_files
        self._clock = clock

    async def locate(
        self,
        start: IndexName,
        filename: str,
        *,
        principal: Principal,
        project: ProjectName | None = None,
        directory: str | None = None,
    ) -> tuple[IndexName, File]:
        """The file that the page of its project lists under this name, and its index.

        Without `project`, the candidates are read from the filename. `directory` is the part of the file's path that names its bytes (see
        `formats.package_paths`); a file with other bytes is `Missing`. Raises `Unavailable` when a mirror that may have the file
        cannot be asked.
        """
        doubt: Unavailable | None = None
        for candidate in (project,) if project else candidate_projects(filename)[:CANDIDATES]:
            resolution = await self._resolving.resolve(start, candidate, principal)
            try:
                resolution.require_needed()
            except Unavailable as error:
                doubt = doubt or error
                continue
            for layer in resolution.offering:
                file = await self._store.file(layer.index, candidate, filename)
                if file is None:
                    continue
                if directory is None or directory in package_directories(file):
                    await self._shown(resolution, layer.index, file)
                    return layer.index, file
                break  # the page lists other bytes under this name, which hide the file of a lower layer
            doubt = doubt or next((layer.failure for layer in resolution.layers if layer.failure is not None), None)
            if any(not layer.config.mirrored for layer in resolution.shown):
                break  # a private project has the file: an upstream must not learn the other candidates
        if doubt is not None:
            raise doubt
        raise Missing("file", filename)

    async def _shown(self, resolution: Resolution, origin: IndexName, file: File) -> None:
        """Raise `Missing` if the page does not show the file."""
        filters = applying(self._filters, resolution.tree, resolution.start)
        build = Build(
            tree=resolution.tree,
            start=resolution.start,
            project=resolution.project,
            moment=self._clock.now(),
            release=await self._release_files.of(filters, origin, resolution.project),
        )
        reasons = why_hidden(origin, file, filters, build)
        if reasons:
            raise Missing("file", file.filename, hint=f"it is hidden: {reasons[0].said}")
