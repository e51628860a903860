"""Targets: the wheels that fit, the Pythons that are permitted, and the markers that hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from packaging.markers import Marker

from pkgindex_core.errors import Refused
from pkgindex_mirror.closing import install_targets
from pkgindex_mirror.closing.install_targets import TargetSet, read_targets

PLATFORMS = ["linux", "linux-aarch64", "musllinux", "macos", "macos-x86_64", "windows", "windows-arm64", "win32"]


def fitting(tag: str, pythons: list[str], platforms: list[str]) -> list[str]:
    targets = read_targets(pythons, platforms)
    return targets.shown(targets.fitting(tag))


def holds(marker: str, python: str = "3.12", platform: str = "linux", extra: str = "") -> bool:
    return bool(read_targets([python], [platform]).holding(Marker(marker), extra))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", PLATFORMS),
        ("py2.py3-none-any", PLATFORMS),
        ("py2-none-any", []),
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", ["linux"]),
        ("cp312-cp312-manylinux_2_39_x86_64", ["linux"]),
        ("cp312-cp312-manylinux1_x86_64", ["linux"]),
        ("cp312-cp312-linux_aarch64", ["linux-aarch64"]),
        ("cp312-abi3-manylinux_2_17_aarch64", ["linux-aarch64"]),
        ("cp39-abi3-musllinux_1_2_x86_64", ["musllinux"]),
        ("cp313-abi3-musllinux_1_2_x86_64", []),
        ("cp311-cp311-win_amd64", []),
        ("cp312-cp312-win_amd64", ["windows"]),
        ("py3-none-win32", ["win32"]),
        ("py3-none-win_arm64", ["windows-arm64"]),
        ("cp312-cp312-macosx_11_0_arm64", ["macos"]),
        ("cp312-cp312-macosx_10_13_x86_64", ["macos-x86_64"]),
        ("cp312-cp312-macosx_10_13_universal2", ["macos", "macos-x86_64"]),
        ("nonsense", []),
        (".-.-.", []),
    ],
)
def test_wheels_fit_platforms(tag: str, expected: list[str]) -> None:
    named = {read_targets(["3.12"], [word]).targets[0].shown: word for word in PLATFORMS}
    assert [named[each] for each in fitting(tag, ["3.12"], PLATFORMS)] == expected


def test_a_tag_is_a_machine_of_that_release() -> None:
    for tag, platform, fits in (
        ("cp312-cp312-manylinux_2_28_x86_64", "manylinux_2_28_x86_64", True),
        ("cp312-cp312-manylinux_2_31_x86_64", "manylinux_2_28_x86_64", False),
        ("cp312-cp312-manylinux2014_x86_64", "manylinux2014_x86_64", True),
        ("cp312-cp312-manylinux_2_28_x86_64", "manylinux2014_x86_64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", "musllinux_1_1_x86_64", False),
        ("cp312-cp312-macosx_14_0_arm64", "macosx_13_0_arm64", False),
        ("cp312-cp312-macosx_12_0_arm64", "macosx_13_0_arm64", True),
    ):
        assert bool(fitting(tag, ["3.12"], [platform])) is fits, (tag, platform)


def test_wheels_fit_pythons() -> None:
    pythons = ["3.8", "3.12", "3.13t", "pypy3.11", "3.7"]

    def found(tag: str) -> list[str]:
        return [each.partition(" ")[0] for each in fitting(tag, pythons, ["linux"])]

    assert found("cp38-cp38-manylinux1_x86_64") == ["3.8"]
    assert found("cp37-cp37m-manylinux1_x86_64") == ["3.7"]
    assert found("cp313-cp313t-manylinux1_x86_64") == ["3.13t"]
    assert found("cp36-abi3-manylinux1_x86_64") == ["3.8", "3.12", "3.7"]
    assert found("pp311-pypy311_pp73-manylinux1_x86_64") == ["pypy3.11"]
    assert found("py3-none-any") == ["3.8", "3.12", "3.13t", "pypy3.11", "3.7"]


@pytest.mark.parametrize(
    ("marker", "python", "platform", "expected"),
    [
        ("python_version < '3.12'", "3.12", "linux", False),
        ("python_version < '3.12'", "3.11", "linux", True),
        ("sys_platform == 'win32' and platform_machine == 'AMD64'", "3.12", "windows", True),
        ("os_name == 'nt'", "3.12", "macos", False),
        ("platform_system == 'Darwin' and platform_machine == 'arm64'", "3.12", "macos", True),
        ("platform_machine == 'aarch64'", "3.12", "linux-arm64", True),
        ("platform_python_implementation != 'PyPy'", "pypy3.11", "linux", False),
        ("implementation_name == 'cpython'", "3.12", "linux", True),
        ("extra == 'more'", "3.12", "linux", False),
        # A Python without a patch release is every patch release.
        ("python_full_version < '3.11.3'", "3.11", "linux", True),
        ("python_full_version >= '3.11.3'", "3.11", "linux", True),
        ("python_full_version == '3.11.4'", "3.11", "linux", True),
        ("python_full_version < '3.11.0'", "3.11", "linux", False),
        ("python_full_version < '3.11.3'", "3.11.4", "linux", False),
        ("python_full_version >= '3.11.3'", "3.11.4", "linux", True),
        ("implementation_version < '3.11.3'", "3.11", "linux", True),
        # The release of the system is open.
        ("platform_release >= '20'", "3.12", "macos", True),
        ("platform_release < '20'", "3.12", "macos", True),
        ("'microsoft' in platform_release", "3.12", "linux", True),
        ("sys_platform == 'darwin' and platform_release >= '20'", "3.12", "linux", False),
    ],
)
def test_markers(marker: str, python: str, platform: str, expected: bool) -> None:
    assert holds(marker, python, platform) is expected


def test_a_marker_with_very_many_values_may_hold() -> None:
    many = " or ".join(f"platform_release == '{number}' and platform_version == '{number}'" for number in range(300))
    assert holds(f"sys_platform == 'win32' and ({many})")


def test_markers_of_extras() -> None:
    assert holds("extra == 'more' and python_version >= '3'", extra="more")
    assert not holds("extra == 'more' and python_version < '3'", extra="more")
    targets = read_targets(["3.12"], ["linux"])
    assert targets.holding(Marker("'dev' in dependency_groups"), "", frozenset({"dev"})) == 1
    assert targets.holding(Marker("'dev' in dependency_groups"), "", frozenset()) == 0
    assert targets.holding(None) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">=3.12", ["3.12"]),
        (">=3.11.4", ["3.11", "3.12"]),
        ("<3.11.4", ["3.11"]),
        ("!=3.11.*", ["3.12"]),
        (">=4", []),
        ("nonsense", ["3.11", "3.12"]),
        ("", ["3.11", "3.12"]),
    ],
)
def test_permitted_pythons(text: str, expected: list[str]) -> None:
    targets = read_targets(["3.11", "3.12"], ["linux"])
    assert [each.partition(" ")[0] for each in targets.shown(targets.permitting(text))] == expected


def test_everything_that_cannot_be_read_is_told_at_once() -> None:
    with pytest.raises(Refused) as caught:
        read_targets(["3", "pypy3.11t", "3.12"], ["plan9", "windows-vax", "macos-vax", "linux"])
    assert len(caught.value.problems) == 5
    assert "manylinux" in caught.value.hint
    assert "pypy3.11" in caught.value.hint


def test_without_arguments_this_machine() -> None:
    found: TargetSet = read_targets([], [])
    assert len(found.targets) == 1
    assert found.fitting("py3-none-any") == 1


def test_a_target_that_is_named_twice_counts_once() -> None:
    assert len(read_targets(["3.12", "3.12"], ["linux", "linux-x86_64"]).targets) == 1


@pytest.mark.parametrize("text", [f">={'9' * 5000}", f"==3.12.{'9' * 4400}", "rubbish"])
def test_a_python_that_cannot_be_read_permits_all(text: str) -> None:
    targets = read_targets(["3.11", "3.12"], ["linux"])
    assert targets.permitting(text) == targets.everything


def test_a_hostile_marker_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    original = install_targets._holds

    def counting(marker: Marker, environment: Mapping[str, Any]) -> bool:
        tried.append(environment)
        return original(marker, environment)

    monkeypatch.setattr(install_targets, "_holds", counting)
    pieces = (f"platform_release == 'a{n}' and platform_version == 'b{n}' and os_name == 'none'" for n in range(50))
    assert holds(" or ".join(pieces)), "not known, so not left out"
    assert len(tried) <= 250
