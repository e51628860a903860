"""morgan.ini as the input of a closure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from packaging.markers import Marker

from pkgindex_core.errors import Refused
from pkgindex_mirror.closing.closing import close_over
from pkgindex_mirror.closing.inputs import read_inputs
from pkgindex_mirror.closing.morgan_targets import targets_of
from tests.mirror.closing.universes import FakeIndex, filenames

LINUX = """
[env.edge]
python_version = 3.12
python_full_version = 3.12.4
os_name = posix
sys_platform = linux
platform_machine = x86_64
platform_system = Linux
implementation_name = cpython
platform_tag = linux-x86_64
[env.desk]
python_version = 3.11
sys_platform = win32
platform_machine = AMD64
platform_tag = win-amd64
[requirements]
demo =
    <2
    [more]>=3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "morgan.ini"
    path.write_text(text)
    return path


def test_environments_and_requirements(tmp_path: Path) -> None:
    read = read_inputs([], [write(tmp_path, LINUX)])
    assert [each.shown for each in read.wanted] == ["demo<2", "demo[more]>=3"]
    targets = targets_of(read.environments)
    assert [each.shown for each in targets.targets] == ["edge", "desk"]
    assert targets.fitting("cp312-cp312-manylinux_2_17_x86_64") == 0b01
    assert targets.fitting("cp311-cp311-win_amd64") == 0b10
    assert targets.holding(Marker("python_full_version >= '3.12.4' and sys_platform == 'linux'")) == 0b01
    assert targets.holding(Marker("python_full_version > '3.12.4' and sys_platform == 'linux'")) == 0
    assert targets.holding(Marker("platform_machine == 'AMD64'")) == 0b10
    index = FakeIndex()
    for version in ("1", "1.5", "2", "3"):
        index.add("demo", version, "extra ; extra == 'more' and sys_platform == 'win32'")
    index.add("extra", "1")
    closure = asyncio.run(close_over(read.wanted, index, targets, mode="newest"))
    assert filenames(closure) == {"demo-1.5-py3-none-any.whl", "demo-3-py3-none-any.whl", "extra-1-py3-none-any.whl"}


def test_patterns_for_the_tags_of_wheels(tmp_path: Path) -> None:
    path = write(
        tmp_path, LINUX.replace("platform_tag = linux-x86_64", "whl.tag.abi = cp312|none\nwhl.tag.platform = many|any")
    )
    targets = targets_of(read_inputs([], [path]).environments)
    assert targets.fitting("cp312-cp312-manylinux_2_17_x86_64") == 0b01
    assert targets.fitting("cp312-abi3-manylinux_2_17_x86_64") == 0
    assert targets.fitting("cp312-cp312-linux_x86_64") == 0
    assert targets.fitting("py3-none-any") == 0b11


def test_an_environment_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, LINUX.replace("platform_tag = win-amd64", "platform_tag = vms"))
    with pytest.raises(Refused, match=r"\[env.desk\]: 'vms' is no platform"):
        targets_of(read_inputs([], [path]).environments)
