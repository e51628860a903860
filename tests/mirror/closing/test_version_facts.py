"""What metadata say that a distribution needs."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel, core_metadata, tar_gz_of
from pkgindex_mirror.closing import sdist_reading
from pkgindex_mirror.closing.sdist_reading import OddSdistError, read_sdist
from pkgindex_mirror.closing.version_facts import VersionFacts, completed, facts_of_sdist, facts_of_wheel

OLD = core_metadata("demo", "1.0", requires_dist=["six>=1; python_version<'3'"], metadata_version="2.1")
NEW = core_metadata("demo", "1.0", requires_dist=["six>=1"], metadata_version="2.2", requires_python=">=3.9")
DYNAMIC = core_metadata("demo", "1.0", metadata_version="2.2", metadata_extra="Dynamic: Requires-Dist")
PYPROJECT = b"""
[build-system]
requires = ["hatchling>=1.26", "numpy; python_version < '3.12'"]
[project]
name = "demo"
dependencies = ["click>8"]
[project.optional-dependencies]
more = ["rich; sys_platform == 'win32'", "six"]
"""


def test_a_wheel_says_everything() -> None:
    wheel = build_wheel("demo", "1.0", requires_dist=["six>=1", "rich; extra == 'more'"], requires_python=">=3.9")
    assert facts_of_wheel(wheel.metadata) == VersionFacts(
        requires_dist=("six>=1", "rich; extra == 'more'"), requires_python=">=3.9"
    )


def test_a_requirement_that_cannot_be_read_is_told() -> None:
    facts = facts_of_wheel(core_metadata("demo", "1.0", requires_dist=["six >= (1", "click"]))
    assert facts.requires_dist == ("click",)
    assert facts.unknown == "its requirement 'six >= (1' cannot be read"


@pytest.mark.parametrize("text", ["six" + "=" * 9000, "six; " * 1000])
def test_requirements_that_are_no_requirements(text: str) -> None:
    facts = facts_of_wheel(
        core_metadata("demo", "1.0", requires_dist=[text, "click"], requires_python=">=3" + ",>=3" * 5000)
    )
    assert facts.requires_dist == ("click",)
    assert facts.requires_python == ""
    assert "cannot be read" in facts.unknown


def test_a_pyproject_with_an_endless_number_is_none() -> None:
    assert facts_of_sdist(NEW, b"x = " + b"9" * 5000).build_requires == ("setuptools>=40.8.0", "wheel")


def test_a_source_distribution_of_today_says_everything() -> None:
    facts = facts_of_sdist(NEW, PYPROJECT)
    assert facts.requires_dist == ("six>=1",)
    assert facts.requires_python == ">=3.9"
    assert facts.build_requires == ("hatchling>=1.26", "numpy; python_version < '3.12'")
    assert not facts.unknown


@pytest.mark.parametrize("metadata", [OLD, DYNAMIC, None])
def test_a_pyproject_with_dependencies_says_them(metadata: bytes | None) -> None:
    facts = facts_of_sdist(metadata, PYPROJECT)
    assert facts.requires_dist == (
        "click>8",
        "rich ; (sys_platform == 'win32') and extra == 'more'",
        "six ; extra == 'more'",
    )
    assert not facts.unknown


def test_dynamic_dependencies_are_not_known() -> None:
    pyproject = PYPROJECT.replace(b'name = "demo"', b'name = "demo"\ndynamic = ["dependencies"]')
    facts = facts_of_sdist(DYNAMIC, pyproject)
    assert facts.requires_dist == ()
    assert "when it is built" in facts.unknown
    assert facts.guessed


def test_what_an_old_source_distribution_names_is_taken_in_all_versions() -> None:
    requires = b"click>=8\n\n[:python_version<'3']\nenum34\n\n[more]\nrich[jupyter]<2\n[other:os_name=='nt']\nwmi\n"
    facts = facts_of_sdist(OLD, None, requires)
    assert facts.requires_dist == (
        "six",
        "click",
        "enum34",
        "rich[jupyter] ; extra == 'more'",
        "wmi ; extra == 'other'",
    )
    assert "in all versions" in facts.unknown
    assert facts.build_requires == ("setuptools>=40.8.0", "wheel")


@pytest.mark.parametrize(
    ("pyproject", "expected"),
    [
        (b"", ("setuptools>=40.8.0", "wheel")),
        (b"[tool.x]", ("setuptools>=40.8.0", "wheel")),
        (b"[build-system]\nrequires = ['setuptools_scm>=8', 'Setuptools>=61']", ("setuptools_scm>=8", "Setuptools>=61", "wheel")),
        (b"[build-system]\nrequires = ['setuptools-scm']", ("setuptools-scm",)),
        (b"[build-system]\nrequires = []", ()),
        (b"not toml", ("setuptools>=40.8.0", "wheel")),
    ],
)  # fmt: skip
def test_build_requirements(pyproject: bytes, expected: tuple[str, ...]) -> None:
    assert facts_of_sdist(NEW, pyproject).build_requires == expected


def test_a_second_file_completes_what_the_first_does_not_say() -> None:
    guessed = VersionFacts(requires_dist=("six",), build_requires=("flit",), unknown="not built", guessed=True)
    wheel = VersionFacts(requires_dist=("six>=1",), requires_python=">=3.9")
    assert completed(guessed, wheel) == VersionFacts(
        requires_dist=("six>=1",), requires_python=">=3.9", build_requires=("flit",)
    )
    odd = VersionFacts(requires_dist=("rich",), unknown="odd")
    assert completed(guessed, odd).requires_dist == ("six", "rich")
    assert completed(guessed, odd).unknown == "not built"


class TestReadingArchives:
    def read(self, data: bytes, filename: str = "demo-1.0.tar.gz"):
        return read_sdist(io.BytesIO(data), filename)

    def test_a_tar(self) -> None:
        built = build_sdist(
            "demo", "1.0", files={"pyproject.toml": PYPROJECT, "src/demo.egg-info/requires.txt": b"six"}
        )
        parts = self.read(built.data)
        assert (parts.metadata, parts.pyproject, parts.requires) == (built.metadata, PYPROJECT, b"six")

    def test_files_deeper_inside_do_not_count(self) -> None:
        parts = self.read(tar_gz_of({"demo-1.0/tests/pyproject.toml": b"x", "demo-1.0/vendor/a/PKG-INFO": b"y"}))
        assert (parts.metadata, parts.pyproject, parts.requires) == (None, None, None)

    def test_a_zip(self) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("demo-1.0/PKG-INFO", OLD)
            archive.writestr("demo-1.0/pyproject.toml", PYPROJECT)
        parts = self.read(data.getvalue(), "demo-1.0.zip")
        assert (parts.metadata, parts.pyproject) == (OLD, PYPROJECT)

    @pytest.mark.parametrize("filename", ["demo-1.0.tar.gz", "demo-1.0.zip", "demo-1.0.tar.bz2", "demo-1.0.tar.xz"])
    def test_an_odd_archive_is_told(self, filename: str) -> None:
        with pytest.raises(OddSdistError, match="cannot be read"):
            self.read(b"no archive at all", filename)

    def test_headers_that_only_cost_memory_are_refused(self) -> None:
        for kind, size in ((tarfile.XHDTYPE, 2 << 20), (tarfile.GNUTYPE_LONGNAME, 3 << 30)):
            header = tarfile.TarInfo("demo-1.0/PKG-INFO")
            header.type, header.size = kind, size
            data = gzip.compress(header.tobuf(format=tarfile.GNU_FORMAT) + bytes(4 << 20))
            with pytest.raises(OddSdistError, match="impossible header"):
                self.read(data)

    def test_an_archive_that_unpacks_to_too_much_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sdist_reading, "_UNPACKED_LIMIT", 1 << 20)
        with pytest.raises(OddSdistError, match="unpacks to more"):
            self.read(tar_gz_of({"demo-1.0/large": bytes(2 << 20)}))

    def test_a_zip_with_a_large_directory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("demo-1.0/PKG-INFO", OLD)
        monkeypatch.setattr(sdist_reading, "_DIRECTORY_LIMIT", 10)
        with pytest.raises(OddSdistError, match="cannot be read"):
            self.read(data.getvalue(), "demo-1.0.zip")

    def test_a_torn_archive_is_told(self) -> None:
        with pytest.raises(OddSdistError, match="cannot be read"):
            self.read(build_sdist("demo", "1.0").data[:200])
