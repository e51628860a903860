"""Records of decisions: kept while they are made, and found by rule."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Ruling
from pkgindex_core.rules.filtering import Judgement
from pkgindex_core.services.reading.deciding import DecisionRecord, Decisions
from pkgindex_core.testing.index_cases.values import ManualClock

DEMO = ProjectName("demo")
HOUR = 3600


def judgement(rule: str, filename: str = "demo-1.0.tar.gz", index: str = "root/dev") -> Judgement:
    return Judgement(filename, "1.0", IndexName(index), "filter", Ruling(rule=rule, reason="because"))


async def listed(decisions: Decisions, rule: str | None = None) -> Sequence[DecisionRecord]:
    return (await decisions.listed(rule=rule))[0]


async def test_a_decision_that_is_made_again_and_again_stays_recorded() -> None:
    """Longer than a record is kept, by a server that was not started again. It keeps the time of its first record."""
    clock = ManualClock()
    decisions = Decisions(notes=MemoryIndex(clock), clock=clock, seconds=2 * HOUR)
    first = clock.now()
    for _ in range(12):
        decisions.hear(DEMO, [judgement("revoked")])
        await decisions.flush()
        clock.advance(HOUR / 2)
        for rule in (None, "revoked"):
            (record,) = await listed(decisions, rule)
            assert record.at == first
    clock.advance(2 * HOUR)
    assert await listed(decisions) == await listed(decisions, "revoked") == []


async def test_a_rule_is_not_taken_for_the_beginning_of_another() -> None:
    clock = ManualClock()
    decisions = Decisions(notes=MemoryIndex(clock), clock=clock, seconds=HOUR)
    rules = ["scan", "scan of viruses", "scanned"]
    decisions.hear(DEMO, [judgement(each) for each in rules])
    await decisions.flush()
    assert sorted(each.rule for each in await listed(decisions)) == rules
    for rule in rules:
        assert [each.rule for each in await listed(decisions, rule)] == [rule]
    assert await listed(decisions, "") == []


async def test_with_no_time_to_keep_them_none_is_recorded() -> None:
    clock = ManualClock()
    decisions = Decisions(notes=MemoryIndex(clock), clock=clock, seconds=0)
    decisions.hear(DEMO, [judgement("revoked")])
    await decisions.close()
    assert await listed(decisions) == []
