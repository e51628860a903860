"""Says in words what the tags of a wheel mean (platform compatibility tags specification).

cp313-abi3-manylinux_2_28_x86_64   CPython 3.13 and newer; Linux with glibc 2.28 or newer on x86_64
py3-none-any                       Python 3; any system
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_INTERPRETERS: Final[Mapping[str, str]] = {
    "py": "Python",
    "cp": "CPython",
    "pp": "PyPy",
    "ip": "IronPython",
    "jy": "Jython",
    "graalpy": "GraalPy",
}
_PYTHON: Final = re.compile(r"([a-z]+)([0-9]?)([0-9]*)")
_OLD_LINUX: Final[Mapping[str, str]] = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
_LINUX: Final = re.compile(r"(manylinux|musllinux)_([0-9]+)_([0-9]+)_(.+)")
_APPLE: Final = re.compile(r"(macosx|ios)_([0-9]+)_([0-9]+)_(.+)")
_ANDROID: Final = re.compile(r"android_([0-9]+)_(.+)")
_PLATFORMS: Final[Mapping[str, str]] = {
    "any": "any system",
    "win32": "Windows, 32 bits",
    "win_amd64": "Windows on x86_64",
    "win_arm64": "Windows on ARM64",
}


class WheelTags(Struct, frozen=True):
    """The tags of a wheel in words."""

    pythons: tuple[str, ...]
    platforms: tuple[str, ...]


def wheel_tags(filename: str) -> WheelTags | None:
    """The tags of a wheel by its name; None for other files. A tag without a known meaning stands as it is."""
    parts = filename.removesuffix(".whl").split("-")
    if not filename.endswith(".whl") or len(parts) not in {5, 6}:
        return None
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    said = dict.fromkeys(_python(python, abi) for python in pythons for abi in abis if _fits(python, abi))
    return WheelTags(tuple(said), tuple(dict.fromkeys(map(_platform, platforms))))


def _fits(python: str, abi: str) -> bool:
    """Whether the pair means something: of `cp312.cp313-cp312.cp313` only those of one version do."""
    return not abi.startswith(("cp", "graalpy")) or not python.startswith("cp") or abi.startswith(python)


def _python(python: str, abi: str) -> str:
    found = _PYTHON.fullmatch(python)
    name = _INTERPRETERS.get(found[1]) if found is not None else None
    if found is None or name is None:
        return python
    said = f"{name} {found[2]}{'.' if found[3] else ''}{found[3]}".rstrip()
    if abi == "abi3":
        return f"{said} and newer"
    if python.startswith("cp") and abi == "none":
        return f"{said} and newer, without a compiled part" if not found[3] else said
    # PEP 703: the ABI of a build without the global interpreter lock ends with `t`.
    if abi.startswith("cp") and abi.removeprefix(python) == "t":
        return f"{said}, free-threaded"
    return said


def _platform(tag: str) -> str:
    if tag in _PLATFORMS:
        return _PLATFORMS[tag]
    old, _, machine = tag.partition("_")
    if old in _OLD_LINUX:
        return f"Linux with glibc {_OLD_LINUX[old]} or newer on {machine}"
    if found := _LINUX.fullmatch(tag):
        library = "glibc" if found[1] == "manylinux" else "musl"
        return f"Linux with {library} {found[2]}.{found[3]} or newer on {found[4]}"
    if found := _APPLE.fullmatch(tag):
        system = "macOS" if found[1] == "macosx" else "iOS"
        machine = "ARM64 and x86_64" if found[4] == "universal2" else found[4]
        return f"{system} {found[2]}.{found[3]} or newer on {machine}"
    if found := _ANDROID.fullmatch(tag):
        return f"Android API {found[1]} or newer on {found[2]}"
    if tag.startswith("linux_"):
        return f"Linux on {tag.removeprefix('linux_')}"
    return tag
