"""What an inspection tells, costs and is bounded by."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits, Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT, Findings
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, core_metadata, record_of, zip_of
from tests.corpora import tar_parts as tar


def inspect(
    built: BuiltFile | bytes,
    tmp_path: Path,
    *,
    filename: str = "demo-1.0-py3-none-any.whl",
    limits: ArchiveLimits | None = None,
) -> Inspection:
    path = tmp_path / "upload"
    data, filename = (built, filename) if isinstance(built, bytes) else (built.data, built.filename)
    path.write_bytes(data)
    return inspect_archive(path, parse_upload_filename(filename), limits or ArchiveLimits())


def wheel_with(files: dict[str, bytes], wheel: bytes = b"") -> bytes:
    members = {"demo.py": b"", **files}
    members["demo-1.0.dist-info/METADATA"] = core_metadata("demo", "1.0")
    members["demo-1.0.dist-info/WHEEL"] = wheel or b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members["demo-1.0.dist-info/RECORD"] = record_of(members, "demo-1.0.dist-info/RECORD")
    return zip_of(members)


def test_va22_a_wheel_is_described(tmp_path: Path) -> None:
    built = build_wheel("demo", "1.0", files={"demo/a.py": b"x" * 1000})
    found = inspect(built, tmp_path)
    assert found.metadata == built.metadata
    assert found.names == {"demo/a.py", *(f"demo-1.0.dist-info/{part}" for part in ("METADATA", "WHEEL", "RECORD"))}
    assert found.license_root == "demo-1.0.dist-info/licenses/"
    assert found.uncompressed_bytes > 1000


def test_va23_an_sdist_is_described(tmp_path: Path) -> None:
    built = build_sdist("demo", "1.0", files={"a.py": b""})
    found = inspect(built, tmp_path)
    assert found.metadata == built.metadata
    assert {"demo-1.0/a.py", "demo-1.0/PKG-INFO"} <= found.names
    assert found.license_root == "demo-1.0/"


def test_va19_the_name_decides_what_the_file_must_be(tmp_path: Path) -> None:
    wheel, sdist = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")
    with pytest.raises(Refused, match="not a gzipped tar"):
        inspect(wheel.data, tmp_path, filename=sdist.filename)
    with pytest.raises(Refused, match="not a zip file"):
        inspect(sdist.data, tmp_path, filename=wheel.filename)


@pytest.mark.parametrize("preset", [0, 9, 9 | lzma.PRESET_EXTREME])
def test_every_preset_of_xz_is_taken_and_a_larger_dictionary_is_not(preset: int, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    plain = gzip.decompress(build_sdist("demo", "1.0").data)
    name = parse_upload_filename("demo-1.0.tar.xz", LENIENT)
    path.write_bytes(lzma.compress(plain, preset=preset))
    assert inspect_archive(path, name, rules=LENIENT).metadata
    path.write_bytes(lzma.compress(plain, filters=[{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": 1 << 28}]))
    with pytest.raises(Refused, match="xz stream is damaged"):
        inspect_archive(path, name, rules=LENIENT)


def test_va21_both_usual_compressions_are_taken(tmp_path: Path) -> None:
    for stored in (True, False):
        assert inspect(build_wheel("demo", "1.0", stored=stored), tmp_path).metadata


@pytest.mark.parametrize(
    ("wheel", "warning"),
    [
        (b"Wheel-Version: 2.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "Wheel-Version '2.0'"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: perhaps\nTag: py3-none-any\n", "Root-Is-Purelib"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-any\n", "tags of WHEEL and of the filename differ"),
        (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n", "tags of WHEEL and of the filename differ"),
        (b"\xff\xfe", "Wheel-Version ''"),
    ],
)
def test_va32_the_wheel_file_is_warned_about(wheel: bytes, warning: str, tmp_path: Path) -> None:
    assert any(warning in text for text in inspect(wheel_with({}, wheel), tmp_path).warnings)


def test_va32_a_compressed_tag_set_may_stand_in_the_wheel_file(tmp_path: Path) -> None:
    data = wheel_with({}, b"Wheel-Version: 1.9\nRoot-Is-Purelib: true\nTag: py2.py3-none-any\n")
    assert inspect(data, tmp_path, filename="demo-1.0-py2.py3-none-any.whl").warnings == ()


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("demo/NUL.txt", "cannot exist on Windows"),
        ("aux/x.py", "cannot exist on Windows"),
        ("demo/what?.txt", "cannot exist on Windows"),
        ("demo/dot.", "cannot exist on Windows"),
        ("DEMO.py", "ignore case"),
        ("demo.pth", "every start of Python"),
        ("demo.start", "every start of Python"),
        ("demo-1.0.data/purelib/demo.pth", "every start of Python"),
        ("demo-1.0.data/secrets/x", "do not know"),
        ("other-1.0.data/scripts/x", "do not know"),
    ],
)
def test_va33_what_fails_or_surprises_elsewhere_is_warned_about(name: str, warning: str, tmp_path: Path) -> None:
    (text,) = inspect(wheel_with({name: b"x"}), tmp_path).warnings
    assert warning in text


@pytest.mark.parametrize("name", ["demo/nulls.txt", "demo/console.py", "demo/sub/demo.pth", ".hidden", "demo/com10.py"])
def test_va33_ordinary_names_are_not_warned_about(name: str, tmp_path: Path) -> None:
    assert inspect(wheel_with({name: b"x"}), tmp_path).warnings == ()


def test_va25_every_difference_is_told_at_once(tmp_path: Path) -> None:
    members = {"a.py": b"a", "b.py": b"b", "demo-1.0.dist-info/METADATA": b"", "demo-1.0.dist-info/WHEEL": b""}
    members["demo-1.0.dist-info/RECORD"] = record_of({"a.py": b"x", "ghost.py": b""}, "demo-1.0.dist-info/RECORD")
    with pytest.raises(Refused) as refused:
        inspect(zip_of(members), tmp_path)
    text = " | ".join(refused.value.problems)
    for part in ("does not list", "'b.py'", "'ghost.py'", "another sha256 for 'a.py'"):
        assert part in text


@pytest.mark.parametrize(
    ("limits", "because"),
    [
        (ArchiveLimits(uncompressed_bytes=1000), "the limit is 1000|limit of 1000"),
        (ArchiveLimits(free_bytes=100, ratio=1, steep_ratio=1), "times its own size"),
        (ArchiveLimits(members=2), "members"),
        (ArchiveLimits(metadata_bytes=10), "the limit is 10"),
        (ArchiveLimits(seconds=-1), "within -1 seconds"),
    ],
)
def test_va20_each_limit_holds(limits: ArchiveLimits, because: str, tmp_path: Path) -> None:
    files = {"demo/zeros": bytes(100_000), "demo/noise": os.urandom(300_000)}
    for built in (build_wheel("demo", "1.0", files=files), build_sdist("demo", "1.0", files=files)):
        assert inspect(built, tmp_path).metadata
        with pytest.raises(Refused, match=because):
            inspect(built, tmp_path, limits=limits)


def test_limits_of_a_zip_alone(tmp_path: Path) -> None:
    built = build_wheel("demo", "1.0")
    for limits, because in (
        (ArchiveLimits(directory_bytes=10), "directory has"),
        (ArchiveLimits(record_bytes=10), "RECORD has"),
    ):
        with pytest.raises(Refused, match=because):
            inspect(built, tmp_path, limits=limits)


class SlowClock:
    """Every look at it takes a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        raise AssertionError("an inspection has nothing to do with the time of day")

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def test_time_is_looked_at_while_large_members_are_read(tmp_path: Path) -> None:
    noise = {"demo/noise": os.urandom(8 * 1024 * 1024)}
    for built in (build_wheel("demo", "1.0", files=noise), build_sdist("demo", "1.0", files=noise)):
        path = tmp_path / "upload"
        path.write_bytes(built.data)
        with pytest.raises(Refused, match="within 10 seconds"):
            inspect_archive(path, parse_upload_filename(built.filename), ArchiveLimits(seconds=10), clock=SlowClock())  # type: ignore[arg-type]  # only monotonic is used


