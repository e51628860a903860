"""Cooldowns: a release waits until its newest file is old enough, on every page that shows it."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.models import File, IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, PageFilter, Ruling
from pkgindex_core.rules.policing.age_filters import CooldownFilter, NothingAfterFilter
from pkgindex_core.rules.policing.exemptions import Exemption, as_kept
from pkgindex_core.rules.policing.lines import ServerPolicies
from pkgindex_core.testing.index_cases.values import DEV, MIRROR, START
from pkgindex_core.testing.page_filters import PageFilterContract
from pkgindex_core.testing.samples import mirror_config, sample_file, tree_of

DAY = 86_400_000_000
DEMO = ProjectName("demo")


def at(text: str) -> Timestamp:
    moment = from_rfc3339(text)
    assert moment is not None
    return moment


def tree(*lines: str, exemptions: Sequence[Exemption] = ()) -> Tree:
    mirror = mirror_config(MIRROR, "https://example.org/simple/")
    options = {**mirror.options, "policies": list(lines), "exemptions": as_kept(exemptions)}
    return Tree(
        serial=Serial(1),
        indexes={
            DEV: IndexConfig(name=DEV, bases=(MIRROR,)),
            MIRROR: IndexConfig(name=MIRROR, type="mirror", mirrored=True, options=options),
        },
    )


def file(filename: str = "demo-1.whl", uploaded: str | None = None, seen: str | None = None) -> File:
    return File(
        filename=filename,
        version="1",
        upload_time=at(uploaded) if uploaded else None,
        first_seen=at(seen) if seen else None,
    )


def ruling(here: Tree, files: Sequence[File], now: str, *, start: IndexName = DEV, then: str = "") -> Ruling | None:
    judge: PageFilter = CooldownFilter(ServerPolicies())
    if not judge.applies(here, start):
        return None
    today = judge.cut_off(here, start, at(now))
    moment = judge.cut_off(here, start, at(then)) if then else today
    build = Build(tree=here, start=start, project=DEMO, moment=moment, now=today, release=lambda *_: files)
    return judge.judge(MIRROR, files[0], build)


class TestCooldownFilter(PageFilterContract):
    tree = tree("cooldown 7d")
    origin = MIRROR
    hides = replace(sample_file("demo-2.0.zip", "2.0"), upload_time=START)
    shows = replace(sample_file("demo-1.0.zip", "1.0"), upload_time=Timestamp(START - 8 * DAY))

    def make(self) -> PageFilter:
        return CooldownFilter(ServerPolicies())

    def others(self) -> Sequence[PageFilter]:
        return [CooldownFilter(ServerPolicies({"mirrors": ("cooldown 900d",)}))]


class TestNothingAfterFilter(PageFilterContract):
    tree = tree("nothing-after 2020-01-01")
    origin = MIRROR
    hides = replace(sample_file("demo-2.0.zip", "2.0"), upload_time=at("2020-01-02"))
    shows = replace(sample_file("demo-1.0.zip", "1.0"), upload_time=at("2020-01-01T23:59:59Z"))

    def make(self) -> PageFilter:
        return NothingAfterFilter(ServerPolicies())


@pytest.mark.parametrize("start", [DEV, MIRROR])
def test_a_new_release_waits_until_a_told_time_and_then_does_not(start: IndexName) -> None:
    new = [file(uploaded="2026-11-01T10:20:30Z")]
    here = tree("cooldown 7d")
    told = ruling(here, new, "2026-11-03T00:00:00Z", start=start)
    assert told is not None
    assert (told.rule, told.mode, told.until) == ("cooldown", "block", at("2026-11-08T11:00:00Z"))
    assert told.reason == "demo-1.whl was published 2026-11-01T10:20:30Z, and new releases wait 7 days"
    assert ruling(here, new, "2026-11-08T10:59:59Z") is not None
    assert ruling(here, new, "2026-11-08T11:00:00Z") is None


def test_a_late_file_closes_a_release_again() -> None:
    files = [file("demo-1.tar.gz", "2020-01-01"), file("demo-1.whl", "2026-11-01")]
    told = ruling(tree("cooldown 7d"), files, "2026-11-03")
    assert told is not None
    assert told.reason.startswith("demo-1.whl was published")


def test_an_old_file_that_is_seen_for_the_first_time_is_old() -> None:
    assert ruling(tree("cooldown 7d"), [file(uploaded="2020-01-01", seen="2026-11-03")], "2026-11-03") is None


def test_where_no_upload_time_is_told_the_first_seeing_counts() -> None:
    here = tree("cooldown 7d")
    assert ruling(here, [file(seen="2026-11-01")], "2026-11-03") is not None
    assert ruling(here, [file(seen="2026-11-01")], "2026-11-09") is None


def test_a_file_of_unknown_age_is_not_old() -> None:
    told = ruling(tree("cooldown 7d"), [file()], "2026-11-03")
    assert told is not None
    assert told.until is None
    assert "upload_time=first-seen" in told.reason


def test_by_choice_only_the_first_seeing_counts() -> None:
    here = tree("cooldown 7d by first-seen")
    assert ruling(here, [file(uploaded="2020-01-01", seen="2026-11-01")], "2026-11-03") is not None
    assert ruling(here, [file(uploaded="2026-11-03", seen="2026-10-01")], "2026-11-03") is None
    assert ruling(here, [file(uploaded="2020-01-01")], "2026-11-03") is not None


def test_a_view_of_the_past_waits_by_its_own_time() -> None:
    new = [file(uploaded="2026-11-01")]
    here = tree("cooldown 7d")
    assert ruling(here, new, "2026-12-01") is None
    assert ruling(here, new, "2026-12-01", then="2026-11-03") is not None


def test_an_exemption_lets_one_version_pass_until_it_expires() -> None:
    new = [file(uploaded="2026-11-01")]
    exemption = Exemption(
        purl="pkg:pypi/demo@1.0", reason="a fix", by="anna", at=at("2026-11-01"), until=at("2026-11-04")
    )
    here = tree("cooldown 7d", exemptions=[exemption])
    assert ruling(here, new, "2026-11-03T23:59:59Z") is None
    assert ruling(here, new, "2026-11-04T00:00:00Z") is not None
    # A view of the past is judged by the exemptions of today.
    assert ruling(here, new, "2026-11-05", then="2026-11-03") is not None
    other = Exemption(purl="pkg:pypi/demo@2", reason="a fix", by="anna", at=at("2026-11-01"))
    assert ruling(tree("cooldown 7d", exemptions=[other]), new, "2026-11-03") is not None
    another = Exemption(purl="pkg:pypi/demo", rules=("malware",), reason="a fix", by="anna", at=at("2026-11-01"))
    assert ruling(tree("cooldown 7d", exemptions=[another]), new, "2026-11-03") is not None


def test_an_index_cannot_loosen_what_its_server_demands() -> None:
    judge = CooldownFilter(ServerPolicies({"mirrors": ("cooldown 7d",)}))
    here = tree("cooldown off", "cooldown warn 30d for demo")
    new = file(uploaded="2026-11-01")
    build = Build(tree=here, start=DEV, project=DEMO, moment=at("2026-11-03"), release=lambda *_: [new])
    told = judge.judge(MIRROR, new, build)
    assert told is not None
    assert (told.mode, told.until) == ("block", at("2026-11-08"))


def test_an_index_without_the_rule_pays_nothing() -> None:
    judge = CooldownFilter(ServerPolicies({"team/*": ("cooldown 7d",)}))
    assert not judge.applies(tree(), MIRROR)
    assert not CooldownFilter(ServerPolicies()).applies(tree_of(IndexConfig(name=DEV)), DEV)


@pytest.mark.parametrize(("by", "passes"), [("root", True), ("anna", False)])
def test_only_root_exempts_from_what_the_server_demands(by: str, passes: bool) -> None:
    exemption = Exemption(purl="pkg:pypi/demo", reason="a fix", by=by, at=at("2026-11-01"))
    judge = CooldownFilter(ServerPolicies({"mirrors": ("cooldown 7d",)}))
    here, new = tree(exemptions=[exemption]), file(uploaded="2026-11-01")
    build = Build(tree=here, start=DEV, project=DEMO, moment=at("2026-11-03"), release=lambda *_: [new])
    assert (judge.judge(MIRROR, new, build) is None) is passes
