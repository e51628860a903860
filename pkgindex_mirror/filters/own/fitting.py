"""Keeps the files that some wanted Python can use on some wanted system.

The targets are all pairs of a Python and a system, each a bit. A wheel has the bits of the targets that can use it, by its tags
(PEP 425, compressed sets too) and its `Requires-Python`. A source distribution serves all Pythons that it permits; with
`where-no-wheel-fits` it stays only if some target is left without a wheel of the release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

from pkgindex_core.formats.filenames import FILENAME_LIMIT, TAG_LIMIT, kind_of
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File
from pkgindex_mirror.filters.own.platform_targets import PlatformTarget
from pkgindex_mirror.filters.own.python_targets import PythonTarget
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

Sdists = Literal["always", "where-no-wheel-fits", "never"]

_REMEMBERED: Final = 65_536
_OLD_PYTHON: Final = re.compile(r"-py([23]\.[0-9]+)(?=[-.])")
"""The Python version in the name of an egg or an installer."""
_OLD_PLATFORM: Final = re.compile(
    r"[.-]((?:linux|macosx|win|freebsd)[-_.][\w.-]+?|win32)(?:-py[23]\.[0-9]+)?\.(?:egg|exe|msi|tar\.\w+|tgz|zip)\Z"
)
_SYSTEMS: Final = {"wininst": "windows", "msi": "windows", "dmg": "macos", "rpm": "linux", "deb": "linux"}
"""The systems of installers, whose names need not tell."""


class FittingFiles(QuietFilter):
    """Leaves out files for other Pythons and systems than the targets."""

    def __init__(self, pythons: Sequence[PythonTarget], platforms: Sequence[PlatformTarget], sdists: Sdists) -> None:
        super().__init__("fitting", [list(pythons), list(platforms), sdists])
        self._pythons = tuple(pythons)
        self._platforms = tuple(platforms)
        self._sdists = sdists
        self._all = (1 << len(self._pythons) * len(self._platforms)) - 1
        remembered = lru_cache(maxsize=_REMEMBERED)
        self._of_tags = remembered(self._of_tags_afresh)
        self._permitted = remembered(self._permitted_afresh)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        refused: dict[str, Refusal] = {}
        sources: list[File] = []
        covered: dict[str, int] = {}
        needs_coverage = self._sdists == "where-no-wheel-fits"
        for file in files:
            permitted = self._permitted(file.requires_python)
            filename = file.filename
            if filename.endswith(".whl"):
                fitting = self._of_tags(tuple(filename[:-4].rsplit("-", 3)[1:]))
                if not fitting & permitted:
                    refused[filename] = self._misfit(file, fitting)
                elif needs_coverage:
                    version = canonical_version(file.version)
                    covered[version] = covered.get(version, 0) | (fitting & permitted)
            elif (kind := kind_of(filename)) == "sdist":
                if self._sdists == "never":
                    refused[filename] = self.refusal("it is a source distribution")
                elif not permitted:
                    refused[filename] = self._misfit(file, self._all)
                elif needs_coverage:
                    sources.append(file)
            elif not (fitting := self._of_old_name(filename, kind)) & permitted:
                refused[filename] = self._misfit(file, fitting)
        for file in sources:
            if not self._permitted(file.requires_python) & ~covered.get(canonical_version(file.version), 0):
                refused[file.filename] = self.refusal("wheels of its release serve all wanted Pythons and systems")
        return refused

    def _misfit(self, file: File, fitting: int) -> Refusal:
        if fitting:
            return self.refusal(f"it requires Python {file.requires_python}, which no wanted Python is")
        return self.refusal("no wanted Python on a wanted system can use it")

    def _of_tags_afresh(self, tags: tuple[str, ...]) -> int:
        """The targets that can use a wheel, by its Python, ABI and platform tags. None can use one with fewer, or with very many."""
        if len(tags) != 3:
            return 0
        interpreters, abis, systems = (each.lower().split(".") for each in tags)
        if len(interpreters) * len(abis) * len(systems) > TAG_LIMIT:
            return 0
        pythons = [
            place
            for place, target in enumerate(self._pythons)
            if any(target.can_use(interpreter, abi) for interpreter in interpreters for abi in abis)
        ]
        platforms = [
            place for place, target in enumerate(self._platforms) if any(target.can_use(system) for system in systems)
        ]
        return self._bits(pythons, platforms)

    def _permitted_afresh(self, requires_python: str) -> int:
        """The targets that a `Requires-Python` permits."""
        pythons = [place for place, target in enumerate(self._pythons) if target.is_permitted(requires_python)]
        return self._bits(pythons, range(len(self._platforms)))

    def _of_old_name(self, filename: str, kind: str) -> int:
        """The targets of an egg, an installer or a dumb archive, as far as its name tells."""
        if len(filename) > FILENAME_LIMIT:
            return 0
        version = _OLD_PYTHON.search(filename)
        pythons = [
            place
            for place, target in enumerate(self._pythons)
            if not version or not target.release or ".".join(map(str, target.release[:2])) == version[1]
        ]
        named = _OLD_PLATFORM.search(filename)
        system = re.sub(r"[-.]", "_", named[1].lower()) if named else ""
        platforms = [
            place
            for place, target in enumerate(self._platforms)
            if (target.can_use(system) if system else kind not in _SYSTEMS or target.is_of(_SYSTEMS[kind]))
        ]
        return self._bits(pythons, platforms)

    def _bits(self, pythons: Sequence[int], platforms: Sequence[int]) -> int:
        row = sum(1 << place for place in platforms)
        return sum(row << python * len(self._platforms) for python in pythons)
