"""Chooses the files of a page that an installer would take: of the newest permitted version, the best wheel for each target.

If no wheel fits, the source distribution is chosen. Pure.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from msgspec import Struct
from packaging.markers import Environment, default_environment
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pkgindex_core.formats.filenames import kind_of, version_in
from pkgindex_core.names import ProjectName
from pkgindex_mirror.prefetching.wanted import Wanted, constrained

_SYSTEMS: Final = {
    "win": ("win32", "Windows", "nt"),
    "macosx": ("darwin", "Darwin", "posix"),
    "manylinux": ("linux", "Linux", "posix"),
    "musllinux": ("linux", "Linux", "posix"),
    "linux": ("linux", "Linux", "posix"),
}

_MACHINE: Final = re.compile(r"(?:win|linux\d*|(?:linux|macosx)_\d+_\d+)_([a-z]\w*)$")


class ChoosableFile(Struct, frozen=True, kw_only=True):
    """A file of a project's page, as clients see it."""

    filename: str
    url: str
    """Relative to the page."""
    hashes: Mapping[str, str] = {}
    requires_python: str | None = None
    size: int | None = None
    yanked: bool | str = False


class TargetPython(Struct, frozen=True):
    """An environment for which files are chosen."""

    python: Version
    ranks: Mapping[Tag, int]
    """The rank of each tag that fits. The lowest fits best."""
    environment: Mapping[str, str]
    """The values of environment markers (PEP 508)."""

    def wants(self, wanted: Wanted, extras: Iterable[str] = ()) -> bool:
        """Whether the marker holds here, with one of the extras of the package or lock file that requires it."""
        marker, choices = wanted.marker, wanted.choices
        # PEP 751: markers of lock files may ask for `extras` and `dependency_groups`, which are sets.
        known = {**self.environment, "extras": choices, "dependency_groups": choices}
        return marker is None or any(
            marker.evaluate(cast(dict[str, Any], {**known, "extra": extra})) for extra in (*extras, *choices, "")
        )


def targets(pythons: Sequence[str], platforms: Sequence[str]) -> list[TargetPython]:
    """A target for each Python, which takes wheels for any of the platforms. Without both, the running Python. Raises `InvalidVersion`."""
    if not pythons and not platforms:
        return [TargetPython(Version(platform.python_version()), _ranks(sys_tags()), _plain(default_environment()))]
    versions = [Version(text) for text in pythons] or [Version(platform.python_version())]
    return [_target(version, list(platforms) or list(platform_tags())) for version in versions]


def _target(version: Version, platforms: Sequence[str]) -> TargetPython:
    short = (version.major, version.minor)
    interpreter = f"cp{version.major}{version.minor}"
    tags = [*cpython_tags(short, platforms=platforms), *compatible_tags(short, interpreter, platforms)]
    environment = _plain(default_environment())
    environment |= {"python_version": f"{version.major}.{version.minor}", "python_full_version": str(version)}
    system = next((value for key, value in _SYSTEMS.items() if platforms[0].startswith(key)), None)
    if system is not None:
        environment |= dict(zip(("sys_platform", "platform_system", "os_name"), system, strict=True))
    machine = _MACHINE.search(platforms[0])
    if machine is not None:
        environment["platform_machine"] = machine[1].upper() if platforms[0].startswith("win") else machine[1]
    return TargetPython(version, _ranks(tags), environment)


def _plain(environment: Environment) -> dict[str, str]:
    return cast(dict[str, str], dict(environment))


def _ranks(tags: Iterable[Tag]) -> dict[Tag, int]:
    ranks: dict[Tag, int] = {}
    for tag in tags:
        ranks.setdefault(tag, len(ranks))
    return ranks


def choose(
    files: Sequence[ChoosableFile],
    wanted: Wanted,
    targets: Sequence[TargetPython],
    *,
    everything: bool,
    constraints: Iterable[Wanted] = (),
) -> list[ChoosableFile]:
    """Choose the files for the targets. Returns none if none fits. `everything`: all files of the version."""
    limits = [each for each in constraints if each.project == wanted.project]
    chosen: dict[str, ChoosableFile] = {}
    for target in targets:
        limited = constrained(wanted, filter(target.wants, limits))
        versions = _by_version((each for each in files if _may_be(each, limited)), wanted.project)
        for version in sorted(limited.specifier.filter(versions), reverse=True):
            fitting = [each for each in versions[version] if _runs(each, target)]
            best = fitting if everything else _best(fitting, target)
            chosen.update({each.filename: each for each in best})
            if best:
                break
    return list(chosen.values())


def _may_be(file: ChoosableFile, wanted: Wanted) -> bool:
    if wanted.filenames and file.filename not in wanted.filenames:
        return False
    sha256 = file.hashes.get("sha256")
    if wanted.sha256s and sha256 is not None and sha256 not in wanted.sha256s:
        return False
    # PEP 592: a yanked file is only for a requirement that pins its version.
    return file.yanked is False or any(each.operator in {"==", "==="} for each in wanted.specifier)


def _by_version(files: Iterable[ChoosableFile], project: ProjectName) -> dict[Version, list[ChoosableFile]]:
    found: dict[Version, list[ChoosableFile]] = {}
    for file in files:
        with suppress(InvalidVersion):
            found.setdefault(Version(version_in(file.filename, project)), []).append(file)
    return found


def _runs(file: ChoosableFile, target: TargetPython) -> bool:
    """Whether the file is for this Python. An unreadable `requires_python` permits all."""
    with suppress(InvalidSpecifier):
        return SpecifierSet(file.requires_python or "").contains(target.python, prereleases=True)
    return True


def _best(files: Sequence[ChoosableFile], target: TargetPython) -> list[ChoosableFile]:
    """The wheel that fits the target best, or else the source distributions."""
    ranked = [(rank, file) for file in files if (rank := _rank(file, target)) is not None]
    if ranked:
        return [min(ranked, key=lambda each: (each[0], each[1].filename))[1]]
    return [each for each in files if kind_of(each.filename) == "sdist"]


def _rank(file: ChoosableFile, target: TargetPython) -> int | None:
    """The rank of a wheel; None for one that does not fit, and for other files."""
    try:
        _, _, _, tags = parse_wheel_filename(file.filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    return min((target.ranks[tag] for tag in tags if tag in target.ranks), default=None)