def test_a_file_that_cannot_be_read_is_no_bad_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_archive(tmp_path / "missing", parse_upload_filename("a-1.tar.gz"))


def test_findings_are_bounded() -> None:
    findings = Findings()
    for number in range(1000):
        findings.refuse(f"problem {number}")
        findings.warn(f"warning {number}")
        findings.refuse("problem 0")
    assert len(findings.problems) == Findings.LIMIT + 1
    assert findings.problems[-1] == f"and {1000 - Findings.LIMIT} more of this kind"
    assert len(findings.warnings) == Findings.LIMIT


def test_a_large_archive_is_read_in_little_memory(tmp_path: Path) -> None:
    """A wheel and a source distribution of 32 MiB each, in a process of their own that may have little."""
    resource = pytest.importorskip("resource", reason="measures with getrusage")
    noise = os.urandom(1024 * 1024)
    big = b"".join(noise[number:] + noise[:number] for number in range(32))
    paths = []
    for built in (
        build_wheel("demo", "1.0", files={"demo/big": big}, stored=True),
        BuiltFile(
            filename="demo-1.0.tar.gz",
            data=tar.gzipped(
                tar.tar_of(tar.header(b"demo-1.0/PKG-INFO", b"x"), tar.header(b"demo-1.0/big", big)), level=1
            ),
            metadata=b"",
            sha256="",  # type: ignore[arg-type]  # not looked at
        ),
    ):
        path = tmp_path / built.filename
        path.write_bytes(built.data)
        paths.append(str(path))
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from pkgindex_core.formats.archives.inspecting import inspect_archive\n"
        "from pkgindex_core.formats.filenames import parse_upload_filename\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in map(Path, sys.argv[1:]): inspect_archive(path, parse_upload_filename(path.name))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // (1 if sys.platform != 'darwin' else 1024))\n"
    )
    del resource
    done = subprocess.run(
        [sys.executable, "-c", script, *paths],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    assert int(done.stdout) < 12 * 1024, "kilobytes more than before"


def test_a_small_wheel_costs_little(tmp_path: Path) -> None:
    built = build_wheel("demo", "1.0", files={f"demo/m{number}.py": os.urandom(900) for number in range(10)})
    path = tmp_path / "upload"
    path.write_bytes(built.data)
    name = parse_upload_filename(built.filename)
    costs = []
    for _ in range(20):
        start = time.process_time()
        inspect_archive(path, name)
        costs.append(time.process_time() - start)
    assert min(costs) < 0.002
