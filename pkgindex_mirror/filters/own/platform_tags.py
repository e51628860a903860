"""Reads platform tags: the family of systems, the least version that a wheel needs of it, and the architectures."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct
from packaging.tags import mac_platforms

ARCHITECTURES: Final = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "x64": "x86_64",
    "x86": "x86",
    "i386": "x86",
    "i486": "x86",
    "i586": "x86",
    "i686": "x86",
    "arm64": "arm64",
    "aarch64": "arm64",
    "arm64_v8a": "arm64",
    "arm64ec": "arm64",
    "armv7l": "armv7l",
    "armeabi_v7a": "armv7l",
    "arm32": "armv7l",
    "armv6l": "armv6l",
    "ppc64le": "ppc64le",
    "ppc64": "ppc64",
    "ppc": "ppc",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loongarch64",
    "ia64": "ia64",
    "wasm32": "wasm32",
}
"""The architectures by all their names."""

_OLD_MANYLINUX: Final = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
_VERSIONED: Final = re.compile(r"(manylinux|musllinux|macosx|ios)_([0-9]+)_([0-9]+)_(\w+)")
_OLD: Final = re.compile(r"manylinux(1|2010|2014)_(\w+)")
_ANDROID: Final = re.compile(r"android_([0-9]+)_(\w+)")
_OTHER: Final = re.compile(r"(linux|win|freebsd|emscripten|pyodide)_?(\w*)")
_SIMULATORS: Final = re.compile(r"_(?:iphoneos|iphonesimulator)\Z")
_FAMILIES: Final = {"macosx": "macos", "win": "windows", "emscripten": "wasm", "pyodide": "wasm"}
_MAC_ARCHITECTURES: Final = ("x86_64", "arm64", "i386", "ppc", "ppc64")


class PlatformTag(Struct, frozen=True):
    """The content of a platform tag. An empty family is that of a tag that is not known."""

    family: str
    version: tuple[int, ...] = ()
    """The least version of the system: of glibc, musl, macOS, iOS or Android."""
    architectures: frozenset[str] = frozenset()
    """Empty: not known."""


@lru_cache(maxsize=8192)
def platform_tag(tag: str) -> PlatformTag:
    """Read a tag, in lower case."""
    if old := _OLD.fullmatch(tag):
        return PlatformTag("manylinux", _OLD_MANYLINUX[old[1]], _architectures(old[2]))
    if found := _VERSIONED.fullmatch(tag):
        family, rest = found[1], _SIMULATORS.sub("", found[4])
        architectures = _mac_architectures(rest) if family == "macosx" else _architectures(rest)
        return PlatformTag(_FAMILIES.get(family, family), (_number(found[2]), _number(found[3])), architectures)
    if android := _ANDROID.fullmatch(tag):
        return PlatformTag("android", (_number(android[1]),), _architectures(android[2]))
    if tag == "win32":
        return PlatformTag("windows", (), frozenset({"x86"}))
    if other := _OTHER.fullmatch(tag):
        return PlatformTag(_FAMILIES.get(other[1], other[1]), (), _architectures(other[2]))
    return PlatformTag("")


def _architectures(text: str) -> frozenset[str]:
    """The architecture at the end of a tag."""
    while text and text not in ARCHITECTURES:
        text = text.partition("_")[2]
    return frozenset({ARCHITECTURES[text]}) if text else frozenset()


@lru_cache(maxsize=64)
def _mac_architectures(binary_format: str) -> frozenset[str]:
    """The architectures of a binary format, such as `universal2`."""
    return frozenset(
        ARCHITECTURES[each]
        for each in _MAC_ARCHITECTURES
        if any(
            tag.endswith(f"_{binary_format}")
            for version in ((10, 5), (12, 0))
            for tag in mac_platforms(version, each)
            if tag.split("_", 3)[3] == binary_format
        )
    )


def _number(digits: str) -> int:
    return int(digits[:6])
