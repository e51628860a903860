"""The scenarios notice a mirror that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import faults
from tests.mirror.scenarios import test_scenarios as scenarios
from tests.mirror.scenarios.conftest import Upstream
from tests.mirror.scenarios.mirror_programs import FakeMirror
from tests.mirror.scenarios.test_scenarios import Tried


class _KeepsWhatIsDeleted(FakeMirror):
    def _remove(self, web: Path, name: str) -> None:
        pass


class _KeepsRemovedFiles(FakeMirror):
    def _finish(self, web: Path, listed: dict[str, str], *, removes: bool) -> None:
        super()._finish(web, listed, removes=False)


class _BelievesEveryByte(FakeMirror):
    def _is_right(self, data: bytes, sha256: str) -> bool:
        return True


class _ForgetsYanks(FakeMirror):
    def _read(self, body: bytes) -> Any:
        page = json.loads(body)
        for file in page["files"]:
            file["yanked"] = False
        return page


class _StopsAtAnError(FakeMirror):
    goes_on = False


class _BelievesEveryList(FakeMirror):
    guards = False


class _ReadsTheListAgain(FakeMirror):
    asks_for_news = False


Scenario = Callable[[Tried], None]
WRONG: dict[type[FakeMirror], Scenario] = {
    _KeepsWhatIsDeleted: lambda tried: scenarios.test_changes_are_followed(tried, "projects deleted"),
    _KeepsRemovedFiles: lambda tried: scenarios.test_changes_are_followed(tried, "file removed"),
    _ForgetsYanks: lambda tried: scenarios.test_changes_are_followed(tried, "file yanked"),
    _BelievesEveryByte: lambda tried: scenarios.test_a_damaged_file_is_never_visible(tried, faults.garble),
    _StopsAtAnError: lambda tried: scenarios.test_a_poisoned_project_holds_nothing_back(tried, "unavailable"),
    _BelievesEveryList: scenarios.test_a_list_that_shrank_by_half_removes_nothing,
    _ReadsTheListAgain: scenarios.test_when_nothing_is_new_the_list_alone_is_asked_for,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_mirror_is_noticed(wrong: type[FakeMirror], upstream: Upstream, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        WRONG[wrong](Tried(wrong(), upstream, tmp_path))
