"""The corpus: every archive that must be refused is, for its reason; every odd one is taken and reads alike everywhere."""

from __future__ import annotations

import io
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import RULES
from tests.corpora.archive_corpus import Case, bomb_cases, tar_cases, zip_cases

SMALL = [*zip_cases(), *tar_cases()]
BOMBS = list(bomb_cases())


def outcome(case: Case, tmp_path: Path, rules: str) -> tuple[str, str]:
    path = tmp_path / "upload"
    path.write_bytes(case.data)
    try:
        inspection = inspect_archive(path, parse_upload_filename(case.filename), rules=RULES[rules])
    except Refused as refused:
        return "reject", " | ".join((*refused.problems, refused.hint))
    return "accept", " | ".join(inspection.warnings)


def judge(case: Case, tmp_path: Path) -> None:
    """Under both rules: what is dangerous is refused by both, for its reason."""
    for rules in RULES:
        got, reason = outcome(case, tmp_path, rules)
        assert got == case.expected_by(rules), reason
        assert case.because in reason


@pytest.mark.parametrize(
    "case", [case for case in SMALL if case.kind == "zip"], ids=lambda case: f"{case.expected}-{case.name}"
)
def test_va24_zip(case: Case, tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    judge(case, tmp_path)
    tally("archives of the corpus", 1)


@pytest.mark.parametrize(
    "case", [case for case in SMALL if case.kind == "tar"], ids=lambda case: f"{case.expected}-{case.name}"
)
def test_va23_tar(case: Case, tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    judge(case, tmp_path)
    tally("archives of the corpus", 1)


@pytest.mark.parametrize("case", BOMBS, ids=lambda case: f"{case.expected}-{case.name}")
def test_va20_bombs_are_small_and_refused_quickly(
    case: Case, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    assert len(case.data) < 16 * 1024 * 1024
    start = time.process_time()
    judge(case, tmp_path)
    # Processor time, so that a busy machine does not fail this; a bomb that went off would take minutes.
    assert time.process_time() - start < 5
    tally("archives of the corpus", 1)


def test_the_corpus_is_large_enough_and_says_why() -> None:
    cases = [*SMALL, *BOMBS]
    counts = Counter((case.kind, case.expected) for case in cases)
    assert counts["zip", "reject"] >= 35
    assert counts["zip", "accept"] >= 10
    assert counts["tar", "reject"] >= 20
    assert counts["bomb", "reject"] >= 10
    assert all(case.because for case in cases if case.expected == "reject")
    assert len({(case.kind, case.expected, case.name) for case in cases}) == len(cases)
    assert [case.data for case in zip_cases()] == [case.data for case in cases if case.kind == "zip"]


@pytest.mark.parametrize(
    "case", [case for case in SMALL if case.expected == "accept"], ids=lambda case: f"{case.kind}-{case.name}"
)
def test_the_standard_library_reads_what_is_taken(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(case.data)
    inspection = inspect_archive(path, parse_upload_filename(case.filename))
    if case.kind == "zip":
        with zipfile.ZipFile(io.BytesIO(case.data)) as archive:
            # Python's own reader knows zstd since 3.14.
            assert case.name == "compressed-by-zstd" or archive.testzip() is None
            assert {name for name in archive.namelist() if not name.endswith("/")} == inspection.names
            assert inspection.metadata == archive.read("demo-1.0.dist-info/METADATA")
    else:
        with tarfile.open(fileobj=io.BytesIO(case.data)) as tar:
            assert {member.name for member in tar.getmembers() if not member.isdir()} == inspection.names
