"""The environments for which a closure is made: which wheels fit, which Pythons are permitted, and whether markers hold. Pure.

Sets of targets are bit masks: bit n stands for target n. Answers are remembered, since metadata repeat the same few markers and tags.

A target `3.12` stands for every patch release of Python 3.12, so a marker holds if it holds for one of them. The same is true for other
values that the target leaves open: the release and the version of the operating system. They are tried at the values that the marker
names, since only there its truth can change.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Final, cast

from msgspec import Struct
from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.tags import InvalidTag, Tag, compatible_tags, cpython_tags, generic_tags, parse_tag

from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import TAG_LIMIT
from pkgindex_mirror.closing.platforms import Platform, read_platform, this_platform

_PYTHON: Final = re.compile(r"(cpython|pypy)?-?([23])\.(\d{1,2})(?:\.(\d{1,3}))?(t)?")
_QUOTED: Final = re.compile(r"""["']([^"']*)["']""")
_LAST_PATCH: Final = 99
_OPEN: Final = ("platform_release", "platform_version")
"""Variables of markers that no target fixes."""
_TRIES: Final = 200
"""Combinations of open values that are tried: markers of real projects have a few dozen, and those of a hostile one block all else."""
_OPEN_ENDS: Final = ("0", "9999")
_REMEMBERED: Final = 65_536
_PYPY_ABI: Final = "73"
"""The ABI of PyPy 7.3, the only one for Python 3.7 and later."""


class InstallTarget(Struct, frozen=True):
    """A Python on a platform."""

    shown: str
    """Such as `3.12 on linux-x86_64`."""
    release: tuple[int, int]
    patch: int | None
    """None: every patch release."""
    tags: frozenset[Tag]
    markers: Mapping[str, str]
    """The values of environment markers, without those that depend on the patch release and those that are open."""

    def patches(self, text: str) -> list[str]:
        """The full versions at which the truth of a marker or specifier with this text can change."""
        start = f"{self.release[0]}.{self.release[1]}"
        if self.patch is not None:
            return [f"{start}.{self.patch}"]
        named = {int(each) for each in re.findall(rf"(?<![\d.]){re.escape(start)}\.(\d{{1,3}})", text)}
        around = {patch + step for patch in named for step in (-1, 0, 1) if patch + step >= 0}
        return [f"{start}.{patch}" for patch in sorted(around | {0, _LAST_PATCH})]

    def environments(self, text: str) -> Iterator[dict[str, str]]:
        """The values of all variables, one mapping for each combination of open values that matters to a marker with this text."""
        literals = [*dict.fromkeys([*_QUOTED.findall(text), *_OPEN_ENDS])]
        opened = [name for name in _OPEN if name in text]
        for full, *values in product(self.patches(text), *(literals for _ in opened)):
            filled = {**self.markers, "python_full_version": full, **dict.fromkeys(_OPEN, "")}
            if "implementation_version" not in filled:
                filled["implementation_version"] = full
            yield filled | dict(zip(opened, values, strict=True))


class TargetSet:
    """All targets of a closure."""

    def __init__(self, targets: Sequence[InstallTarget]) -> None:
        self.targets = tuple(targets)
        self.everything = (1 << len(self.targets)) - 1
        self._fitting = lru_cache(maxsize=_REMEMBERED)(self._fitting_tag)
        self._permitting = lru_cache(maxsize=_REMEMBERED)(self._permitting_text)
        self._holding = lru_cache(maxsize=_REMEMBERED)(self._holding_text)

    def fitting(self, tag: str) -> int:
        """The targets for which a wheel with this compressed tag set (`py2.py3-none-any`) fits."""
        return self._fitting(tag)

    def permitting(self, requires_python: str) -> int:
        """The targets that a `Requires-Python` permits. An unreadable one permits all, as for installers."""
        return self._permitting(requires_python) if requires_python else self.everything

    def holding(self, marker: Marker | None, extra: str = "", choices: frozenset[str] = frozenset()) -> int:
        """The targets on which a marker holds. `choices`: extras and dependency groups of a lock file (PEP 751)."""
        return self.everything if marker is None else self._holding(str(marker), extra, choices)

    def shown(self, mask: int) -> list[str]:
        return [target.shown for number, target in enumerate(self.targets) if mask >> number & 1]

    def _mask(self, truths: Iterator[bool]) -> int:
        return sum(1 << number for number, truth in enumerate(truths) if truth)

    def _fitting_tag(self, tag: str) -> int:
        try:
            tags = parse_tag(tag, limit=TAG_LIMIT)
        except (InvalidTag, ValueError):
            return 0
        return self._mask(not tags.isdisjoint(target.tags) for target in self.targets)

    def _permitting_text(self, requires_python: str) -> int:
        try:
            specifier = SpecifierSet(requires_python)
            return self._mask(
                any(specifier.contains(full, prereleases=True) for full in target.patches(requires_python))
                for target in self.targets
            )
        except ValueError:  # InvalidSpecifier, and numbers with thousands of digits
            return self.everything

    def _holding_text(self, text: str, extra: str, choices: frozenset[str]) -> int:
        marker = Marker(text)
        given = {"extra": extra, "extras": choices, "dependency_groups": choices}
        return self._mask(
            _holds_somewhere(marker, (environment | given for environment in target.environments(text)))
            for target in self.targets
        )


def positions(mask: int) -> tuple[int, ...]:
    """The numbers of the targets in a set."""
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)


def _holds_somewhere(marker: Marker, environments: Iterable[Mapping[str, Any]]) -> bool:
    # A marker with very many literals may hold; it is not worth the time to find out.
    return any(number >= _TRIES or _holds(marker, environment) for number, environment in enumerate(environments))


def _holds(marker: Marker, environment: Mapping[str, Any]) -> bool:
    try:
        return marker.evaluate(cast(dict[str, Any], environment))
    except (UndefinedComparison, UndefinedEnvironmentName):
        return True  # It is not known, and what is not known is not left out.


def read_targets(pythons: Sequence[str], platforms: Sequence[str]) -> TargetSet:
    """Each Python on each platform; without Pythons or platforms those of this machine. Raises `Refused` with everything that cannot be read."""
    problems: list[str] = []
    hints: dict[str, None] = {}
    machines: list[Platform] = []
    for text in platforms or [this_platform()]:
        try:
            machines.append(read_platform(text))
        except Refused as error:
            problems += error.problems
            hints[error.hint] = None
    versions = []
    for text in pythons or [".".join(platform.python_version_tuple()[:2])]:
        try:
            versions.append(_python(text))
        except Refused as error:
            problems += error.problems
            hints[error.hint] = None
    if problems:
        raise Refused(problems, hint="; ".join(hints))
    made = {
        target.shown: target for machine in machines for version in versions for target in [_target(version, machine)]
    }
    return TargetSet([*made.values()])


def read_target(python: str, machine: str) -> InstallTarget:
    """One Python on one platform. Raises `Refused`."""
    return _target(_python(python), read_platform(machine))


def _python(text: str) -> re.Match[str]:
    found = _PYTHON.fullmatch(text.strip().lower())
    if found is None or (found[1] == "pypy" and found[5]):
        raise Refused(
            f"{text[:80]!r} is no Python", hint="write a Python as 3.12, 3.12.4, 3.13t (free-threaded) or pypy3.11"
        )
    return found


def _target(found: re.Match[str], machine: Platform) -> InstallTarget:
    release = int(found[2]), int(found[3])
    short, text = f"{release[0]}{release[1]}", f"{release[0]}.{release[1]}"
    patch = None if found[4] is None else int(found[4])
    is_pypy, threading = found[1] == "pypy", found[5] or ""
    interpreter = f"{'pp' if is_pypy else 'cp'}{short}"
    if is_pypy:
        own = generic_tags(interpreter, [f"pypy{short}_pp{_PYPY_ABI}"], machine.tags)
    else:
        flag = "m" if release < (3, 8) else threading
        own = cpython_tags(release, abis=[f"cp{short}{flag}"], platforms=machine.tags)
    markers = {
        **machine.markers,
        "python_version": text,
        "implementation_name": "pypy" if is_pypy else "cpython",
        "platform_python_implementation": "PyPy" if is_pypy else "CPython",
    }
    if is_pypy:
        markers["implementation_version"] = "7.3.99"
    name = f"{'pypy' if is_pypy else ''}{text}{'' if patch is None else f'.{patch}'}{threading}"
    tags = frozenset([*own, *compatible_tags(release, interpreter, machine.tags)])
    return InstallTarget(f"{name} on {machine.shown}", release, patch, tags, markers)
