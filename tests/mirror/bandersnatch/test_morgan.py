"""morgan.ini as morgan reads it; the first case is the one of its documentation, shortened."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from packaging.markers import Marker

from pkgindex_core.errors import Missing, Refused
from pkgindex_mirror.bandersnatch.morgan import MARKERS, MorganConfiguration, read_morgan
from tests.mirror.bandersnatch.files import written

SAMPLE = """\
[env.edge]
os_name = posix
platform_tag = linux-x86_64
sys_platform = linux
platform_machine = x86_64
platform_python_implementation = CPython
platform_system = Linux
python_version = 3.12
python_full_version = 3.12.7
implementation_name = cpython

[env.windows]
os_name = nt
platform_tag = win_amd64
sys_platform = win32
platform_machine = AMD64
platform_python_implementation = CPython
platform_system = Windows
python_version = 3.12
python_full_version = 3.12.7
implementation_name = cpython

[requirements]
requests = >=2.24.0
redis = >4.1.0,<4.2.1
xonsh = [full]~=0.11.0
urllib3 =
    <1.27
    >=2
    [brotli]
plain =
"""


def morgan(place: Path, text: str) -> MorganConfiguration:
    return read_morgan(written(place, text, name="morgan.ini"))


def small(*lines: str, environment: str = "python_version = 3.12") -> str:
    return "\n".join(["[env.a]", *dedent(environment).splitlines(), "[requirements]", *lines])


def test_the_sample(tmp_path: Path) -> None:
    found = morgan(tmp_path, SAMPLE)
    assert [str(each) for each in found.requirements] == [
        "requests>=2.24.0",
        "redis<4.2.1,>4.1.0",
        "xonsh[full]~=0.11.0",
        "urllib3<1.27",
        "urllib3>=2",
        "urllib3[brotli]",
        "plain",
    ]
    assert [(target.name, target.platform_tag) for target in found.targets] == [
        ("edge", "linux-x86_64"),
        ("windows", "win_amd64"),
    ]
    assert found.remarks == ()
    marker = Marker('sys_platform == "win32" and python_version >= "3.9"')
    assert [marker.evaluate(dict(environment)) for environment in found.environments] == [False, True]


def test_an_environment_has_all_markers_so_that_none_is_of_this_machine(tmp_path: Path) -> None:
    found = morgan(tmp_path, small("demo ="))
    (environment,) = found.environments
    assert set(environment) == {*MARKERS, "extra"}
    assert environment["sys_platform"] == ""
    assert "[env.a] has no sys_platform: no requirement that asks for one applies" in found.remarks


@pytest.mark.parametrize(
    ("line", "short", "full"),
    [
        ("python_version = 3.12", "3.12", "3.12"),
        ("python_full_version = 3.12.7", "3.12", "3.12.7"),
        ("Python_Version: 3.12", "3.12", "3.12"),
    ],
)
def test_one_version_is_made_of_the_other(tmp_path: Path, line: str, short: str, full: str) -> None:
    (environment,) = morgan(tmp_path, small("demo =", environment=line)).environments
    assert (environment["python_version"], environment["python_full_version"]) == (short, full)


def test_lines_of_a_repeated_name_count_together(tmp_path: Path) -> None:
    found = morgan(tmp_path, small("demo = <2", "", "demo = >3", "[requirements]", "demo = ==5"))
    assert [str(each) for each in found.requirements] == ["demo<2", "demo>3", "demo==5"]


def test_patterns_for_the_tags_of_wheels(tmp_path: Path) -> None:
    environment = (
        "python_version = 3.12\nwhl.tag.interpreter = cp312|py3\nwhl.tag.abi =\nwhl.tag.platform = any|manylinux"
    )
    (target,) = morgan(tmp_path, small("demo =", environment=environment)).targets
    assert target.wheel_tags == {"interpreter": "cp312|py3", "platform": "any|manylinux"}


def test_what_has_no_effect_is_said(tmp_path: Path) -> None:
    found = morgan(tmp_path, small("demo =", "[other]", "x = 1", environment="python_version = 3.12\ncolour = red"))
    assert {"the section [other] has no effect", "[env.a] colour has no effect"} <= set(found.remarks)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[requirements]\ndemo =\n", "there is no environment: a section such as [env.edge]"),
        ("[env.a]\npython_version = 3\n", "there is no requirement in [requirements]"),
        (small("demo = 2"), "[requirements] demo = 2 is the project demo2 in morgan: write ==2"),
        (small("demo = >"), "[requirements] demo = > is no requirement"),
        (small("demo =", environment="os_name = nt"), "[env.a] has no python_version"),
        (small("demo =", environment="python_version = new"), "[env.a] python_version = new is no version"),
        (
            small("demo =", environment="python_version = 3\nwhl.tag.abi = ("),
            "[env.a] whl.tag.abi = ( is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (small("demo"), "line 4 has no '='"),
        ("demo = 1", "line 1 stands before the first [section]"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(Refused) as caught:
        morgan(tmp_path, text)
    assert caught.value.problems == (f"{tmp_path}/morgan.ini: {problem}",)


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        morgan(tmp_path, small("one = 1", "two = 2"))
    assert len(caught.value.problems) == 2


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        read_morgan(tmp_path / "morgan.ini")
