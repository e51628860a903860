"""Each filter plugin decides as bandersnatch's own, except where it differs on purpose, which the case says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pkgindex_mirror.filters.bandersnatch.compatibility import DEVIATIONS
from pkgindex_mirror.filters.bandersnatch.plugin_filters import WORDS
from tests.mirror.filters.conftest import verdict_of
from tests.mirror.filters.plugin_cases import CASES, Case

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("recorded_verdicts.json").read_text(encoding="utf-8")
)
"""The verdicts of bandersnatch, by its version: tests/clients/test_bandersnatch_filters.py asks a real one."""
NEWEST = max(RECORDED, key=lambda version: [int(part) for part in version.split(".")])


def same(ours: Any, theirs: Any) -> bool:
    """An exception of bandersnatch stands for settings that we refuse, or for a project that fails here too."""
    if isinstance(theirs, str):
        return ours in ("refused", "fails")
    return not isinstance(ours, str) and sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_strictly_as_bandersnatch(case: Case, tmp_path: Path):
    ours = verdict_of(case, tmp_path, strict=True)
    theirs = RECORDED[NEWEST][case.name]
    if case.always:
        assert same(ours, case.ours), ours
        assert not same(ours, theirs)
    else:
        assert same(ours, theirs), (ours, theirs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_otherwise_only_on_purpose(case: Case, tmp_path: Path):
    ours = verdict_of(case, tmp_path, strict=False)
    theirs = RECORDED[NEWEST][case.name]
    if case.differs:
        assert case.ours == ours if isinstance(case.ours, str) else same(ours, case.ours), ours
        assert not same(ours, theirs), "the case says that it differs, and it does not"
    else:
        assert same(ours, theirs), (ours, theirs)


def test_each_filter_and_each_deviation_has_cases():
    assert {word for case in CASES for word in case.enabled.split()} >= set(WORDS)
    assert {case.differs for case in CASES if case.differs and not case.always} <= DEVIATIONS
    assert len({case.name for case in CASES}) == len(CASES)
