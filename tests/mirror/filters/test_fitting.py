"""Files are kept for the wanted Pythons and systems, by the same tags that installers accept."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_mirror.filters.own.own_filters import own_filters
from tests.mirror.filters.conftest import kept, of_files


def fits(tags: str, **settings: object) -> bool:
    return kept(own_filters(settings), of_files(f"demo-1.0-{tags}.whl")) != []


def choose(names: Iterable[str | File], **settings: object) -> list[str]:
    return kept(own_filters(settings), of_files(*names))


@pytest.mark.parametrize(
    ("tags", "pythons", "expected"),
    [
        ("cp312-cp312-win_amd64", ["3.12"], True),
        ("cp312-cp312-win_amd64", ["3.11"], False),
        ("cp312-cp312-win_amd64", ["3.11", "3.12"], True),
        ("cp37-abi3-win_amd64", ["3.13"], True),
        ("cp37-abi3-win_amd64", ["3.6"], False),
        ("cp313-abi3-win_amd64", ["3.12"], False),
        ("cp37-abi3-win_amd64", ["3.13t"], False),
        ("cp313-cp313t-win_amd64", ["3.13t"], True),
        ("cp313-cp313t-win_amd64", ["3.13"], False),
        ("cp37-cp37m-win_amd64", ["3.7"], True),
        ("cp27-cp27mu-win_amd64", ["2.7"], True),
        ("py3-none-any", ["3.12"], True),
        ("py3-none-any", ["2.7"], False),
        ("py2.py3-none-any", ["2.7"], True),
        ("py2-none-any", ["3.12"], False),
        ("py310-none-any", ["3.12"], True),
        ("py313-none-any", ["3.12"], False),
        ("cp38.cp39-none-any", ["3.9"], True),
        ("cp38.cp39-cp38.cp39-win_amd64", ["3.10"], False),
        ("pp310-pypy310_pp73-win_amd64", ["3.10"], True),
        ("pp310-pypy310_pp73-win_amd64", ["3.12"], False),
        ("CP312-CP312-WIN_AMD64", ["3.12"], True),
    ],
)
def test_pythons(tags: str, pythons: list[str], expected: bool):
    assert fits(tags, pythons=pythons) is expected


@pytest.mark.parametrize(
    ("tags", "implementations", "pythons", "expected"),
    [
        ("pp310-pypy310_pp73-win_amd64", ["cpython"], ["3.10"], False),
        ("pp310-pypy310_pp73-win_amd64", ["pypy"], ["3.10"], True),
        ("pp310-pypy310_pp73-win_amd64", ["pypy"], [], True),
        ("cp310-cp310-win_amd64", ["pypy"], ["3.10"], False),
        ("py3-none-any", ["pypy"], ["3.10"], True),
        ("graalpy311-graalpy240_311_native-win_amd64", ["graalpy"], ["3.11"], True),
        ("graalpy311-graalpy240_311_native-win_amd64", ["CPython"], [], False),
    ],
)
def test_implementations(tags: str, implementations: list[str], pythons: list[str], expected: bool):
    assert fits(tags, implementations=implementations, pythons=pythons) is expected


@pytest.mark.parametrize(
    ("platform", "platforms", "architectures", "expected"),
    [
        ("any", ["windows"], ["arm64"], True),
        ("win_amd64", ["windows"], [], True),
        ("win_amd64", ["windows"], ["x86"], False),
        ("win32", ["windows"], ["x86"], True),
        ("win_arm64", [], ["arm64"], True),
        ("win_amd64", ["linux", "macos"], [], False),
        ("win_amd64", ["win_amd64"], ["arm64"], True),
        ("manylinux1_x86_64", ["linux"], ["x86_64"], True),
        ("manylinux2014_aarch64", ["linux"], ["x86_64"], False),
        ("manylinux_2_34_x86_64", ["manylinux_2_28"], [], False),
        ("manylinux_2_28_x86_64", ["manylinux_2_28"], [], True),
        ("manylinux2014_x86_64", ["manylinux_2_28_x86_64"], [], True),
        ("manylinux2014_x86_64", ["manylinux2010"], [], False),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", ["manylinux2014"], ["amd64"], True),
        ("musllinux_1_1_x86_64", ["manylinux"], [], False),
        ("musllinux_1_2_x86_64", ["linux"], [], True),
        ("musllinux_1_2_x86_64", ["musllinux_1_1"], [], False),
        ("musllinux_1_2_x86_64", ["musllinux_2_0"], [], False),
        ("linux_armv7l", ["linux"], ["armv7l"], True),
        ("linux_x86_64", ["musllinux"], [], True),
        ("macosx_10_9_x86_64", ["macos"], ["arm64"], False),
        ("macosx_11_0_universal2", ["macos"], ["arm64"], True),
        ("macosx_10_9_intel", ["macos"], ["x86_64"], True),
        ("macosx_14_0_arm64", ["macosx_12_0"], [], False),
        ("macosx_11_0_arm64", ["macosx_12_0_arm64"], [], True),
        ("macosx_11_0_arm64", ["macosx_12_0_x86_64"], [], False),
        ("ios_13_0_arm64_iphoneos", ["ios"], ["arm64"], True),
        ("ios_13_0_arm64_iphoneos", ["linux", "macos"], [], False),
        ("android_24_arm64_v8a", ["android"], ["arm64"], True),
        ("android_24_arm64_v8a", ["android_21"], [], False),
        ("pyodide_2024_0_wasm32", ["emscripten"], [], True),
        ("freebsd_13_2_release_amd64", ["freebsd"], ["x86_64"], True),
        ("solaris_2_11_x86_64", ["linux"], [], False),
    ],
)
def test_platforms(platform: str, platforms: list[str], architectures: list[str], expected: bool):
    tags = "py3-none-any" if platform == "any" else f"cp312-cp312-{platform}"
    assert fits(tags, platforms=platforms, architectures=architectures) is expected


class TestAgainstPackaging:
    """A target keeps exactly the wheels of which `packaging` accepts a tag."""

    WHEELS = (
        *(f"cp{python}-{abi}-{platform}"
          for python in ("36", "37", "311", "312", "313")
          for abi in ("abi3", "none", f"cp{python}", f"cp{python}m", f"cp{python}t", "abi3t")
          for platform in ("win_amd64", "win32", "macosx_11_0_arm64", "macosx_10_9_universal2", "macosx_13_0_x86_64")),
        "py2.py3-none-any", "py3-none-any", "py2-none-any", "py311.py312-none-any", "py34-none-win_amd64", "cp312-none-any",
        "py3-none-macosx_10_9_x86_64.macosx_11_0_arm64", "cp310.cp311-cp310.cp311-win_amd64", "cp3-none-any", "py3-abi3-any",
    )  # fmt: skip

    def accepted(self, python: tuple[int, int], abi: str, platforms: list[str]) -> set[Tag]:
        number = f"cp{python[0]}{python[1]}"
        return {*cpython_tags(python, [abi], platforms), *compatible_tags(python, number, platforms)}

    @pytest.mark.parametrize(
        ("word", "python", "abi"),
        [("3.12", (3, 12), "cp312"), ("3.13t", (3, 13), "cp313t"), ("3.11", (3, 11), "cp311")],
    )
    @pytest.mark.parametrize("platform", ["win_amd64", "macosx_12_0_arm64", "macosx_14_0_x86_64"])
    def test_the_same_wheels(self, word: str, python: tuple[int, int], abi: str, platform: str):
        found = re.fullmatch(r"macosx_(\d+)_0_(\w+)", platform)
        platforms = [*mac_platforms((int(found[1]), 0), found[2])] if found else [platform]
        accepted = self.accepted(python, abi, platforms)
        for tags in self.WHEELS:
            expected = not accepted.isdisjoint(parse_wheel_filename(f"demo-1.0-{tags}.whl")[3])
            assert fits(tags, pythons=[word], implementations=["cpython"], platforms=[platform]) is expected, tags


class TestRequiresPython:
    @pytest.mark.parametrize(
        ("requires", "pythons", "expected"),
        [
            (">=3.13", ["3.12"], False),
            (">=3.13", ["3.12", "3.13"], True),
            (">=3.12.4", ["3.12"], True),
            (">=3.12.4", ["3.12.1"], False),
            (">=3.12.4,<3.12.6", ["3.12"], True),
            ("<3.12", ["3.12"], False),
            ("!=3.12.*", ["3.12"], False),
            ("", ["3.12"], True),
            ("no specifier", ["3.12"], True),
            (">=3.13", [], True),
        ],
    )
    @pytest.mark.parametrize("name", ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"])
    def test_is_obeyed(self, requires: str, pythons: list[str], expected: bool, name: str):
        settings = {"pythons": pythons, "platforms": ["linux"]}
        assert (choose([File(filename=name, requires_python=requires)], **settings) != []) is expected

    def test_a_wheel_for_a_python_that_it_does_not_permit_is_left_out(self):
        wheel = File(filename="demo-1.0-cp311.cp312-none-any.whl", requires_python=">=3.12")
        assert choose([wheel], pythons=["3.11"]) == []
        assert choose([wheel], pythons=["3.11", "3.12"]) == [wheel.filename]


class TestOldKinds:
    NAMES = (
        "demo-1.0-py3.7.egg", "demo-1.0-py2.7-win32.egg", "demo-1.0.win-amd64-py3.7.exe", "demo-1.0.win32.exe", "demo-1.0.win32-py2.7.msi",
        "demo-1.0.linux-x86_64.tar.gz", "demo-1.0.macosx-10.9-x86_64.tar.gz", "demo-1.0-1.noarch.rpm", "demo-1.0-py3.7-macosx-10.9-x86_64.egg",
    )  # fmt: skip

    def test_by_python(self):
        assert choose(self.NAMES, pythons=["3.7"]) == [name for name in self.NAMES if "py2.7" not in name]

    def test_by_system(self):
        assert choose(self.NAMES, platforms=["windows"]) == [
            name for name in self.NAMES if "win" in name or name == "demo-1.0-py3.7.egg"
        ]
        assert choose(self.NAMES, platforms=["manylinux"], architectures=["arm64"]) == [
            "demo-1.0-py3.7.egg", "demo-1.0-1.noarch.rpm",
        ]  # fmt: skip

    def test_all_stay_without_settings(self):
        assert choose(self.NAMES, sdists="never") == list(self.NAMES)


class TestSourceDistributions:
    SDIST = "demo-1.0.tar.gz"
    PURE = "demo-1.0-py3-none-any.whl"

    def test_never(self):
        assert choose([self.SDIST, self.PURE], sdists="never") == [self.PURE]

    def test_always(self):
        assert choose([self.SDIST, self.PURE], pythons=["3.12"]) == [self.SDIST, self.PURE]

    def test_where_no_wheel_fits(self):
        assert choose([self.SDIST, self.PURE], sdists="where-no-wheel-fits") == [self.PURE]
        assert choose([self.SDIST], sdists="where-no-wheel-fits") == [self.SDIST]
        assert choose([self.SDIST, "demo-2.0-py3-none-any.whl"], sdists="where-no-wheel-fits") != []
        assert self.SDIST in choose([self.SDIST, "demo-2.0-py3-none-any.whl"], sdists="where-no-wheel-fits")

    @pytest.mark.parametrize(
        ("wheels", "needed"),
        [
            (["cp311-cp311-win_amd64", "cp312-cp312-win_amd64", "cp311-abi3-manylinux2014_x86_64"], False),
            (["cp311-cp311-win_amd64", "cp311-abi3-manylinux2014_x86_64"], True),
            (["cp311-abi3-manylinux2014_x86_64"], True),
            (["cp311-abi3-manylinux2014_x86_64.win_amd64"], False),
            (["py3-none-any"], False),
            (["py2-none-any"], True),
        ],
    )
    def test_each_target_needs_a_wheel(self, wheels: list[str], needed: bool):
        names = [self.SDIST, *(f"demo-1.0-{tags}.whl" for tags in wheels)]
        settings = {"pythons": ["3.11", "3.12"], "platforms": ["manylinux2014_x86_64", "win_amd64"]}
        assert (self.SDIST in choose(names, sdists="where-no-wheel-fits", **settings)) is needed

    def test_a_target_that_the_source_does_not_permit_needs_no_wheel(self):
        sdist = File(filename=self.SDIST, requires_python=">=3.12")
        names = [sdist, "demo-1.0-cp312-cp312-win_amd64.whl"]
        settings = {"pythons": ["3.11", "3.12"], "platforms": ["win_amd64"], "sdists": "where-no-wheel-fits"}
        assert choose(names, **settings) == ["demo-1.0-cp312-cp312-win_amd64.whl"]
        names[0] = replace(sdist, requires_python="")
        assert self.SDIST in choose(names, **settings)

    def test_a_wheel_serves_only_pythons_that_it_permits(self):
        wheel = File(filename=self.PURE, requires_python=">=3.12")
        assert choose([self.SDIST, wheel], pythons=["3.11", "3.12"], sdists="where-no-wheel-fits") == [
            self.SDIST,
            self.PURE,
        ]
        assert choose([self.SDIST, wheel], pythons=["3.12"], sdists="where-no-wheel-fits") == [self.PURE]

    def test_spellings_of_one_version_are_one_release(self):
        assert choose(["demo-1.0.tar.gz", "demo-1.0.0-py3-none-any.whl"], sdists="where-no-wheel-fits") == [
            "demo-1.0.0-py3-none-any.whl"
        ]


@pytest.mark.parametrize(
    "name", ["demo.whl", "demo-1.0.whl", "-.whl", "demo-1.0-py3-none.whl", "demo-1.0-..-..-...whl"]
)
def test_a_wheel_without_tags_is_left_out(name: str):
    assert choose([File(filename=name, version="1.0")], pythons=["3.12"]) == []


@pytest.mark.parametrize(
    "name",
    [
        f"demo-1.0-{'.'.join(['x'] * 30_000)}-{'.'.join(['y'] * 30_000)}-any.whl",
        f"demo-1.0-{'.'.join(['py3'] * 30)}-{'.'.join(['none'] * 30)}-any.whl",
        f"demo-1.0.linux-{'-' * 100_000}.egg",
    ],
    ids=len,
)
def test_a_hostile_name_is_left_out_at_once(name: str):
    assert choose([File(filename=name, version="1.0")], pythons=["3.12"], platforms=["linux"]) == []


def test_a_hostile_specifier_permits_all():
    wheel = File(filename="demo-1.0-py3-none-any.whl", requires_python=",".join([">=3.99"] * 30_000))
    assert choose([wheel], pythons=["3.12"]) == [wheel.filename]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pythons": ["twelve"]}, "'twelve' is no Python version"),
        ({"implementations": ["cpyton"]}, "no Python implementation 'cpyton'"),
        ({"platforms": ["windos"]}, "no platform 'windos'"),
        ({"architectures": ["arm46"]}, "no architecture 'arm46'"),
        ({"platforms": ["windows"], "architectures": ["s390x"]}, "none of the platforms windows"),
        ({"platforms": ["manylinux_x"]}, "no platform 'manylinux_x'"),
    ],
)
def test_a_wrong_word_is_refused(settings: dict[str, object], problem: str):
    with pytest.raises(Refused, match=problem) as raised:
        own_filters(settings)
    assert raised.value.hint
