"""Each number in the name of a test has a row in `tests/standards.md`, and each row a test.

The last column of the table is written by this test: `REGENERATE=1 pytest tests/house/test_standards.py`.
"""

from __future__ import annotations

import ast
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/standards.md"
ROW = re.compile(r"^\| ([A-Z]{2}-\d+) \| (.+) \| (.+) \| ?(.*?) ?\|$", re.MULTILINE)


def rows(table: str) -> list[str]:
    return [number for number, *_ in ROW.findall(table)]


def numbers(name: str, families: frozenset[str]) -> list[str]:
    """The rows that the name of a test stands for: `test_si_08_va28_links` for SI-8 and VA-28.

    A name that begins like that needs a row even if its family is unknown.
    """
    found = re.findall(r"(?<![a-z0-9])([a-z]{2})_?0*([1-9]\d*)(?![a-z0-9])", name)
    begun = re.match(r"test_([a-z]{2})_?\d+(?![a-z0-9])", name)
    families |= {begun[1].upper()} if begun else set()
    return [f"{family.upper()}-{number}" for family, number in found if family.upper() in families]


def files_by_number(families: frozenset[str]) -> dict[str, list[str]]:
    """For each number the files, below `tests/`, that have tests of it."""
    found = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for number in numbers(node.name, families):
                    found[number].add(path.relative_to(ROOT / "tests").as_posix())
    return {number: sorted(places) for number, places in found.items()}


@pytest.fixture(scope="module")
def table() -> str:
    return TABLE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def places(table: str) -> dict[str, list[str]]:
    return files_by_number(frozenset(number[:2] for number in rows(table)))


def test_every_number_in_the_name_of_a_test_has_a_row_and_every_row_a_test(
    table: str, places: dict[str, list[str]]
) -> None:
    assert sorted(rows(table)) == sorted(places)


def test_the_numbers_of_a_name_are_read_however_they_are_written() -> None:
    known = frozenset({"SI", "VA"})
    assert numbers("test_si_08_va28_and_va4_links", known) == ["SI-8", "VA-28", "VA-4"]
    assert numbers("test_zz_7_of_an_unknown_family", known) == ["ZZ-7"]
    assert numbers("test_that_utf_8_is_200_and_by_pep_625", known) == []


def test_the_last_column_says_where_the_tests_are(table: str, places: dict[str, list[str]]) -> None:
    def written(row: re.Match[str]) -> str:
        number, what, source, _ = row.groups()
        links = [f"[{Path(place).stem.removeprefix('test_')}]({place})" for place in places.get(number, ())]
        return f"| {number} | {what} | {source} | {', '.join(links)} |"

    expected = ROW.sub(written, table)
    if os.environ.get("REGENERATE"):
        TABLE.write_text(expected, encoding="utf-8")
        return
    assert table == expected, "run: REGENERATE=1 pytest tests/house/test_standards.py"
