"""Reads the lists of projects: `[allowlist] packages`, `[blocklist] packages`, and requirement files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct
from packaging.specifiers import SpecifierSet

from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.filters.bandersnatch.compatibility import REQUIREMENT_FILES
from pkgindex_mirror.filters.bandersnatch.sections import Settings, lines_of
from pkgindex_mirror.filters.releases import parsed_version

_ANY = SpecifierSet()
_HINT = "write one project a line, such as numpy or numpy>=2"


class RequirementLine(Struct, frozen=True):
    """One line of a list."""

    project: ProjectName
    specifier: SpecifierSet
    bare: bool
    """Whether the line is nothing but a name."""

    def has(self, version: str) -> bool:
        """Whether a version is in the specifier, pre-releases too. One that is not of PEP 440 never is."""
        parsed = parsed_version(version)
        return parsed is not None and self.specifier.contains(parsed, prereleases=True)

    @property
    def shown(self) -> str:
        return f"{self.project}{self.specifier}"


def allowed_packages(sections: Settings) -> list[RequirementLine]:
    """`[allowlist] packages`. Raises `Refused` with all lines that are no requirements."""
    lines = (line for line in lines_of(sections, "allowlist", "packages") if not line.startswith("-"))
    return _packages(lines, "[allowlist] packages")


def blocked_packages(sections: Settings) -> list[RequirementLine]:
    """`[blocklist] packages`. Raises `Refused` with all lines that are no requirements."""
    return _packages(lines_of(sections, "blocklist", "packages"), "[blocklist] packages")


def required_packages(sections: Settings, base: Path, switches: frozenset[str]) -> list[RequirementLine]:
    """The projects of `[allowlist] requirements`. Raises `Refused` for files that cannot be read."""
    read = _as_bandersnatch if REQUIREMENT_FILES in switches else _as_pip
    return [package for path in _requirement_paths(sections, base) for package in read(path)]


def names_of(packages: Iterable[RequirementLine]) -> frozenset[ProjectName]:
    return frozenset(each.project for each in packages)


def plain_packages(packages: Iterable[RequirementLine]) -> list[list[object]]:
    """The packages as values for a fingerprint."""
    return sorted([each.project, str(each.specifier), each.bare] for each in packages)


def _packages(lines: Iterable[str], where: str) -> list[RequirementLine]:
    packages, problems = [], []
    for line in lines:
        text = line.split("#", maxsplit=1)[0].strip()
        if not text:
            continue
        if (name := normalized_or_none(text)) is not None:  # a bare name, as most are
            packages.append(RequirementLine(name, _ANY, bare=True))
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            problems.append(f"{where}: {line!r} is no requirement")
            continue
        project = normalized_or_none(requirement.name)
        if project is None:
            problems.append(f"{where}: {requirement.name!r} is no project name")
        else:
            packages.append(RequirementLine(project, requirement.specifier, bare=requirement.name == text))
    if problems:
        raise Refused(problems, hint=_HINT)
    return packages


def _requirement_paths(sections: Settings, base: Path) -> Iterator[Path]:
    directory = base / sections.get("allowlist", {}).get("requirements_path", "").strip()
    for line in lines_of(sections, "allowlist", "requirements"):
        name = line.split("#", maxsplit=1)[0].strip()
        if "*" in name:
            yield from sorted(directory.glob(name))
        elif name:
            yield directory / name


def _as_pip(path: Path) -> list[RequirementLine]:
    from pkgindex_mirror.prefetching.requirement_files import read_requirements

    try:
        wanted = read_requirements(path).wanted
    except Refused as error:
        raise Refused(error.problems, hint=error.hint or "correct the file, or [allowlist] requirements") from error
    return [RequirementLine(each.project, each.specifier, not each.specifier) for each in wanted]


def _as_bandersnatch(path: Path) -> list[RequirementLine]:
    from pkgindex_mirror.prefetching.requirement_files import decoded_requirements

    try:
        text = decoded_requirements(path.read_bytes())
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise Refused(f"{path} cannot be read: {error}", hint="correct [allowlist] requirements") from error
    lines = (line.strip() for line in text.splitlines())
    return _packages((line for line in lines if not line.startswith("-")), str(path))
