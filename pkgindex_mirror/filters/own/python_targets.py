"""Which Pythons can use which wheels: the logic of `packaging.tags`, for Pythons that are not running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from msgspec import Struct
from packaging.tags import compatible_tags, cpython_tags

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.filters.releases import parsed_specifier

IMPLEMENTATIONS: Final = {
    "cpython": "cp",
    "pypy": "pp",
    "graalpy": "graalpy",
    "ironpython": "ip",
    "jython": "jy",
}
"""The implementations, with the beginnings of their tags."""
_WORD: Final = re.compile(r"([23])\.([0-9]{1,3})(?:\.([0-9]{1,3}))?(t?)")
_INTERPRETER: Final = re.compile(r"([a-z]+)([0-9])([0-9]*)")
_ANY_PLATFORM: Final = ["x"]
_PATCHES: Final = (0, 99, *range(1, 40))
"""Patch releases that are tried for a specifier, where a minor version is wanted."""
"""The most characters of a specifier that is read. Real ones are much shorter."""


class PythonTarget(Struct, frozen=True):
    """A Python for which files are kept."""

    release: tuple[int, ...] = ()
    """Major, minor and perhaps patch number; empty: any."""
    implementation: str = ""
    """The beginning of its tags, such as `cp`; empty: any."""
    free_threaded: bool = False

    @property
    def shown(self) -> str:
        name = next((name for name, tag in IMPLEMENTATIONS.items() if tag == self.implementation), "Python")
        version = ".".join(map(str, self.release)) + ("t" if self.free_threaded else "")
        return f"{name} {version}".strip()

    def can_use(self, interpreter: str, abi: str) -> bool:
        """Whether a wheel with these tags runs, on a platform that fits."""
        if not self.release:
            return not self.implementation or _name(interpreter) in {"py", self.implementation}
        if (interpreter, abi) in _pairs(self):
            return True
        found = _INTERPRETER.fullmatch(interpreter)
        if found is None or found[1] in {"py", "cp"}:
            return False
        # Other implementations have an ABI for each of their own versions, which their tags do not order.
        version = (int(found[2]), int(found[3])) if found[3] else (int(found[2]),)
        return self.implementation in {"", found[1]} and version == self.release[: len(version)]

    def is_permitted(self, requires_python: str) -> bool:
        """Whether a `Requires-Python` permits it. One that cannot be read permits all, as for installers."""
        if not self.release or not requires_python:
            return True
        specifier = parsed_specifier(requires_python)
        if specifier is None:
            return True
        patches = self.release[2:] or _PATCHES
        major, minor = self.release[:2]
        return any(specifier.contains(f"{major}.{minor}.{patch}", prereleases=True) for patch in patches)


def python_targets(pythons: Sequence[str], implementations: Sequence[str]) -> tuple[PythonTarget, ...]:
    """A target for each version and implementation. Raises `Refused` for words that are neither."""
    problems = [
        f"there is no Python implementation {word!r}" for word in implementations if word.lower() not in IMPLEMENTATIONS
    ]
    problems += [f"{word!r} is no Python version" for word in pythons if not _WORD.fullmatch(word)]
    if problems:
        hint = "write versions such as 3.12, or 3.13t for the free-threaded one"
        raise Refused(problems, hint=hint if not implementations else suggestion(implementations[0], IMPLEMENTATIONS))
    tags = [IMPLEMENTATIONS[word.lower()] for word in implementations] or [""]
    return tuple(_target(word, tag) for word in pythons or ("",) for tag in tags)


def _target(word: str, implementation: str) -> PythonTarget:
    found = _WORD.fullmatch(word)
    if found is None:
        return PythonTarget(implementation=implementation)
    release = tuple(int(each) for each in found.groups()[:3] if each)
    return PythonTarget(release, implementation, bool(found[4]))


@lru_cache(maxsize=256)
def _pairs(target: PythonTarget) -> frozenset[tuple[str, str]]:
    """The interpreters and ABIs of all wheels for a target with a version."""
    version = target.release[:2]
    number = f"{version[0]}{version[1]}"
    if target.implementation in {"", "cp"}:
        found = chain(
            cpython_tags(version, list(_abis(version, target)), _ANY_PLATFORM),
            compatible_tags(version, f"cp{number}", _ANY_PLATFORM),
        )
    else:
        found = chain(compatible_tags(version, f"{target.implementation}{number}", _ANY_PLATFORM))
    return frozenset((tag.interpreter, tag.abi) for tag in found)


def _abis(version: tuple[int, ...], target: PythonTarget) -> Iterator[str]:
    number = f"cp{version[0]}{version[1]}"
    if target.free_threaded:
        yield f"{number}t"
        return
    yield number
    if version < (3, 8):
        yield f"{number}m"
    if version < (3, 3):
        yield f"{number}mu"


def _name(interpreter: str) -> str:
    found = _INTERPRETER.fullmatch(interpreter)
    return found[1] if found else interpreter
