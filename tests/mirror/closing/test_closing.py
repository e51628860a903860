"""What is in a closure, case by case."""

from __future__ import annotations

import pytest

from pkgindex_core.errors import Refused, Unavailable
from pkgindex_mirror.closing.install_targets import read_targets
from tests.mirror.closing.universes import MIXED, FakeIndex, closed, filenames, versions


def test_every_version_that_a_requirement_admits() -> None:
    index = FakeIndex()
    for version in ("1.0", "1.5", "2.0"):
        index.add("base", version)
    index.add("app", "1.0", "base<2")
    index.add("app", "2.0", "base>=1.5")
    index.add("stranger", "1.0")
    assert versions(closed(index, "app")) == {"app": ["1.0", "2.0"], "base": ["1.0", "1.5", "2.0"]}
    assert versions(closed(index, "app<2")) == {"app": ["1.0"], "base": ["1.0", "1.5"]}
    assert versions(closed(index, "app", mode="newest")) == {"app": ["2.0"], "base": ["2.0"]}


def test_circles_end() -> None:
    index = FakeIndex()
    index.add("one", "1", "two")
    index.add("two", "1", "one[more]")
    index.add("one", "2", "two", "three ; extra == 'more'")
    index.add("three", "1", "one")
    assert versions(closed(index, "one")) == {"one": ["1", "2"], "three": ["1"], "two": ["1"]}


def test_markers_count_for_each_target() -> None:
    index = FakeIndex()
    index.add("app", "1", "win ; sys_platform == 'win32'", "old ; python_version < '3.12'", "never ; os_name == 'java'")
    index.add("win", "1", "deep ; python_version == '3.12' and sys_platform == 'linux'")
    for name in ("old", "never", "deep"):
        index.add(name, "1")
    found = closed(index, "app", targets=MIXED)
    assert set(versions(found)) == {"app", "win", "old"}
    (file,) = found.projects["win"].files
    assert [found.targets[each] for each in file.targets] == ["3.11 on windows-amd64", "3.12 on windows-amd64"]


def test_extras_only_of_versions_for_which_they_are_asked() -> None:
    index = FakeIndex()
    index.add("base", "1", "oldmore ; extra == 'More_Things'")
    index.add("base", "2", "newmore ; extra == 'more-things'", "others ; extra == 'others'")
    index.add("app", "1", "base", "base[more.things]>=2")
    for name in ("oldmore", "newmore", "others"):
        index.add(name, "1")
    assert versions(closed(index, "app")) == {"app": ["1"], "base": ["1", "2"], "newmore": ["1"]}


def test_an_extra_of_itself_is_of_the_same_version() -> None:
    index = FakeIndex()
    for version in ("1", "2"):
        index.add("base", version, f"more{version} ; extra == 'more'", "base[more] ; extra == 'all'")
        index.add(f"more{version}", "1")
    index.add("app", "1", "base[all]==2", "base")
    assert versions(closed(index, "app")) == {"app": ["1"], "base": ["1", "2"], "more2": ["1"]}


class TestPrereleases:
    def index(self) -> FakeIndex:
        index = FakeIndex()
        for version in ("1.0", "2.0rc1"):
            index.add("base", version)
        return index

    @pytest.mark.parametrize(
        ("requirement", "expected"),
        [
            ("base", ["1.0"]),
            ("base>=1.0rc1", ["1.0", "2.0rc1"]),
            ("base>1.0", ["2.0rc1"]),
            ("base==2.0rc1", ["2.0rc1"]),
        ],
    )
    @pytest.mark.parametrize("mode", ["all", "newest"])
    def test_by_the_rule_of_installers(self, requirement: str, expected: list[str], mode: str) -> None:
        found = versions(closed(self.index(), requirement, mode=mode))
        assert found == {"base": expected if mode == "all" else expected[-1:]}

    def test_requirements_that_only_together_exclude_final_versions(self) -> None:
        index = FakeIndex()
        for version in ("1.0", "2.0rc1", "3.0"):
            index.add("base", version)
        index.add("app", "1", "base>1")
        index.add("other", "1", "base<3")
        assert versions(closed(index, "app"))["base"] == ["3.0"]
        assert versions(closed(index, "app", "other"))["base"] == ["1.0", "2.0rc1", "3.0"]


class TestYanked:
    @pytest.mark.parametrize(
        ("requirement", "expected"),
        [("base", ["1"]), ("base>=2", []), ("base==2", ["2"]), ("base==2.*", []), ("base===2", ["2"])],
    )
    @pytest.mark.parametrize("mode", ["all", "newest"])
    def test_only_for_a_requirement_that_pins(self, requirement: str, expected: list[str], mode: str) -> None:
        index = FakeIndex()
        index.add("base", "1")
        index.add("base", "2", yanked="broken")
        assert versions(closed(index, requirement, mode=mode)).get("base", []) == expected

    def test_a_pin_brings_yanked_files_beside_others_with_their_requirements(self) -> None:
        index = FakeIndex()
        index.add("base", "1", "more ; extra == 'x'", yanked="broken")
        index.add("base", "1", sdist=True)
        index.add("app", "1", "later")
        index.add("later", "1", "base[x]==1")
        index.add("more", "1")
        assert filenames(closed(index, "base[x]")) == {"base-1.tar.gz"}
        assert versions(closed(index, "base[x]", "app")).keys() == {"app", "base", "later", "more"}


