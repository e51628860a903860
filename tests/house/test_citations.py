"""Nothing cites a document that is not in the repository.

A standard is cited by its number and section, since everybody can find it. Tests may cite the rows of `tests/standards.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_standards import TABLE, rows

ROOT = Path(__file__).parents[2]
ROOMS = ("pkgindex_core", "pkgindex_http", "pkgindex_mirror", "tests", "benchmarks", "findings", ".ci")
SUFFIXES = {".py", ".md", ".sql", ".toml", ".sh", ""}
QUOTING = ("tests/golden/", "tests/house/test_citations.py")
"""What other programs wrote, and this file, which quotes what it forbids."""

TABLED = ("tests", "pkgindex_http/checking")
"""The rooms that may cite numbers of the table of the standards."""
NUMBER = re.compile(r"(?<![\w-])[A-Z]{2}-\d+(?![\w-])")
DOCUMENT = re.compile(r"(?<![\w*{}<>.-])[\w./-]*\w\.md(?!\w)")
ELSEWHERE = (
    re.compile(
        r"\b(?:reference|reliability|standards|ecosystem|scorecard|performance)(?: [a-z]+)?,? \d", re.IGNORECASE
    ),
    re.compile(r"\b(?:reference|reliability|standards),? (?:section|appendix|trap|measurements)\b", re.IGNORECASE),
    re.compile(r"\b(?:reliability|sources:?) [A-Z]{1,2}\d+\b|\(trap \d"),
    re.compile(r"\b(?:DESIGN|STYLE|ISSUE|CONTRACT)\b(?!\.md)(?: \d| and\b|[,)]|$)"),
    re.compile(r"\bclosing notes?\b|\bthe brief\b", re.IGNORECASE),
)
"""How notes that are kept elsewhere have been cited."""


def texts() -> Iterator[Path]:
    """Every text of the repository that somebody reads."""
    for path in [*ROOT.glob("*"), *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*")))]:
        place = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix in SUFFIXES and path.name != "LICENSE" and not place.startswith(QUOTING):
            yield path


def lost(path: Path, text: str, known: frozenset[str]) -> Iterator[str]:
    """What a text cites and its reader cannot find. A number of the table is found by readers of tests, and of the checker, which checks by the table."""
    families = {number[:2] for number in known}
    tested = any(path.is_relative_to(ROOT / place) for place in TABLED)
    for at, line in enumerate(text.splitlines(), 1):
        cited = [found[0] for pattern in ELSEWHERE for found in pattern.finditer(line)]
        cited += [each for each in NUMBER.findall(line) if each[:2] in families and not (tested and each in known)]
        for document in DOCUMENT.findall(line):
            if not any((place / document.lstrip("/")).exists() for place in (ROOT, path.parent)):
                cited.append(document)
        yield from (f"{path.relative_to(ROOT)}:{at}: {each}" for each in cited)


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    known = frozenset(rows(TABLE.read_text(encoding="utf-8")))
    found = [each for path in texts() for each in lost(path, path.read_text(encoding="utf-8", errors="replace"), known)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "never null (JS-15)",
        "a diamond is met once (DESIGN 12)",
        "written by hand, from DESIGN and README",
        "devpi's matrix (reference/devpi.md)",
        "no SQLite below 3.51.3 (reliability 0.3)",
        "request forgery (reliability R9)",
        "plain bytes (standards trap 43)",
        "as clients send them (reference, section 2)",
        "its figures go into the closing notes",
    ],
)
def test_a_citation_that_leads_nowhere_is_noticed(text: str) -> None:
    assert [*lost(ROOT / "pkgindex_core/x.py", text, frozenset({"JS-15"}))] != []


def test_what_everybody_can_find_may_be_cited() -> None:
    assert [
        *lost(ROOT / "pkgindex_core/x.py", "RFC 9110 8.8.3, PEP 625, DESIGN.md, README.md, UTF-8", frozenset({"JS-15"}))
    ] == []
    assert [*lost(ROOT / "tests/x.py", "# JS-15", frozenset({"JS-15"}))] == []
    assert [*lost(ROOT / "tests/x.py", "# JS-16", frozenset({"JS-15"}))] != []
