"""The versions of one project, and which of them fit which targets. Pure.

Versions are numbered from the oldest to the newest. Sets of versions are bit masks: bit n stands for version n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal

from msgspec import Struct
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from pkgindex_core.formats.filenames import kind_of, sdist_ending, version_in
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.install_targets import TargetSet

SdistPolicy = Literal["needed", "always", "never"]
"""When source distributions are wanted: for targets without a fitting wheel, for all targets, or never."""
_SDIST_ORDER: Final = (".tar.gz", ".zip")
"""Of several source distributions of a version one is taken, by its ending."""


class Candidate(Struct, frozen=True):
    """A file that an installer may choose."""

    file: File
    is_wheel: bool
    mask: int
    """The targets for which it fits."""


class CandidateVersion(Struct, frozen=True):
    """A version with its files."""

    version: Version
    files: tuple[Candidate, ...]
    sibling: File | None = None
    """A wheel for other targets. Its metadata says what a source distribution does not say."""

    def available(
        self, mask: int, *, pinned: int, sdists: SdistPolicy, refuted: Mapping[str, int]
    ) -> dict[str, tuple[Candidate, int]]:
        """The files for targets, each with the targets for which it is taken.

        `pinned`: the targets on which a requirement pins the version. `refuted`: by filename, the targets that its own metadata exclude.
        """
        taken: dict[str, tuple[Candidate, int]] = {}
        fits = {
            each.file.filename: each.mask & mask & _usable(each, pinned) & ~refuted.get(each.file.filename, 0)
            for each in self.files
        }
        left = mask
        for each in self.files:
            if each.is_wheel and (found := fits[each.file.filename]):
                taken[each.file.filename] = each, found
                left &= ~found
        wanted = {"needed": left, "always": mask, "never": 0}[sdists]
        for each in self.files:
            if not each.is_wheel and (found := fits[each.file.filename] & wanted):
                taken[each.file.filename] = each, found
                wanted &= ~found
        return taken


def _usable(candidate: Candidate, pinned: int) -> int:
    """PEP 592: a yanked file is only for a requirement that pins its version."""
    return -1 if candidate.file.yanked is False else pinned


class Candidates:
    """All versions of a project, from the files of its page."""

    def __init__(
        self,
        project: ProjectName,
        files: Iterable[File],
        targets: TargetSet,
        *,
        sdists: SdistPolicy = "needed",
        constraint: SpecifierSet | None = None,
    ) -> None:
        """`constraint`: versions that it does not admit are left out."""
        self.versions: tuple[CandidateVersion, ...] = tuple(
            CandidateVersion(version, tuple(sorted((each for each in found if each.mask), key=_order)), _sibling(found))
            for version, found in sorted(_by_version(project, files, targets, sdists).items())
            if any(each.mask for each in found)
            and (constraint is None or constraint.contains(version, prereleases=True))
        )
        self.fitting = self._fitting(targets, yanked=False)
        """For each target, the versions with a file that fits and is not yanked."""
        self.withdrawn = self._fitting(targets, yanked=True)
        """The same for yanked files."""
        self.finals = sum(1 << number for number, each in enumerate(self.versions) if not each.version.is_prerelease)

    def admitted(self, specifier: SpecifierSet) -> int:
        """The versions that a specifier admits, pre-releases among them."""
        return sum(
            1 << number
            for number, each in enumerate(self.versions)
            if specifier.contains(each.version, prereleases=True)
        )

    def _fitting(self, targets: TargetSet, *, yanked: bool) -> Sequence[int]:
        found = [0] * len(targets.targets)
        for number, version in enumerate(self.versions):
            mask = 0
            for each in version.files:
                if (each.file.yanked is not False) == yanked:
                    mask |= each.mask
            for target in range(len(found)):
                found[target] |= (mask >> target & 1) << number
        return found


def _by_version(
    project: ProjectName, files: Iterable[File], targets: TargetSet, sdists: SdistPolicy
) -> dict[Version, list[Candidate]]:
    found: dict[Version, list[Candidate]] = {}
    for file in files:
        candidate = _candidate(file, targets)
        if candidate is None or (sdists == "never" and not candidate.is_wheel):
            continue
        # Installers pass over versions that PEP 440 does not know.
        with suppress(InvalidVersion):
            found.setdefault(Version(version_in(file.filename, project)), []).append(candidate)
    return found


def _sibling(found: Iterable[Candidate]) -> File | None:
    wheels = [each.file for each in found if each.is_wheel and not each.mask]
    return min(wheels, key=lambda each: (each.metadata_sha256 is None, each.size or 0, each.filename), default=None)


def _candidate(file: File, targets: TargetSet) -> Candidate | None:
    """A wheel or a source distribution; None for files of other kinds, which installers do not take."""
    kind = kind_of(file.filename)
    if kind == "wheel":
        parts = file.filename[: -len(".whl")].rsplit("-", 3)
        fits = targets.fitting("-".join(parts[1:])) if len(parts) == 4 else 0
        return Candidate(file, True, fits & targets.permitting(file.requires_python))
    if kind == "sdist" and sdist_ending(file.filename):
        return Candidate(file, False, targets.permitting(file.requires_python))
    return None


def _order(candidate: Candidate) -> tuple[int, str]:
    ending = sdist_ending(candidate.file.filename)
    return _SDIST_ORDER.index(ending) if ending in _SDIST_ORDER else len(_SDIST_ORDER), candidate.file.filename