class TestFiles:
    def test_all_wheels_that_fit_and_sources_only_where_none_does(self) -> None:
        index = FakeIndex()
        for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-win_amd64"):
            index.add("demo", "1", tag=tag)
        index.add("demo", "1", sdist=True, builds=["flit"])
        index.add("flit", "1")
        on_311 = closed(index, "demo", targets=read_targets(["3.11"], ["linux"]))
        wheels = {"demo-1-cp311-cp311-manylinux_2_17_x86_64.whl", "demo-1-cp311-cp311-manylinux_2_28_x86_64.whl"}
        assert filenames(on_311) == wheels
        both = closed(index, "demo")
        assert filenames(both) == wheels | {"demo-1.tar.gz", "flit-1-py3-none-any.whl"}
        (flit,) = both.projects["flit"].files
        assert [both.targets[each] for each in flit.targets] == ["3.12 on linux-x86_64"]
        assert filenames(closed(index, "demo", sdists="never")) == wheels
        assert "flit-1-py3-none-any.whl" in filenames(
            closed(index, "demo", targets=read_targets(["3.11"], ["linux"]), sdists="always")
        )

    def test_one_source_distribution_of_several(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", sdist=True)
        zipped = index.projects["demo"][0]
        name = "demo-1.zip"
        index.projects["demo"].insert(0, type(zipped)(type(zipped.file)(filename=name), zipped.facts))
        assert filenames(closed(index, "demo")) == {"demo-1.tar.gz"}

    def test_pythons_that_the_page_or_the_metadata_exclude(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "gone", requires_python="<3")
        index.add("demo", "2", "gone", says_python="<3")
        index.add("demo", "3", "half", says_python=">=3.12")
        index.add("half", "1")
        index.add("gone", "1")
        found = closed(index, "demo")
        assert versions(found) == {"demo": ["3"], "half": ["1"]}
        assert [file.targets for file in found.projects["half"].files] == [(1,)]

    def test_the_newest_is_the_newest_that_is_permitted(self) -> None:
        index = FakeIndex()
        index.add("demo", "1")
        index.add("demo", "2", says_python=">=3.12")
        index.add("demo", "3", requires_python=">=3.13")
        found = closed(index, "demo", mode="newest")
        assert versions(found) == {"demo": ["1", "2"]}

    def test_wheels_of_a_version_may_differ(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "one", tag="cp311-cp311-manylinux1_x86_64")
        index.add("demo", "1", "two", tag="cp312-cp312-manylinux1_x86_64")
        index.add("one", "1")
        index.add("two", "1")
        found = closed(index, "demo")
        assert {name: [file.targets for file in found.projects[name].files] for name in ("one", "two")} == {
            "one": [(0,)],
            "two": [(1,)],
        }

    def test_files_of_no_use_to_installers(self) -> None:
        index = FakeIndex()
        index.add("demo", "1")
        for filename in ("demo-2.exe", "demo-odd-py3-none-any.whl", "demo-1.0-beta-final.tar.gz", "other-1.tar.gz"):
            entry = index.projects["demo"][0]
            index.projects["demo"].append(type(entry)(type(entry.file)(filename=filename), entry.facts))
        assert filenames(closed(index, "demo")) == {"demo-1-py3-none-any.whl"}


class TestUnknown:
    def test_a_source_distribution_asks_a_wheel_for_other_targets(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "wrong", sdist=True, unknown="it is built", guessed=True)
        index.add("demo", "1", "right<2", tag="cp39-cp39-win_amd64")
        for name in ("wrong", "right"):
            index.add(name, "1")
        found = closed(index, "demo")
        assert versions(found) == {"demo": ["1"], "right": ["1"]}
        assert found.unknown == []

    def test_without_one_it_says_so(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "base", sdist=True, unknown="it is built", guessed=True)
        index.add("base", "1")
        found = closed(index, "demo")
        assert versions(found) == {"base": ["1"], "demo": ["1"]}
        assert found.unknown == ["demo 1: it is built"]

    def test_a_wheel_that_cannot_be_read_asks_the_source_distribution(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", unknown="odd")
        index.add("demo", "1", "base", sdist=True)
        index.add("base", "1")
        found = closed(index, "demo")
        assert filenames(found) == {"demo-1-py3-none-any.whl", "base-1-py3-none-any.whl"}
        assert found.unknown == []

    def test_requirements_of_no_index(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "base @ https://example.invalid/base.whl")
        assert closed(index, "demo").unknown == [
            "demo 1: its requirement 'base @ https://example.invalid/base.whl' is of no index"
        ]


class TestUnmet:
    def test_requirements_that_nothing_satisfies(self) -> None:
        index = FakeIndex()
        index.add("demo", "1", "base>=2 ; python_version < '3.12'", "nowhere")
        index.add("base", "1")
        found = closed(index, "demo", "demo>=9")
        assert [(each.requirement, each.targets, each.missing) for each in found.unmet] == [
            ("base>=2", (0,), False),
            ("demo>=9", (0, 1), False),
            ("nowhere", (0, 1), True),
        ]
        assert versions(found) == {"demo": ["1"]}


def test_each_thing_is_asked_for_once() -> None:
    index = FakeIndex()
    for version in map(str, range(1, 9)):
        index.add("one", version, "two[more]", "three")
        index.add("two", version, "one", "three[x] ; extra == 'more'")
        index.add("three", version, "one", "two")
    closed(index, "one", "two>3", targets=MIXED)
    assert len(index.asked) == len(set(index.asked)) == 3 + 24


def test_unknown_is_never_absent() -> None:
    index = FakeIndex()
    index.add("demo", "1", "base")
    index.is_down = True
    with pytest.raises(Unavailable, match="the index is down"):
        closed(index, "demo")


def test_only_exact_things_are_locked() -> None:
    index = FakeIndex()
    with pytest.raises(Refused, match="base>=1 names no exact version"):
        closed(index, "demo==1", "base>=1", mode="locked")
