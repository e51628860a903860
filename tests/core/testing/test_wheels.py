"""The tiny distribution files that tests are fed with are proper ones."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.core_metadata import check_metadata
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import Findings
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel

FILES = [
    build_wheel("Foo.Bar", "1.0"),
    build_wheel("a", "1!2.0+cu121", build="7abc", tag="py2.py3-none-any", stored=True),
    build_wheel("native", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64", files={"native/x.so": b"\x7fELF"}),
    build_wheel(
        "full",
        "2.0",
        requires_dist=["foo-bar>=1", 'a; extra == "x"'],
        provides_extra=["x"],
        requires_python=">=3.8",
        metadata_extra="License-Expression: MIT",
        metadata_version="2.4",
        description="# Full\n",
    ),
    build_sdist("Foo.Bar", "1.0"),
    build_sdist("full", "2.0", requires_dist=["a"], requires_python=">=3.8", files={"src/full.py": b"x = 1\n"}),
]


@pytest.mark.parametrize("built", FILES, ids=lambda built: built.filename)
def test_built_files_pass_our_own_inspection(built: BuiltFile, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(built.data)
    inspection = inspect_archive(path, parse_upload_filename(built.filename))
    assert inspection.metadata == built.metadata
    assert inspection.warnings == ()
    findings = Findings()
    check_metadata(built.metadata, findings)
    assert findings.problems == ()


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert build_wheel("a", "1").data == build_wheel("a", "1").data
    assert build_sdist("a", "1").data == build_sdist("a", "1").data
    assert build_wheel("a", "1").sha256 != build_wheel("a", "2").sha256


def test_stored_and_deflated_differ_only_in_packing() -> None:
    packed, plain = build_wheel("a", "1"), build_wheel("a", "1", stored=True)
    with zipfile.ZipFile(io.BytesIO(packed.data)) as one, zipfile.ZipFile(io.BytesIO(plain.data)) as other:
        assert one.namelist() == other.namelist()
        assert all(one.read(name) == other.read(name) for name in one.namelist())
        assert {info.compress_type for info in other.infolist()} == {zipfile.ZIP_STORED}


def test_pip_installs_the_sdist_without_a_network(tmp_path: Path) -> None:
    for built in (build_sdist("root-pkg", "1.0", requires_dist=["leaf"]), build_wheel("leaf", "2.0")):
        (tmp_path / built.filename).write_bytes(built.data)
    home = tmp_path / "home"
    venv.create(home, with_pip=False)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--no-cache-dir",
        "--isolated",
        "--disable-pip-version-check",
    ]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-index", "--find-links", str(tmp_path), "root-pkg"], check=True, timeout=100
    )
    shown = subprocess.run(
        [python, "-c", "import root_pkg, leaf; print(root_pkg.__version__, leaf.__version__)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.split() == ["1.0", "2.0"]


def test_sdist_members_lie_in_one_directory() -> None:
    with tarfile.open(fileobj=io.BytesIO(build_sdist("A_b", "1").data)) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"a_b-1"}
