"""Closures of lock files: exactly their files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_mirror.closing.closing import close_over
from pkgindex_mirror.closing.closure import Closure
from pkgindex_mirror.closing.inputs import read_inputs
from pkgindex_mirror.closing.install_targets import TargetSet
from tests.mirror.closing.universes import LINUX, FakeIndex, filenames, versions

ON_311, ON_312 = "demo-1.0-cp311-cp311-manylinux1_x86_64.whl", "demo-1.0-cp312-cp312-manylinux1_x86_64.whl"
ON_WINDOWS, SDIST, BASE = "demo-1.0-cp312-cp312-win_amd64.whl", "demo-1.0.tar.gz", "base-1-py3-none-any.whl"


@pytest.fixture
def index() -> FakeIndex:
    index = FakeIndex()
    for filename in (ON_311, ON_312, ON_WINDOWS):
        index.add("demo", "1.0", "not-followed", tag=filename.removeprefix("demo-1.0-").removesuffix(".whl"))
    index.add("demo", "1.0", "not-followed", sdist=True, builds=["flit>=3"])
    index.add("demo", "2.0")
    for version in ("3", "4"):
        index.add("flit", version)
    index.add("base", "1", yanked="broken")
    return index


def locked(index: FakeIndex, path: Path, *, targets: TargetSet = LINUX, whole: bool = False) -> Closure:
    read = read_inputs([], [path])
    return asyncio.run(close_over(read.wanted, index, targets, mode="locked", whole=whole))


def pylock(folder: Path, *names: str, marker: str = "", hashes: dict[str, str] | None = None) -> Path:
    wheels = [
        {
            "name": name,
            "url": f"https://x.invalid/{name}",
            "hashes": {"sha256": (hashes or {}).get(name) or sha256_of(name.encode())},
        }
        for name in names
        if name.endswith(".whl")
    ]
    lines = ['lock-version = "1.0"', 'created-by = "test"', "[[packages]]", 'name = "demo"', 'version = "1.0"']
    lines += [f"marker = {json.dumps(marker)}"] if marker else []
    for name in names:
        if not name.endswith(".whl"):
            lines.append(
                f'sdist = {{name="{name}", url="https://x.invalid/{name}", hashes={{sha256="{sha256_of(name.encode())}"}}}}'
            )
    for wheel in wheels:
        lines += ["[[packages.wheels]]", f'name = "{wheel["name"]}"', f'url = "{wheel["url"]}"']
        lines.append(f'hashes = {{sha256 = "{wheel["hashes"]["sha256"]}"}}')
    path = folder / "pylock.toml"
    path.write_text("\n".join(lines))
    return path


def test_exactly_the_files_of_the_lock_for_the_targets(index: FakeIndex, tmp_path: Path) -> None:
    found = locked(index, pylock(tmp_path, ON_311, ON_312, ON_WINDOWS, SDIST))
    assert filenames(found) == {ON_311, ON_312}
    assert [demand.askers[0].where for demand in found.projects["demo"].demands] == [f"{tmp_path}/pylock.toml, demo"]
    assert found.unmet == ()


def test_all_files_of_the_lock(index: FakeIndex, tmp_path: Path) -> None:
    found = locked(index, pylock(tmp_path, ON_311, ON_312, ON_WINDOWS, SDIST), whole=True)
    assert filenames(found) == {ON_311, ON_312, ON_WINDOWS, SDIST}
    assert {file.filename: file.targets for file in found.projects["demo"].files} == {
        ON_311: (0,), ON_312: (1,), ON_WINDOWS: (), SDIST: (),
    }  # fmt: skip


def test_a_source_distribution_brings_the_newest_of_what_builds_it(index: FakeIndex, tmp_path: Path) -> None:
    found = locked(index, pylock(tmp_path, ON_311, SDIST))
    assert filenames(found) == {ON_311, SDIST, "flit-4-py3-none-any.whl"}
    assert found.projects["flit"].demands[0].askers[0].shown == "building demo"
    assert found.projects["flit"].versions[0].files[0].targets == (1,)


def test_what_the_index_does_not_have_any_more_is_told(index: FakeIndex, tmp_path: Path) -> None:
    lost = "demo-1.0-cp311-cp311-musllinux_1_1_x86_64.whl"
    found = locked(index, pylock(tmp_path, ON_312, lost), whole=True)
    assert [each.requirement for each in found.unmet] == [f"demo==1.0 ({lost})"]
    found = locked(index, pylock(tmp_path, ON_312, lost))
    assert [(each.requirement, each.targets) for each in found.unmet] == [("demo==1.0", (0,))]


def test_another_digest_is_another_file(index: FakeIndex, tmp_path: Path) -> None:
    found = locked(index, pylock(tmp_path, ON_311, ON_312, hashes={ON_312: "0" * 64}))
    assert filenames(found) == {ON_311}
    assert [each.targets for each in found.unmet] == [(1,)]


def test_markers_of_the_lock(index: FakeIndex, tmp_path: Path) -> None:
    path = pylock(tmp_path, ON_311, ON_312, marker="python_version >= '3.12'")
    assert filenames(locked(index, path)) == {ON_312}
    assert filenames(locked(index, path, whole=True)) == {ON_311, ON_312}


def test_requirements_with_hashes(index: FakeIndex, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    hashes = [f"--hash=sha256:{sha256_of(name.encode())}" for name in (ON_312, BASE)]
    path.write_text(f"demo==1.0 {hashes[0]}\nbase==1 {hashes[1]}\n")
    found = locked(index, path, whole=True)
    assert filenames(found) == {ON_312, BASE}
    assert versions(found) == {"base": ["1"], "demo": ["1.0"]}


def test_pins_without_hashes(index: FakeIndex, tmp_path: Path) -> None:
    path = tmp_path / "frozen.txt"
    path.write_text("demo==1.0\n")
    assert filenames(locked(index, path)) == {ON_311, ON_312}
    path.write_text("demo==1.*\n")
    with pytest.raises(Refused, match="names no exact version"):
        locked(index, path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", f'[[package]]\nname="demo"\nversion="1.0"\nsource={{registry="x"}}\nwheels=[{{url="https://x.invalid/{ON_311}"}}]'),
        ("poetry.lock", f'[[package]]\nname="demo"\nversion="1.0"\nfiles=[{{file="{ON_311}", hash=""}}]'),
        ("Pipfile.lock", json.dumps({"default": {"demo": {"version": "==1.0", "hashes": [f"sha256:{sha256_of(ON_311.encode())}"]}}})),
    ],
)  # fmt: skip
def test_lock_files_of_all_kinds(index: FakeIndex, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert filenames(locked(index, path, whole=True)) == {ON_311}


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        read_inputs(["???", "demo @ https://x.invalid/"], [tmp_path / "missing.txt"])
    assert len(caught.value.problems) == 3
    with pytest.raises(Refused, match="nothing is wanted"):
        read_inputs([], [])
