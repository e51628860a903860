"""A law: the same runs leave the same listed files in a tree and in an index, whatever the upstream does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.syncing.reports import RunReport
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.mirror.syncing.conftest import NamedChosen

from .conftest import PlacedRuns
from .places import IndexPlace, Shown, TreePlace

DAY = 86_400.0
Scenario = Callable[[PlacedRuns], Awaitable[RunReport]]


def serve(runs: PlacedRuns) -> None:
    runs.serve("alpha", "1.0", "1.1", serial=10)
    runs.serve("beta", "2.0", serial=12)
    runs.serve("gamma", "3.0", serial=11)


async def first_run(runs: PlacedRuns) -> RunReport:
    serve(runs)
    return await runs.run()


async def no_change(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    return await runs.run()


async def new_files(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    runs.serve("beta", "2.1", serial=13)
    runs.upstream.add("alpha", build_sdist("alpha", "1.1"))
    runs.upstream.serials["alpha"] = 14
    return await runs.run()


async def yanked(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    runs.upstream.projects["alpha"][0].says["yanked"] = "broken"
    runs.upstream.serials["alpha"] = 15
    return await runs.run()


async def release_deleted(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    del runs.upstream.projects["alpha"][0]
    runs.upstream.serials["alpha"] = 15
    return await runs.run()


async def project_deleted(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    del runs.upstream.projects["beta"]
    return await runs.run(removed="delete")


async def project_hidden(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    del runs.upstream.projects["beta"]
    return await runs.run(removed="hide")


async def project_hidden_and_back(runs: PlacedRuns) -> RunReport:
    await project_hidden(runs)
    runs.serve("beta", "2.0", serial=20)
    return await runs.run()


async def quarantined(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    runs.upstream.page_says["beta"]["project-status"] = {"status": "quarantined"}
    runs.upstream.serials["beta"] = 20
    return await runs.run()


async def fewer_chosen(runs: PlacedRuns) -> RunReport:
    await first_run(runs)
    return await runs.run(NamedChosen(without="1.1-py3-none-any.whl"))


async def more_chosen(runs: PlacedRuns) -> RunReport:
    serve(runs)
    await runs.run(NamedChosen(only=("beta",), without="2.0-py3-none-any.whl"))
    return await runs.run()


async def poison(runs: PlacedRuns) -> RunReport:
    serve(runs)
    runs.upstream.script("/simple/alpha/", behaviours.status(500))
    await runs.run()
    runs.upstream.behave()
    runs.clock.advance(DAY)
    return await runs.run()


async def wrong_bytes(runs: PlacedRuns) -> RunReport:
    serve(runs)
    runs.upstream.script("/files/alpha-1.1-py3-none-any.whl", behaviours.with_body(lambda body: body[::-1]))
    return await runs.run()


async def wrong_bytes_for_a_while(runs: PlacedRuns) -> RunReport:
    await wrong_bytes(runs)
    runs.upstream.behave()
    runs.clock.advance(DAY)
    return await runs.run()


async def cut_off(runs: PlacedRuns) -> RunReport:
    wheel = build_wheel("big", "1.0", description="word " * 300_000, stored=True)
    runs.upstream.add("big", wheel)
    runs.upstream.script(f"/files/{wheel.filename}", behaviours.truncated(0.6), times=1)
    return await runs.run()


async def no_metadata_files(runs: PlacedRuns) -> RunReport:
    runs.upstream.has_sidecars = False
    return await first_run(runs)


async def html(runs: PlacedRuns) -> RunReport:
    runs.upstream.speaks = "html"
    return await first_run(runs)


async def only_named(runs: PlacedRuns) -> RunReport:
    serve(runs)
    return await runs.sync("beta", "nonsense")


SCENARIOS: list[Scenario] = [
    first_run, no_change, new_files, yanked, release_deleted, project_deleted, project_hidden, project_hidden_and_back,
    quarantined, fewer_chosen, more_chosen, poison, wrong_bytes, wrong_bytes_for_a_while, cut_off, no_metadata_files,
    html, only_named,
]  # fmt: skip


async def performed(scenario: Scenario, place: Callable[[str], IndexPlace | TreePlace]) -> tuple[Shown, list[object]]:
    async with ScriptedUpstream() as upstream:
        runs = PlacedRuns(upstream, place(upstream.url))
        report = await scenario(runs)
        await upstream.stop()
        told = [
            report.ending,
            report.published,
            report.current,
            report.failed,
            report.removed.names,
            report.hidden.names,
        ]
        return await runs.place.shown(), told


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_both_targets_list_the_same(tmp_path: Path, scenario: Scenario) -> None:
    tree = await performed(scenario, lambda _: TreePlace(tmp_path / "tree"))
    index = await performed(scenario, lambda url: IndexPlace(tmp_path / "data", url))
    assert index == tree
