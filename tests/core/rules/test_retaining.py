"""Which releases the retention rule removes, and the reason for each."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Event, File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import RetentionRule
from pkgindex_core.rules.retaining import RESTORED, ReleaseVerdict, judge

DEMO = ProjectName("demo")
DAY = 86_400
NOW = Timestamp(1_700_000_000_000_000)


def file(version: str, *, days: float = 0, **fields: Any) -> File:
    given = {"upload_time": Timestamp(int(NOW - days * DAY * 1_000_000)), "size": 10, **fields}
    return File(filename=f"demo-{version}.tar.gz", version=version, **given)


def judged(*files: File, elsewhere: dict[str, IndexName] | None = None, **rule: Any) -> dict[str, ReleaseVerdict]:
    verdicts = judge(DEMO, files, RetentionRule(**rule), NOW, elsewhere=elsewhere or {})
    return {each.version: each for each in verdicts}


def gone(*files: File, elsewhere: dict[str, IndexName] | None = None, **rule: Any) -> list[str]:
    return [version for version, each in judged(*files, elsewhere=elsewhere, **rule).items() if each.goes]


def test_the_newest_releases_stay() -> None:
    files = [file(version) for version in ("1.0", "1.10", "1.9", "1.2.post1", "1.2")]
    assert gone(*files, releases=2) == ["1.2.post1", "1.2", "1.0"]
    verdicts = judged(*files, releases=2)
    assert verdicts["1.9"].reason == "it is one of the 2 newest releases"
    assert verdicts["1.0"].reason == "it is not one of the 2 newest releases"
    assert (verdicts["1.0"].files, verdicts["1.0"].bytes) == (("demo-1.0.tar.gz",), 10)


def test_pre_releases_are_counted_apart() -> None:
    files = [file(version) for version in ("2.0", "2.0rc1", "2.0.dev3", "1.0", "1.0b1", "0.9")]
    assert gone(*files, releases=2) == ["0.9"]
    assert gone(*files, prereleases=1) == ["2.0.dev3", "1.0b1"]
    assert gone(*files, releases=1, prereleases=2) == ["1.0", "1.0b1", "0.9"]
    assert judged(*files, releases=2)["1.0b1"].reason == "there is no rule for pre-releases"


def test_an_age_keeps_what_is_younger() -> None:
    files = [file("3.0", days=100), file("2.0", days=40), file("1.0", days=20), file("1.0rc1", days=50)]
    assert gone(*files, age=30 * DAY) == ["2.0", "1.0rc1"]
    assert judged(*files, age=30 * DAY)["2.0"].reason == "it was uploaded 40 days ago"
    assert judged(*files, age=30 * DAY)["1.0"].reason == "it was uploaded 20 days ago"


def test_what_any_part_of_a_rule_keeps_stays() -> None:
    files = [file("4.0", days=90), file("3.0", days=80), file("2.0", days=2), file("1.0", days=70)]
    assert gone(*files, releases=2, age=30 * DAY) == ["1.0"]
    reason = "it is not one of the 2 newest releases and it was uploaded 70 days ago"
    assert judged(*files, releases=2, age=30 * DAY)["1.0"].reason == reason


def test_the_newest_file_of_a_release_gives_its_age() -> None:
    late = file("1.0", days=1)
    wheel = File(filename="demo-1.0-py3-none-any.whl", version="1.0", upload_time=Timestamp(0))
    assert gone(file("2.0"), late, wheel, age=30 * DAY) == []
    assert gone(file("2.0"), file("1.0", upload_time=None), age=DAY) == []


@pytest.mark.parametrize(
    "versions", [("1.0",), ("1.0", "2.0rc1"), ("1.0rc1",)], ids=["final", "before a rc", "rc alone"]
)
def test_the_newest_release_of_a_project_stays(versions: tuple[str, ...]) -> None:
    old = [file(version, days=1000) for version in versions]
    verdict = judged(*old, age=DAY)[versions[0]]
    assert (verdict.goes, verdict.protected, verdict.reason) == (False, True, "it is the newest release of the project")


def test_yanked_releases_are_not_counted() -> None:
    files = [file("3.0", yanked="broken"), file("2.0"), file("1.0"), file("0.9", yanked=True), file("0.8")]
    assert gone(*files, releases=2) == ["0.9", "0.8"]
    assert gone(file("2.0", yanked=True), file("1.0"), releases=1, age=DAY) == []
    assert gone(file("2.0", days=9, yanked=True), file("1.0", days=9, yanked=True), releases=1) == ["1.0"]


def test_protected_releases_stay() -> None:
    restored = (Event(what="upload", at=NOW), Event(what=RESTORED, at=NOW))
    files = [file("5.0"), file("4.0"), file("3.0"), file("2.0", history=restored), file("1.0"), file("0.1")]
    verdicts = judged(*files, releases=1, always=("demo==4", "other"), elsewhere={"3": IndexName("team/prod")})
    reasons = {version: each.reason for version, each in verdicts.items() if each.protected}
    assert reasons == {
        "4.0": "retain_always names demo==4",
        "3.0": "team/prod has it too",
        "2.0": "it was brought back",
    }
    assert [version for version, each in verdicts.items() if each.goes] == ["1.0", "0.1"]
    assert gone(*files, releases=1, always=("demo",)) == []


def test_versions_that_cannot_be_compared_stay() -> None:
    assert gone(file("2.0"), file("1.0"), file("2004d", days=5000), releases=1, age=DAY) == []


def test_without_a_rule_nothing_goes() -> None:
    assert gone(*[file(f"{number}.0", days=5000) for number in range(9)], always=("x",)) == []
    assert judge(DEMO, [], RetentionRule(releases=1), NOW) == []
