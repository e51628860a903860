"""The systems for which files are kept, and which platform tags fit them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct
from packaging.tags import mac_platforms

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.filters.own.platform_tags import ARCHITECTURES, platform_tag

_FAMILIES: Final = {
    "linux": frozenset({"linux", "manylinux", "musllinux"}),
    "manylinux": frozenset({"linux", "manylinux"}),
    "musllinux": frozenset({"linux", "musllinux"}),
    "macos": frozenset({"macos"}),
    "windows": frozenset({"windows"}),
    "freebsd": frozenset({"freebsd"}),
    "android": frozenset({"android"}),
    "ios": frozenset({"ios"}),
    "wasm": frozenset({"wasm"}),
}
"""Words for systems, each with the families of tags that fit it."""
_WORDS: Final = {"macosx": "macos", "win": "windows", "emscripten": "wasm", "pyodide": "wasm"}
_REAL: Final = {
    "windows": frozenset({"x86_64", "x86", "arm64"}),
    "macos": frozenset({"x86_64", "arm64"}),
    "wasm": frozenset({"wasm32"}),
}
"""Systems that today's Pythons have on some architectures only."""


class PlatformTarget(Struct, frozen=True):
    """A system for which files are kept."""

    family: str = ""
    """A word for a system; empty: any."""
    version: tuple[int, ...] = ()
    """The version of glibc, musl, macOS, iOS or Android that it has; empty: any."""
    architecture: str = ""
    """Empty: any."""

    @property
    def shown(self) -> str:
        version = ".".join(map(str, self.version))
        return " ".join(each for each in (self.family or "any system", version, self.architecture) if each)

    def is_of(self, family: str) -> bool:
        """Whether the system is of a family of tags."""
        return not self.family or family in _FAMILIES[self.family]

    def can_use(self, tag: str) -> bool:
        """Whether a wheel with this platform tag runs, with a Python that fits."""
        if tag == "any":
            return True
        read = platform_tag(tag)
        if self.architecture and self.architecture not in read.architectures:
            return False
        if not self.is_of(read.family):
            return False
        if not self.version or not read.version:
            return True
        if self.family == "macos":
            return tag in _mac_tags(self.version, self.architecture)
        # A newer glibc or musl of the same major version runs what was built for an older one.
        same_major = read.version[0] == self.version[0] or self.family in {"android", "ios"}
        return same_major and read.version <= self.version


def platform_targets(platforms: Sequence[str], architectures: Sequence[str]) -> tuple[PlatformTarget, ...]:
    """A target for each system and architecture that belong together. Raises `Refused` for words that are neither."""
    problems = [f"there is no architecture {word!r}" for word in architectures if word.lower() not in ARCHITECTURES]
    if problems:
        raise Refused(problems, hint=suggestion(architectures[0].lower(), ARCHITECTURES))
    named = [ARCHITECTURES[word.lower()] for word in architectures] or [""]
    targets: dict[PlatformTarget, None] = {}
    for word in platforms or ("",):
        for target in _targets(word.lower(), named):
            targets[target] = None
    if not targets:
        raise Refused(
            f"none of the platforms {', '.join(platforms)} has one of the architectures {', '.join(architectures)}",
            hint="correct one of the two lists",
        )
    return tuple(targets)


def _targets(word: str, architectures: Sequence[str]) -> list[PlatformTarget]:
    if not word:
        return [PlatformTarget(architecture=each) for each in architectures]
    family = _WORDS.get(word, word)
    if family in _FAMILIES:
        return [PlatformTarget(family, (), each) for each in architectures if _is_real(family, each)]
    whole = platform_tag(word)
    if whole.family in _FAMILIES and whole.architectures:
        return [PlatformTarget(whole.family, whole.version, each) for each in sorted(whole.architectures)]
    # `manylinux_2_28` is the beginning of a tag.
    begun = platform_tag(f"{word}_x86_64")
    if begun.family in _FAMILIES and begun.version:
        return [
            PlatformTarget(begun.family, begun.version, each) for each in architectures if _is_real(begun.family, each)
        ]
    raise Refused(
        f"there is no platform {word!r}",
        hint=f"write linux, manylinux_2_28, musllinux_1_2_x86_64, macosx_11_0, win_amd64 …; {suggestion(word, _FAMILIES)}",
    )


def _is_real(family: str, architecture: str) -> bool:
    return not architecture or family not in _REAL or architecture in _REAL[family]


@lru_cache(maxsize=64)
def _mac_tags(version: tuple[int, ...], architecture: str) -> frozenset[str]:
    """The tags that a Mac with this version of macOS accepts."""
    names = [architecture] if architecture else sorted(_REAL["macos"])
    return frozenset(tag for name in names for tag in mac_platforms((version[0], version[1]), name))
