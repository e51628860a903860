"""Platforms as people write them, as the platform tags of wheels and as the values of environment markers. Pure.

A word (`linux`, `macos-x86_64`) stands for a family: every release of the system, every C library version. A platform tag
(`manylinux_2_28_x86_64`) stands for a machine of that release, so wheels for a newer one do not fit.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from packaging.tags import mac_platforms

from pkgindex_core.errors import Refused

_NEWEST_GLIBC: Final = 99
_NEWEST_MUSL: Final = 9
_NEWEST_MACOS: Final = 99
_LEGACY_GLIBC: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
"""PEP 600: the older names of some glibc versions."""
_SPELLINGS: Final = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64", "x86": "i686"}
_FAMILIES: Final = ("linux", "musllinux", "macos", "windows")
_WINDOWS_TAGS: Final = {
    "": "win_amd64",
    "x86_64": "win_amd64",
    "i686": "win32",
    "arm64": "win_arm64",
    "aarch64": "win_arm64",
}
_ON_WINDOWS: Final = {"win_amd64": "AMD64", "win_arm64": "ARM64", "win32": "x86"}

HINT: Final = (
    "write linux, musllinux, macos or windows, each with a machine if need be (linux-aarch64, macos-x86_64), or a platform tag such as"
    " manylinux_2_28_x86_64"
)


class Platform(Struct, frozen=True):
    """A system and a machine."""

    shown: str
    tags: tuple[str, ...]
    """The platform tags of the wheels that run there, without `any`."""
    markers: Mapping[str, str]
    """`os_name`, `sys_platform`, `platform_system` and `platform_machine`."""


def read_platform(text: str) -> Platform:
    """Read a word or a platform tag. Raises `Refused` if it is neither."""
    word = text.strip().lower()
    family, _, machine = word.partition("-")
    if family in _FAMILIES:
        return _family(word, family, machine)
    found = _of_tag(word)
    if found is None:
        raise Refused(f"{text[:80]!r} is no platform", hint=HINT)
    return found


def this_platform() -> str:
    """The word for the running system."""
    system = {"Darwin": "macos", "Windows": "windows"}.get(platform.system(), "linux")
    return f"{system}-{platform.machine().lower()}"


def _family(word: str, family: str, machine: str) -> Platform:
    machine = _SPELLINGS.get(machine, machine)
    if not re.fullmatch(r"[a-z0-9_]*", machine):
        raise Refused(f"{word[:80]!r} is no platform", hint=HINT)
    match family:
        case "linux":
            machine = _linux_machine(machine)
            return _linux(f"linux-{machine}", machine, tuple(_glibc_tags(_NEWEST_GLIBC, machine)))
        case "musllinux":
            machine = _linux_machine(machine)
            return _linux(f"musllinux-{machine}", machine, tuple(_musl_tags(_NEWEST_MUSL, machine)))
        case "macos":
            machine = {"": "arm64", "aarch64": "arm64"}.get(machine, machine)
            if machine not in {"arm64", "x86_64"}:
                raise Refused(f"{word[:80]!r} is no platform", hint=HINT)
            return _macos(f"macos-{machine}", (_NEWEST_MACOS, 0), machine)
        case _:
            tag = _WINDOWS_TAGS.get(machine)
            if tag is None:
                raise Refused(f"{word[:80]!r} is no platform", hint=HINT)
            return _windows(f"windows-{_ON_WINDOWS[tag].lower()}", tag)


def _of_tag(tag: str) -> Platform | None:
    if tag in _ON_WINDOWS:
        return _windows(tag, tag)
    for pattern, make in (
        (r"manylinux_2_(?P<minor>\d{1,3})_(?P<machine>\w+)", _glibc_tags),
        (r"musllinux_1_(?P<minor>\d{1,3})_(?P<machine>\w+)", _musl_tags),
    ):
        if found := re.fullmatch(pattern, tag):
            return _linux(tag, found["machine"], tuple(make(int(found["minor"]), found["machine"])))
    for minor, name in _LEGACY_GLIBC.items():
        if tag.startswith(f"{name}_"):
            machine = tag.removeprefix(f"{name}_")
            return _linux(tag, machine, tuple(_glibc_tags(minor, machine)))
    if found := re.fullmatch(r"linux_(\w+)", tag):
        return _linux(tag, found[1], (tag,))
    if found := re.fullmatch(r"macosx_(\d{1,2})_(\d{1,2})_(arm64|x86_64)", tag):
        return _macos(tag, (int(found[1]), int(found[2])), found[3])
    return None


def _linux_machine(machine: str) -> str:
    return {"": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _linux(shown: str, machine: str, tags: tuple[str, ...]) -> Platform:
    return Platform(shown, tags, _markers("posix", "linux", "Linux", machine))


def _macos(shown: str, version: tuple[int, int], machine: str) -> Platform:
    return Platform(shown, tuple(mac_platforms(version, machine)), _markers("posix", "darwin", "Darwin", machine))


def _windows(shown: str, tag: str) -> Platform:
    return Platform(shown, (tag,), _markers("nt", "win32", "Windows", _ON_WINDOWS[tag]))


def _markers(os_name: str, sys_platform: str, system: str, machine: str) -> Mapping[str, str]:
    return {
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": system,
        "platform_machine": machine,
    }


def _glibc_tags(newest: int, machine: str) -> Iterator[str]:
    """The tags of manylinux (PEP 600) from glibc 2.`newest` downwards, and that of wheels which were built on the machine itself."""
    for minor in range(newest, 4, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY_GLIBC:
            yield f"{_LEGACY_GLIBC[minor]}_{machine}"
    yield f"linux_{machine}"


def _musl_tags(newest: int, machine: str) -> Iterator[str]:
    """The tags of musllinux (PEP 656) from musl 1.`newest` downwards."""
    for minor in range(newest, -1, -1):
        yield f"musllinux_1_{minor}_{machine}"
    yield f"linux_{machine}"
