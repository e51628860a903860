"""A closure as a value: projects, their versions and files, and what asked for them. Also its form in a file.

The file is JSON: an object with `format` (`pkgindex-closure`), `format-version` (1) and the fields of `Closure`, with `-` for `_`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName, normalized_or_none

Mode = Literal["all", "newest", "locked"]
"""Which versions a closure has: every one that could be needed, the newest one for each requirement, or the files of lock files."""
FORMAT: Final = "pkgindex-closure"
FORMAT_VERSION: Final = 1
_HINT: Final = "write one with pkgindex-mirror close -o FILE"


class Asker(Struct, frozen=True, order=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """The author of a requirement: a project in some versions, or a place such as `requirements.txt, line 3`."""

    where: str = ""
    """The place; empty for a project."""
    project: ProjectName = ProjectName("")
    extra: str = ""
    """The extra under which the project has the requirement."""
    building: bool = False
    """Whether the requirement is for building the project."""
    versions: tuple[str, ...] = ()
    """Oldest first."""

    @property
    def shown(self) -> str:
        if self.where:
            return self.where
        extra = f"[{self.extra}]" if self.extra else ""
        count = len(self.versions) - 1
        others = f" and {count} other {'version' if count == 1 else 'versions'}" if count > 0 else ""
        newest = f" {self.versions[-1]}" if self.versions else ""
        return f"{'building ' if self.building else ''}{self.project}{extra}{newest}{others}"


class Demand(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A requirement and what has it."""

    requirement: str
    """Without its marker, which holds on a target."""
    askers: tuple[Asker, ...]


class ClosedFile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """A file of a closure."""

    filename: str
    sha256: str = ""
    """Empty: the page has none."""
    size: int | None = None
    """Bytes; None: the page does not say."""
    targets: tuple[int, ...] = ()
    """The targets for which it is taken, as positions in `Closure.targets`."""


class ClosedVersion(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """A version of a closure."""

    version: str
    files: tuple[ClosedFile, ...]
    demands: tuple[int, ...] = ()
    """The requirements that admit it, as positions in `ClosedProject.demands`."""
    unknown: str = ""
    """A clause about dependencies that are not known; empty: all are known."""


class ClosedProject(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A project of a closure."""

    demands: tuple[Demand, ...]
    versions: tuple[ClosedVersion, ...]
    """Oldest first."""

    @property
    def files(self) -> Iterator[ClosedFile]:
        return (file for version in self.versions for file in version.files)

    @property
    def bytes(self) -> int:
        """Of its files, as far as their sizes are known."""
        return sum(file.size or 0 for file in self.files)


class Unmet(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A requirement that no version satisfies on some targets."""

    project: ProjectName
    requirement: str
    askers: tuple[Asker, ...]
    targets: tuple[int, ...]
    missing: bool = False
    """Whether the index has no such project."""


class Closure(Struct, frozen=True, kw_only=True, rename="kebab"):
    """Everything that installs some projects on some targets."""

    mode: Mode
    targets: tuple[str, ...]
    projects: Mapping[ProjectName, ClosedProject]
    """In the order of their names."""
    unmet: tuple[Unmet, ...] = ()

    @property
    def versions(self) -> int:
        return sum(len(project.versions) for project in self.projects.values())

    @property
    def files(self) -> int:
        return sum(1 for project in self.projects.values() for _ in project.files)

    @property
    def bytes(self) -> int:
        return sum(project.bytes for project in self.projects.values())

    @property
    def unknown(self) -> list[str]:
        """One sentence for each version of which not everything is known."""
        return [
            f"{name} {version.version}: {version.unknown}"
            for name, project in self.projects.items()
            for version in project.versions
            if version.unknown
        ]


class _Header(Struct, rename="kebab"):
    format: str = ""
    format_version: int = 0


def encode_closure(closure: Closure) -> bytes:
    """The bytes of a closure's file: the same for equal closures."""
    document = {"format": FORMAT, "format-version": FORMAT_VERSION, **msgspec.to_builtins(closure)}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode_closure(data: bytes, *, what: str = "this file") -> Closure:
    """Read the bytes of a closure's file. Raises `Refused` when they are anything else."""
    try:
        header = msgspec.json.decode(data, type=_Header)
        if (header.format, header.format_version) == (FORMAT, FORMAT_VERSION):
            closure = msgspec.json.decode(data, type=Closure)
            if not all(_fits(closure)):
                raise Refused(f"{what} is no closure: a position in it leads nowhere", hint=_HINT)
            wrong = [name for name in closure.projects if normalized_or_none(name) != name]
            if not wrong:
                return closure
            raise Refused(f"{what} names a project {wrong[0][:80]!r}, which is not normalised")
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"{what} is no closure: {error}", hint=_HINT) from error
    raise Refused(f"{what} is no closure of version {FORMAT_VERSION}", hint=_HINT)


def _fits(closure: Closure) -> Iterator[bool]:
    """Whether the positions in a closure are those of its targets and requirements."""
    targets = {*range(len(closure.targets))}
    yield from (targets.issuperset(each.targets) for each in closure.unmet)
    for project in closure.projects.values():
        demands = {*range(len(project.demands))}
        yield from (demands.issuperset(version.demands) for version in project.versions)
        yield from (targets.issuperset(file.targets) for file in project.files)


def write_closure(path: Path, closure: Closure) -> None:
    """Write a closure's file in one step, durably. Raises `Refused` if it cannot be written; then the former file is as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(encode_closure(closure))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise Refused(f"{path} cannot be written: {error.strerror}") from error


def read_closure(path: Path) -> Closure:
    """Read a closure's file. Raises `Refused`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    return decode_closure(data, what=str(path))
