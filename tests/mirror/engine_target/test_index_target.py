"""A sync into an index: what a server over the same stores shows then."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Missing, Refused, Unavailable
from pkgindex_core.formats import kept_pages
from pkgindex_core.models import IndexConfig, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import mirror_options, with_options
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools import leases
from pkgindex_mirror.documents.first_seen import FIRST_SEEN
from pkgindex_mirror.engine_target import committing, turns
from pkgindex_mirror.engine_target.opening import index_target
from pkgindex_mirror.file_policies import OPTION, FilePolicies, PolicyRule
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.syncing.policed_files import PolicedFiles
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.pruning import Pruning
from pkgindex_mirror.testing import ScriptedUpstream
from tests.mirror.syncing.conftest import NamedChosen

from .conftest import IndexRuns
from .places import INDEX, downloaded, page_of, shown_by

ALPHA, ALPHA_1 = "alpha-1.0-py3-none-any.whl", "alpha-1.1-py3-none-any.whl"
DAY = 86_400.0
STREAMED = FilePolicies((PolicyRule("al*", "streamed"),))
ON_DEMAND = FilePolicies((PolicyRule("al*", "on-demand"),))


def served(runs: IndexRuns) -> None:
    runs.serve("alpha", "1.0", "1.1", serial=10)
    runs.serve("beta", "2.0", serial=12)


async def stored_files(engine: Engine) -> int:
    copies = await engine.blobs.copies()
    assert copies is not None
    return len([blob async for blob in copies.walk()])


async def put_index(engine: Engine, config: IndexConfig) -> None:
    await engine.store.apply([PutIndex(config)], who="anna")


async def config_of(engine: Engine) -> IndexConfig:
    return (await engine.store.tree()).indexes[INDEX]


def read_through(upstream: ScriptedUpstream, name: IndexName = INDEX) -> IndexConfig:
    config = IndexConfig(name=name, type="mirror", read_only=True, mirrored=True)
    return with_options(config, mirror_url=upstream.url)


class TestServing:
    async def test_what_was_mirrored_is_served_without_the_upstream(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        assert (await runs.run()).ending == "clean"
        await upstream.stop()
        shown = await runs.place.shown()
        assert {name: [*files] for name, files in shown.items()} == {
            "alpha": [ALPHA, ALPHA_1],
            "beta": ["beta-2.0-py3-none-any.whl"],
        }
        async with runs.place.engine() as engine:
            with pytest.raises(Missing):
                await page_of(engine, "gamma")

    async def test_a_running_server_sees_runs_of_another_process(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        async with runs.place.engine() as server:
            assert [*await page_of(server, "beta")] == ["beta-2.0-py3-none-any.whl"]
            runs.serve("beta", "2.1", serial=14)
            runs.serve("gamma", "1.0", serial=15)
            del upstream.projects["alpha"]
            await runs.run(removed="delete")
            assert [*await page_of(server, "beta")] == ["beta-2.0-py3-none-any.whl", "beta-2.1-py3-none-any.whl"]
            assert [*await shown_by(server)] == ["beta", "gamma"]
            with pytest.raises(Missing):
                await page_of(server, "alpha")

    async def test_a_server_does_not_undo_filters(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        runs.serve("gamma", "1.0", serial=13)
        await runs.run(NamedChosen(only=("alpha",), without="1.1-py3-none-any.whl"))
        upstream.asked.clear()
        async with runs.place.engine() as server:
            for _ in range(2):
                assert [*await page_of(server, "alpha")] == [ALPHA]
                with pytest.raises(Missing):
                    await page_of(server, "gamma")
                runs.clock.advance(DAY)
            assert [*await shown_by(server)] == ["alpha"]
        assert upstream.asked == []

    async def test_a_project_is_unknown_until_the_first_run_has_ended(self, runs: IndexRuns):
        served(runs)
        async with runs.place.opened() as target, target.turn():
            pass
        async with runs.place.engine() as server:
            with pytest.raises(Unavailable, match="first sync has not ended"):
                await page_of(server, "alpha")
        await runs.run()
        async with runs.place.engine() as server:
            assert ALPHA in await page_of(server, "alpha")
            with pytest.raises(Missing):
                await page_of(server, "nonsense")

    async def test_versions_without_chosen_files_are_not_listed(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        upstream.page_says["alpha"]["versions"] = ["0.1", "1.0", "1.1"]
        await runs.run(NamedChosen(without="1.1-py3-none-any.whl"))
        async with runs.place.engine() as engine:
            page = await engine.store.page(INDEX, ProjectName("alpha"))
            assert page is not None
            assert page.head.versions == ("0.1",)
            assert [row.version for row in page.rows] == ["1.0"]


class TestReadThrough:
    async def test_both_ways_store_the_same_page(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        other = IndexName("root/read")
        async with runs.place.engine() as engine:
            await put_index(engine, read_through(upstream, other))
            source = engine.sources.by_type["mirror"]
            config = (await engine.store.tree()).indexes[other]
            (standing,) = await engine.store.standings(ProjectName("alpha"), [other])
            await source.refresh(config, ProjectName("alpha"), standing)
            await engine.settle()
            ours, theirs = [await engine.store.page(each, ProjectName("alpha")) for each in (INDEX, other)]
            assert ours is not None
            assert theirs is not None
            assert ours.rows.kept == theirs.rows.kept  # type: ignore[attr-defined]  # both are in one piece
            assert ours.content == theirs.content
            assert dict(ours.head.validators) == dict(theirs.head.validators)

    async def test_an_index_that_reads_through_again_finds_whole_pages_current(
        self, runs: IndexRuns, upstream: ScriptedUpstream
    ):
        served(runs)
        await runs.run()
        runs.clock.advance(DAY)
        upstream.asked.clear()
        async with runs.place.engine() as engine:
            await put_index(engine, with_options(await config_of(engine), mirror_synced=False))
            before = await engine.store.page(INDEX, ProjectName("alpha"))
            assert [*await page_of(engine, "alpha")] == [ALPHA, ALPHA_1]
            assert before == await engine.store.page(INDEX, ProjectName("alpha"))
        assert ["If-None-Match" in asked.headers for asked in upstream.asked] == [True]

    async def test_an_index_that_reads_through_again_asks_for_filtered_pages_as_a_whole(self, runs: IndexRuns):
        served(runs)
        await runs.run(NamedChosen(without="1.1-py3-none-any.whl"))
        async with runs.place.engine() as engine:
            await put_index(engine, with_options(await config_of(engine), mirror_synced=False))
            assert [*await page_of(engine, "alpha")] == [ALPHA, ALPHA_1]
        await runs.run(NamedChosen(without="1.1-py3-none-any.whl"))
        async with runs.place.engine() as engine:
            assert [*await page_of(engine, "alpha")] == [ALPHA]

    async def test_a_read_through_is_taken_over(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        async with runs.place.engine() as engine:
            await put_index(engine, read_through(upstream))
            for name in ("alpha", "beta"):
                for url in (await page_of(engine, name)).values():
                    await downloaded(engine, url)
            await engine.settle()
        upstream.asked.clear()
        await runs.run(NamedChosen(only=("alpha",)))
        assert upstream.count("file") == 0
        shown = await runs.place.shown()
        assert [*shown] == ["alpha"]
        async with runs.place.engine() as engine:
            assert mirror_options(await config_of(engine)).url == upstream.url
            with pytest.raises(Missing):
                await page_of(engine, "beta")


class TestFiles:
    async def test_a_file_on_demand_comes_with_its_first_request(self, runs: IndexRuns, upstream: ScriptedUpstream):
        runs.place.policies = ON_DEMAND
        served(runs)
        report = await runs.run(policies=ON_DEMAND)
        assert (report.published, report.files_fetched) == (2, 2)  # beta, with its metadata
        upstream.asked.clear()
        async with runs.place.engine() as server:
            page = await page_of(server, "alpha")
            assert [*page] == [ALPHA, ALPHA_1]
            assert upstream.count("file") == 0
            first = await downloaded(server, page[ALPHA])
            await server.settle()
        async with runs.place.engine() as server:
            assert await downloaded(server, page[ALPHA]) == first
        assert upstream.count("file") == 1

    async def test_a_streamed_file_is_passed_on_and_not_kept(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        runs.place.policies = STREAMED
        report = await runs.run(PolicedFiles(NamedChosen(), STREAMED), policies=STREAMED)  # type: ignore[arg-type]  # it chooses as that does
        assert (report.due_again, report.streamed, report.on_demand) == (2, 2, 0)
        upstream.asked.clear()
        for _ in range(2):
            async with runs.place.engine() as server:
                assert (await config_of(server)).options[OPTION] == ["al* streamed"]
                page = await page_of(server, "alpha")
                assert await downloaded(server, page[ALPHA]) == build_wheel("alpha", "1.0").sha256
                await downloaded(server, (await page_of(server, "beta"))["beta-2.0-py3-none-any.whl"])
                await server.settle()
                assert await stored_files(server) == 1  # beta
        assert upstream.count("file") == 2
        assert not [path for path in runs.place.directory.rglob("*") if path.is_file() and ALPHA in path.name]
        runs.place.policies = FilePolicies()
        assert (await runs.run()).files_fetched == 2
        async with runs.place.engine() as server:
            assert OPTION not in (await config_of(server)).options

    async def test_a_streamed_file_stays_if_another_mirror_keeps_it(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        async with runs.place.engine() as engine:
            await put_index(engine, read_through(upstream, IndexName("root/read")))
            await page_of(engine, "alpha", index=IndexName("root/read"))
            await engine.settle()
        runs.place.policies = STREAMED
        await runs.run(PolicedFiles(NamedChosen(), STREAMED), policies=STREAMED)  # type: ignore[arg-type]  # it chooses as that does
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 3

    async def test_another_policy_has_projects_looked_at_again(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        runs.place.policies = ON_DEMAND
        await runs.run(PolicedFiles(NamedChosen(), ON_DEMAND), policies=ON_DEMAND)  # type: ignore[arg-type]  # it chooses as that does
        upstream.asked.clear()
        runs.place.policies = FilePolicies()
        report = await runs.run()
        assert (report.due_again, upstream.count("file"), upstream.count("page")) == (2, 2, 0)

    async def test_pruning_keeps_files_on_demand_listed(self, runs: IndexRuns):
        runs.place.policies = ON_DEMAND
        served(runs)
        await runs.run(policies=ON_DEMAND)
        chosen = NamedChosen(without="1.1-py3-none-any.whl")
        async with runs.place.opened() as target, target.turn():
            pruning = Pruning(target, chosen, Progress(runs.clock), dry_run=False, policies=ON_DEMAND)
            report = await pruning.run()
        assert (report.later, report.files) == (0, 0)
        async with runs.place.engine() as engine:
            assert [*await page_of(engine, "alpha")] == [ALPHA]

    async def test_files_without_a_sha256_are_fetched_once(self, runs: IndexRuns, upstream: ScriptedUpstream):
        upstream.algorithms = ("md5",)
        upstream.announces_sidecars = False
        served(runs)
        await runs.run()
        upstream.asked.clear()
        runs.serve("alpha", "1.2", serial=20)
        assert (await runs.run(force=True)).ending == "clean"
        assert upstream.count("file") == 1
        await upstream.stop()
        assert len((await runs.place.shown())["alpha"]) == 3

    async def test_files_of_a_run_stay_in_a_bounded_store(self, runs: IndexRuns, upstream: ScriptedUpstream):
        runs.place.mirror = {"cache_size": 4000}
        for number in range(4):
            runs.serve(f"project-{number}", "1.0", serial=number)
        assert (await runs.run()).ending == "clean"
        other = IndexName("root/read")
        async with runs.place.engine() as server:
            await put_index(server, read_through(upstream, other))
            for name in ("first", "second"):
                upstream.add(name, build_wheel(name, "1.0", description="word " * 400, stored=True))
                for url in (await page_of(server, name, index=other)).values():
                    await downloaded(server, url)
            await server.settle()
            source = server.sources.by_type["mirror"]
            assert isinstance(source, ReadThrough)
            await source.cache.make_room()
            assert await stored_files(server) < 6
        await upstream.stop()
        assert len(await runs.place.shown()) == 4

    async def test_files_of_removed_projects_leave(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 3
        await runs.run(NamedChosen(without="1.1-py3-none-any.whl"))
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 2
        del upstream.projects["beta"]
        await runs.run(removed="delete")
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 2  # alpha has all of its files again

    async def test_files_stay_that_another_mirror_lists(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        other = IndexName("root/read")
        async with runs.place.engine() as engine:
            await put_index(engine, read_through(upstream, other))
            config = (await engine.store.tree()).indexes[other]
            (standing,) = await engine.store.standings(ProjectName("beta"), [other])
            await engine.sources.by_type["mirror"].refresh(config, ProjectName("beta"), standing)
            await engine.settle()
        del upstream.projects["beta"]
        await runs.run(removed="delete")
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 3

    async def test_a_hidden_project_keeps_its_files(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        del upstream.projects["beta"]
        await runs.run(removed="hide")
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 3
            with pytest.raises(Missing):
                await page_of(engine, "beta")
        await runs.run(removed="delete", force=True)
        async with runs.place.engine() as engine:
            assert await stored_files(engine) == 2


class TestPages:
    async def test_a_long_page_is_committed_in_parts(self, runs: IndexRuns, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(kept_pages, "MOST_FILES", 3)
        monkeypatch.setattr(committing, "PART", 2)
        runs.serve("alpha", *(f"1.{number}" for number in range(7)), serial=10)
        runs.serve("beta", "2.0", serial=11)
        await runs.run()
        runs.serve("alpha", "2.0", serial=12)
        await runs.run(NamedChosen(without="1.3-py3-none-any.whl"))
        shown = await runs.place.shown()
        assert len(shown["alpha"]) == 7
        assert len(shown["beta"]) == 1

    async def test_many_projects_are_few_commits(self, runs: IndexRuns):
        for number in range(30):
            runs.serve(f"project-{number}", "1.0", serial=number)
        await runs.run(projects_at_once=24)
        async with runs.place.engine() as engine:
            assert await engine.store.head() < 20
            assert len(await engine.store.projects(INDEX)) == 30

    async def test_files_without_a_time_are_first_seen_by_the_run(self, runs: IndexRuns):
        runs.serve("alpha", "1.0", "1.1", serial=10, upload_time=None)
        async with runs.place.opened() as target, target.turn():
            pass
        async with runs.place.engine() as engine:
            await put_index(engine, with_options(await config_of(engine), upload_time=FIRST_SEEN))
        await runs.run()
        runs.clock.advance(DAY)
        runs.serve("alpha", "1.2", serial=20, upload_time=None)
        await runs.run()
        async with runs.place.engine() as engine:
            page = await engine.store.page(INDEX, ProjectName("alpha"))
            assert page is not None
            times = [decode_file(row.body).first_seen for row in page.rows]
            assert None not in times
            assert times[0] == times[1]
            assert times[2] > times[1]  # type: ignore[operator]  # none is None


class TestTurns:
    async def test_two_runs_do_not_meet(self, runs: IndexRuns):
        served(runs)
        async with runs.place.opened() as target, target.turn():
            with pytest.raises(Conflict, match="another run is writing root/mirrored"):
                await runs.run()
        assert (await runs.run()).ending == "clean"

    async def test_the_turn_of_a_dead_process_is_free(self, runs: IndexRuns, monkeypatch: pytest.MonkeyPatch):
        served(runs)
        async with runs.place.engine() as engine:
            holder = f"{turns.platform.node()} {2**22 + 1}"  # above the largest number of a process
            assert await leases.acquire(engine.store, f"mirror.sync {INDEX}", holder, seconds=600) is not None
        assert (await runs.run()).ending == "clean"

    async def test_a_run_without_its_turn_writes_nothing(self, runs: IndexRuns):
        served(runs)
        async with runs.place.opened() as target, target.turn():
            target._turn._holding.end = 0.0  # as after the machine was suspended
            with pytest.raises(Unavailable, match="lost its turn"):
                await target.put_facts({"serial": "1"})
            assert dict(await target.facts()) == {}

    async def test_a_run_that_was_overtaken_commits_nothing(self, runs: IndexRuns):
        """It was stopped behind the look at its own clock, so that the store alone knows."""
        served(runs)
        await runs.run()
        async with runs.place.engine() as engine:
            target = index_target(engine, INDEX, upstream=runs.upstream.url)
            async with target.turn():
                assert await engine.store.drop_note(leases.KIND, f"mirror.sync {INDEX}")
                assert await leases.acquire(engine.store, f"mirror.sync {INDEX}", "another run", seconds=600)
                head = await engine.store.head()
                with pytest.raises(Unavailable, match="lost its turn"):
                    await target.remove(ProjectName("alpha"))
                assert await engine.store.head() == head

    async def test_other_indexes_are_refused(self, runs: IndexRuns, upstream: ScriptedUpstream):
        served(runs)
        await runs.run()
        async with runs.place.engine() as engine:
            target = index_target(engine, IndexName("root/dev"), upstream=upstream.url)
            with pytest.raises(Refused, match="of type stage"):
                await target.turn().__aenter__()
            target = index_target(engine, INDEX, upstream="https://other.example/simple/")
            with pytest.raises(Refused, match="has pages of"):
                await target.turn().__aenter__()
            target = index_target(engine, IndexName("nobody/mirror"), upstream=upstream.url)
            with pytest.raises(Missing, match="nobody"):
                await target.turn().__aenter__()
