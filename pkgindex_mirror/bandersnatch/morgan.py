"""Reads morgan.ini: requirements, and the environments for which they are mirrored.

    [env.edge]                     markers of an environment, as PEP 508 names them
    python_version = 3.12
    sys_platform = linux
    platform_tag = linux-x86_64    the platform of wheels, as sysconfig.get_platform() says it
    whl.tag.abi = cp312|abi3       or patterns for the tags of wheels

    [requirements]
    redis = >4.1.0,<4.2.1          a name with versions or extras, several of them on lines of their own
    xonsh = [full]~=0.11.0

As in morgan a name or a section may be there several times, and its lines count together; `:` separates like `=`; keys are in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from pkgindex_core.errors import Missing, Refused
from pkgindex_mirror.bandersnatch.ini_form import decoded, problems_of

MARKERS: Final = (
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_version",
    "python_full_version",
    "implementation_name",
    "implementation_version",
)
"""The markers of PEP 508 but `extra`."""
_UNASKED: Final = frozenset({"platform_release", "platform_version", "implementation_version"})
"""Markers that morgan leaves empty itself."""
_WHEEL_TAG: Final = "whl.tag."
_WHEEL_TAGS: Final = ("interpreter", "abi", "platform")
_ENVIRONMENT: Final = re.compile(r"env\.(.+)")
_PART_OF_A_NAME: Final = re.compile(r"[\w.-]")
_REQUIREMENTS: Final = "requirements"


class MorganEnvironment(Struct, frozen=True, kw_only=True):
    """One environment of the clients."""

    name: str
    markers: Mapping[str, str]
    """All markers of PEP 508, with `extra`. Those that the file does not have are empty."""
    platform_tag: str = ""
    """Such as `linux-x86_64` or `win_amd64`; empty: not said."""
    wheel_tags: Mapping[str, str] = {}
    """Regular expressions for the beginning of `interpreter`, `abi` and `platform` of wheels, those that the file has."""


class MorganConfiguration(Struct, frozen=True, kw_only=True):
    """The content of morgan.ini."""

    requirements: tuple[Requirement, ...]
    """In the order of the file. A name may be there with several specifiers, of which each is wanted."""
    targets: tuple[MorganEnvironment, ...]
    remarks: tuple[str, ...] = ()
    """Sentences about lines that have no effect, or an effect that is probably not meant."""

    @property
    def environments(self) -> tuple[Mapping[str, str], ...]:
        """The markers of each environment."""
        return tuple(target.markers for target in self.targets)


def read_morgan(path: Path) -> MorganConfiguration:
    """Read a file. Raises `Missing` if there is none, and `Refused` with all that is wrong with it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Missing(
            "configuration", str(path), message=f"there is no file {path}", hint="name a morgan.ini"
        ) from error
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", hint="name a morgan.ini") from error
    try:
        return parse_morgan(data)
    except Refused as error:
        raise Refused([f"{path}: {problem}" for problem in error.problems], hint=error.hint) from error


def parse_morgan(data: bytes) -> MorganConfiguration:
    """Read the bytes of a file. Raises `Refused` with all that is wrong with them."""
    parser = ConfigParser(strict=False, dict_type=_Gathering)
    try:
        parser.read_string(decoded(data))
        sections = {section: dict(parser.items(section)) for section in parser.sections()}
    except Error as error:
        raise Refused(list(problems_of(error)), hint="write a percent sign as %%, and keys as key = value") from error
    problems: list[str] = []
    remarks: list[str] = []
    requirements = tuple(_requirements(sections.pop(_REQUIREMENTS, {}), problems))
    targets = []
    for section, keys in sections.items():
        if found := _ENVIRONMENT.fullmatch(section):
            targets.append(_environment(found[1], keys, problems, remarks))
        else:
            remarks.append(f"the section [{section}] has no effect")
    if not requirements and not problems:
        problems.append("there is no requirement in [requirements]")
    if not targets:
        problems.append("there is no environment: a section such as [env.edge]")
    if problems:
        raise Refused(
            problems,
            hint="the form is [env.NAME] with markers such as python_version, and [requirements] with name = versions",
        )
    return MorganConfiguration(requirements=requirements, targets=tuple(targets), remarks=tuple(remarks))


class _Gathering(dict[str, Any]):
    """A dictionary in which the lines of a repeated key are added to those before."""

    def __setitem__(self, key: str, value: Any) -> None:
        before = self.get(key)
        if isinstance(value, list) and isinstance(before, list):
            before.extend(value)
        else:
            super().__setitem__(key, value)


def _requirements(keys: Mapping[str, str], problems: list[str]) -> Iterator[Requirement]:
    for name, text in keys.items():
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        for line in lines or [""]:
            if _PART_OF_A_NAME.match(line):
                problems.append(
                    f"[{_REQUIREMENTS}] {name} = {line} is the project {name}{line} in morgan: write =={line}"
                )
                continue
            try:
                yield Requirement(f"{name}{line}")
            except InvalidRequirement:
                problems.append(f"[{_REQUIREMENTS}] {name} = {line} is no requirement")


def _environment(name: str, keys: Mapping[str, str], problems: list[str], remarks: list[str]) -> MorganEnvironment:
    where = f"[env.{name}]"
    markers = {marker: keys.get(marker, "").strip() for marker in MARKERS}
    _complete_versions(markers, where, problems)
    markers.update(dict.fromkeys(_UNASKED, ""))
    remarks += [
        f"{where} has no {marker}: no requirement that asks for one applies"
        for marker, value in markers.items()
        if not value and marker not in _UNASKED
    ]
    tags: dict[str, str] = {}
    for tag in _WHEEL_TAGS:
        pattern = keys.get(f"{_WHEEL_TAG}{tag}", "").strip()
        if not pattern:
            continue
        tags[tag] = pattern
        try:
            re.compile(pattern)
        except re.error as error:
            problems.append(f"{where} {_WHEEL_TAG}{tag} = {pattern} is no regular expression: {error}")
    known = {*MARKERS, "extra", "platform_tag", *(f"{_WHEEL_TAG}{tag}" for tag in _WHEEL_TAGS)}
    remarks += [f"{where} {key} has no effect" for key in keys if key not in known]
    return MorganEnvironment(
        name=name,
        markers={**markers, "extra": ""},
        platform_tag=keys.get("platform_tag", "").strip(),
        wheel_tags=tags,
    )


def _complete_versions(markers: dict[str, str], where: str, problems: list[str]) -> None:
    """Make each of the two versions of Python of the other one, if only one is there."""
    full = markers["python_full_version"] or markers["python_version"]
    try:
        version = Version(full)
    except InvalidVersion:
        problems.append(f"{where} python_version = {full} is no version" if full else f"{where} has no python_version")
        return
    markers["python_full_version"] = full
    markers["python_version"] = markers["python_version"] or f"{version.major}.{version.minor}"
