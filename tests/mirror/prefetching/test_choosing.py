"""Of a page, the files that an installer would take."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from pkgindex_core.names import ProjectName
from pkgindex_mirror.prefetching.choosing import ChoosableFile, choose, targets
from pkgindex_mirror.prefetching.wanted import Wanted, wanted_by

LINUX = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64"]
OLD, NEW, PRE = "demo-1.0.tar.gz", "demo-2.0.tar.gz", "demo-3.0rc1.tar.gz"
PURE = "demo-2.0-py3-none-any.whl"
BUILT = "demo-2.0-cp312-cp312-manylinux_2_17_x86_64.whl"
NEWER = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
OTHER = "demo-2.0-cp312-cp312-win_amd64.whl"


def wanted(text: str = "demo", **more) -> Wanted:
    plain = wanted_by(Requirement(text), ProjectName("demo"), where="here")
    return Wanted(project=plain.project, specifier=plain.specifier, marker=plain.marker, where="here", **more)


def files(*names: str, **more) -> list[ChoosableFile]:
    return [ChoosableFile(filename=name, url=name, **more) for name in names]


def chosen(
    listed: list[ChoosableFile], what: Wanted, *, pythons=("3.12",), platforms=LINUX, everything=False
) -> set[str]:
    return {each.filename for each in choose(listed, what, targets(pythons, platforms), everything=everything)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("demo", {NEWER}), ("demo<2", {OLD}), ("demo>=3rc0", {PRE}), ("demo==9", set()), ("demo===2.0", {NEWER})],
)
def test_the_best_file_of_the_newest_version(text: str, expected: set[str]) -> None:
    assert chosen(files(OLD, NEW, PRE, PURE, BUILT, NEWER, OTHER, "demo-odd.exe", "x"), wanted(text)) == expected


def test_a_file_for_each_target() -> None:
    listed = files(NEW, PURE, BUILT, OTHER)
    assert chosen(listed, wanted(), pythons=("3.11", "3.12")) == {PURE, BUILT}
    assert chosen(listed, wanted(), platforms=["win_amd64"]) == {OTHER}
    assert chosen(listed, wanted(), everything=True) == {NEW, PURE, BUILT, OTHER}


def test_without_a_wheel_that_fits_the_source_is_taken_or_an_older_version() -> None:
    assert chosen(files(OLD, NEW, OTHER), wanted()) == {NEW}
    assert chosen(files(OLD, OTHER), wanted()) == {OLD}


def test_files_of_other_pythons_and_yanked_ones_are_passed_over() -> None:
    assert chosen([*files(OLD), *files(NEW, requires_python=">=3.13")], wanted()) == {OLD}
    assert chosen([*files(OLD), *files(NEW, requires_python="nonsense")], wanted()) == {NEW}
    assert chosen([*files(OLD), *files(NEW, yanked="broken")], wanted()) == {OLD}
    assert chosen([*files(OLD), *files(NEW, yanked="")], wanted()) == {OLD}
    assert chosen([*files(OLD), *files(NEW, yanked=True)], wanted("demo==2.0")) == {NEW}


def test_a_lock_names_the_files() -> None:
    listed = [*files(NEW, hashes={"sha256": "a"}), *files(PURE, hashes={"sha256": "b"}), *files(BUILT)]
    assert chosen(listed, wanted("demo==2.0", filenames=frozenset({NEW}))) == {NEW}
    assert chosen(listed[:2], wanted("demo==2.0", sha256s=frozenset({"a"}))) == {NEW}
    # A page without digests: the fetched bytes show it.
    assert chosen(listed, wanted("demo==2.0", sha256s=frozenset({"a"}))) == {BUILT}


@pytest.mark.parametrize(
    ("text", "platforms", "extras", "wants"),
    [
        ("demo; python_version == '3.12'", LINUX, (), True),
        ("demo; python_version < '3.12'", LINUX, (), False),
        ("demo; sys_platform == 'win32'", LINUX, (), False),
        ("demo; sys_platform == 'win32'", ["win_amd64"], (), True),
        ("demo; platform_machine == 'x86_64'", LINUX, (), True),
        ("demo; platform_machine == 'i686'", ["manylinux2014_i686"], (), True),
        ("demo; platform_machine == 'aarch64'", ["manylinux_2_28_aarch64"], (), True),
        ("demo; platform_machine == 'ppc64le'", ["linux_ppc64le"], (), True),
        ("demo; platform_machine == 'arm64'", ["macosx_14_0_arm64"], (), True),
        ("demo; platform_machine == 'AMD64'", ["win_amd64"], (), True),
        ("demo; extra == 'more'", LINUX, (), False),
        ("demo; extra == 'more'", LINUX, ("more",), True),
    ],
)
def test_markers(text: str, platforms: list[str], extras: tuple[str, ...], *, wants: bool) -> None:
    (target,) = targets(("3.12",), platforms)
    assert target.wants(wanted(text), extras) is wants


def test_without_options_the_target_is_the_running_python() -> None:
    (target,) = targets((), ())
    assert target.wants(wanted("demo; python_version > '3'"))
    assert len(target.ranks) > 10
