"""The exact files that lock files name, and what builds those of them that are source distributions."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.formats.filenames import kind_of, version_in
from pkgindex_core.formats.versions import canonical_version, is_pep440
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.candidates import Candidates
from pkgindex_mirror.closing.closure import Asker, ClosedFile, Unmet
from pkgindex_mirror.closing.fixed_point import FixedPoint
from pkgindex_mirror.closing.install_targets import positions
from pkgindex_mirror.prefetching.wanted import Wanted


class LockedProject:
    """The locked files of one project."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, ClosedFile]] = {}
        """By version and filename."""
        self.where: dict[str, dict[tuple[str, str], None]] = {}
        """By version, the requirement and the place that locks it."""


class Locking:
    """The work on the locked part of a closure."""

    def __init__(self, point: FixedPoint, *, whole: bool) -> None:
        """`whole`: all locked files are wanted, also those for other targets."""
        self.projects: dict[ProjectName, LockedProject] = {}
        self.unmet: list[Unmet] = []
        self._point = point
        self._whole = whole

    async def lock(self, wanted: Wanted) -> None:
        """Find the files of one entry of a lock file."""
        targets = self._point.targets
        mask = 0
        for extra in ("", *sorted(wanted.choices)):
            mask |= targets.holding(wanted.marker, extra, wanted.choices)
        if not mask and not self._whole:
            return
        listed = await self._point.page(wanted.project)
        found = [file for file in listed or () if _is_locked(file, wanted)]
        lost = sorted(wanted.filenames - {file.filename for file in found})
        if listed is None or not found or (lost and self._whole):
            self._miss(wanted, mask, missing=listed is None, lost=lost)
        taken: dict[str, int] = {}
        for version in Candidates(wanted.project, found, targets, sdists=self._point.sdists).versions:
            for filename, (candidate, fits) in version.available(
                mask, pinned=mask, sdists=self._point.sdists, refuted={}
            ).items():
                taken[filename] = fits
                if not candidate.is_wheel:
                    await self._point.build(wanted.project, candidate.file, fits)
        self._keep(wanted, [file for file in found if self._whole or file.filename in taken], taken)
        covered = 0
        for fits in taken.values():
            covered |= fits
        if found and mask & ~covered and not self._whole:
            self._miss(wanted, mask & ~covered, missing=False, lost=[])

    def _keep(self, wanted: Wanted, files: Sequence[File], taken: dict[str, int]) -> None:
        for file in files:
            version = canonical_version(version_in(file.filename, wanted.project), strip_zeros=False)
            project = self.projects.setdefault(wanted.project, LockedProject())
            project.files.setdefault(version, {})[file.filename] = ClosedFile(
                filename=file.filename,
                sha256=file.sha256 or "",
                size=file.size,
                targets=positions(taken.get(file.filename, 0)),
            )
            project.where.setdefault(version, {})[wanted.shown, wanted.where] = None

    def _miss(self, wanted: Wanted, mask: int, *, missing: bool, lost: Sequence[str]) -> None:
        requirement = f"{wanted.shown} ({', '.join(lost)})" if lost else wanted.shown
        self.unmet.append(
            Unmet(
                project=wanted.project,
                requirement=requirement,
                askers=(Asker(where=wanted.where),),
                targets=positions(mask),
                missing=missing,
            )
        )


def _is_locked(file: File, wanted: Wanted) -> bool:
    digest = file.sha256
    if wanted.filenames:
        return file.filename in wanted.filenames and (not wanted.sha256s or not digest or digest in wanted.sha256s)
    if wanted.sha256s and digest:
        return digest in wanted.sha256s
    version = version_in(file.filename, wanted.project)
    is_installable = kind_of(file.filename) in {"wheel", "sdist"} and is_pep440(version)
    return is_installable and wanted.specifier.contains(version, prereleases=True)
