"""Commits: serials, times, requirements, the log, and concurrent writers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    Commit,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    NoteIs,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
    YankFile,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Missing, PkgIndexError, Refused, RequirementFailed, Unavailable
from pkgindex_core.models import Release, Serial, Token
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    NOWHERE,
    OTHER,
    PROD,
    SECOND,
    START,
    docs,
    head,
    hosted,
    mirror,
    mirrored,
    stage,
    user,
)

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"

ONE_OF_EACH: tuple[Change, ...] = (
    PutUser(user("bob", custom_data={"x": [1, None]})),
    PutToken(Token(id="t", user="bob", secret_sha256=sha256_of(b"t"))),
    PutIndex(stage(NOWHERE, options={"k": "v"})),
    PutProject(NOWHERE, OTHER, head("Other")),
    PutFile(NOWHERE, DEMO, hosted(ONE), "Demo"),
    PutFile(NOWHERE, DEMO, hosted(TWO)),
    YankFile(NOWHERE, DEMO, ONE, "why"),
    PutRelease(NOWHERE, DEMO, Release(version="1.0", metadata=b'{"a":1}')),
    PutAttachment(NOWHERE, DEMO, docs("1.0")),
    DropFile(NOWHERE, DEMO, TWO),
    DropRelease(NOWHERE, DEMO, "1.0"),
    DropAttachment(NOWHERE, DEMO, docs("1.0").filename),
    DropProject(NOWHERE, OTHER),
    MirrorPage(MIRROR, DEMO, head("Demo", validators={"etag": "x"}), put=(mirrored(ONE),), drop=("gone",)),
    MirrorNames(MIRROR, put=((DEMO, "Demo"),), drop=(OTHER,), validators={"etag": "y"}),
    DropMirrorPage(MIRROR, DEMO),
    DropIndex(NOWHERE),
    DropToken("t"),
    DropUser("bob"),
)


class CommitCases(IndexStoreCases):
    async def test_an_empty_store(self) -> None:
        assert await self.store.head() == 0
        assert await self.store.serial_at(START) == 0
        assert list(await self.store.commits(Serial(0))) == []
        tree = await self.store.tree()
        assert (tree.serial, dict(tree.indexes)) == (0, {})
        standing = await self.standing(DEV, DEMO)
        assert (standing.index, standing.stamp, standing.holds) == (DEV, 0, False)
        assert [batch async for batch in self.store.blobs_in_use() if batch] == []

    async def test_a_commit_says_what_when_and_who(self) -> None:
        self.clock.advance(5)
        changes = (PutUser(user("ann")), PutIndex(stage(DEV)))
        commit = await self.store.apply(list(changes), who="ann (token 1)")
        assert commit == Commit(serial=Serial(1), at=self.clock.now(), who="ann (token 1)", changes=changes)
        assert list(await self.store.commits(Serial(0))) == [commit]
        assert list(await self.peek_log()) == [(1, "ann (token 1)")]
        assert await self.store.head() == 1

    async def test_an_empty_list_commits_nothing(self) -> None:
        assert await self.store.apply([], who="ann") is None
        assert await self.store.apply([], who="ann", require=[IndexPresent(DEV)]) is None
        assert await self.store.head() == 0

    async def test_every_change_comes_back_from_the_log(self) -> None:
        await self.seed()
        commit = await self.store.apply(ONE_OF_EACH, who="ann")
        assert (await self.store.commits(Serial(1)))[0] == commit
        singly = [await self.store.apply([change], who="ann") for change in ONE_OF_EACH]
        assert list(await self.store.commits(Serial(2))) == singly

    async def test_the_log_is_read_in_pieces(self) -> None:
        for number in range(5):
            await self.commit(PutUser(user(f"u{number}")))
        pieces = [[commit.serial for commit in await self.store.commits(Serial(after), limit=2)] for after in range(7)]
        assert pieces == [[1, 2], [2, 3], [3, 4], [4, 5], [5], [], []]
        assert list(await self.store.commits(Serial(0), limit=0)) == []

    async def test_a_long_change_comes_back_from_the_log(self) -> None:
        await self.seed()
        files = tuple(mirrored(f"demo-{number}.zip") for number in range(2000))
        commit = await self.store.apply([MirrorPage(MIRROR, DEMO, head(), put=files)], who="[mirror]")
        assert list(await self.store.commits(Serial(1))) == [commit]

    async def test_serials_have_no_gap_after_failures(self) -> None:
        first = await self.seed()
        for _ in range(3):
            with pytest.raises(Missing):
                await self.commit(DropUser("nobody"))
        assert await self.commit(PutUser(user("bob"))) == first + 1

    async def test_a_list_that_fails_half_way_leaves_nothing(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)))
        before = await self.everything()
        with pytest.raises(Missing):
            await self.commit(
                PutUser(user("bob")),
                PutIndex(stage(NOWHERE)),
                PutFile(DEV, DEMO, hosted(TWO)),
                DropFile(DEV, DEMO, ONE),
                PutProject(DEV, OTHER, head()),
                MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE), mirrored("odd.exe"))),
                MirrorNames(MIRROR, put=((DEMO, ""),)),
                DropIndex(PROD),
                DropUser("nobody"),
            )
        assert await self.everything() == before

    async def test_changes_see_those_before_them(self) -> None:
        await self.commit(
            PutUser(user("ann")), PutIndex(stage(DEV)), PutFile(DEV, DEMO, hosted(ONE)), YankFile(DEV, DEMO, ONE, "no")
        )
        assert await self.store.file(DEV, DEMO, ONE) == hosted(ONE, yanked="no")

    @pytest.mark.parametrize("value", ["\udcff", 2**64, object()], ids=["surrogate", "wide", "object"])
    async def test_what_cannot_be_stored_is_refused(self, value: Any) -> None:
        with pytest.raises(Refused):
            await self.commit(PutUser(user("ann")), PutUser(user("bob", custom_data=value)))
        assert await self.store.head() == 0
        await self.commit(PutUser(user("ann")))

    async def test_times_name_the_serial_that_was_current(self) -> None:
        serials = []
        for _ in range(3):
            self.clock.advance(10)
            serials.append(await self.commit(PutUser(user("ann"))))
        times = [START + seconds * 1_000_000 for seconds in (0, 9, 10, 15, 20, 29, 30, 1000)]
        found = [await self.store.serial_at(Timestamp(moment)) for moment in times]
        assert found == [0, 0, 1, 1, 2, 2, 3, 3]

    async def test_times_never_run_backwards(self) -> None:
        await self.commit(PutUser(user("ann")))
        self.clock.advance(-3600)
        await self.commit(PutUser(user("bob")))
        times = [commit.at for commit in await self.store.commits(Serial(0))]
        assert times == [START, START]
        assert await self.store.serial_at(START) == 2
        assert await self.store.serial_at(Timestamp(START - 1)) == 0

    async def test_a_future_serial_reads_the_present(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)))
        for at in (Serial(3), Serial(10**9), Serial(2**62)):
            assert set(await self.files(DEV, DEMO, at=at) or ()) == {ONE}
            assert (await self.store.tree(at=at)).serial == 1

    async def everything(self) -> object:
        """The results of all reads, to compare before and after."""
        tree = await self.store.tree()
        pages: list[object] = []
        for index in (*tree.indexes, NOWHERE):
            rows = await self.store.projects(index)
            pages.append((index, list(rows), await self.store.project_count(index), await self.store.listing(index)))
            pages += [(await self.page(index, row.name), await self.files(index, row.name)) for row in rows]
        names = [row async for rows in self.store.listed_names(MIRROR) for row in rows]
        taken = [await self.store.taken(DEV, name) for name in (ONE, TWO)]
        return (
            tree,
            pages,
            names,
            taken,
            list(await self.store.users()),
            await self.store.head(),
            await self.peek_files(),
        )


class RequirementCases(IndexStoreCases):
    HOLD: tuple[Requirement, ...] = (
        FileAbsent(DEV, TWO),
        FileAbsent(PROD, ONE),
        FileAbsent(NOWHERE, ONE),
        AttachmentAbsent(DEV, DEMO, docs("2.0").filename),
        AttachmentAbsent(DEV, OTHER, docs("1.0").filename),
        AttachmentAbsent(NOWHERE, DEMO, docs("1.0").filename),
        ProjectAt(DEV, DEMO, Serial(2)),
        ProjectAt(DEV, ProjectName("never"), Serial(0)),
        ProjectAt(NOWHERE, DEMO, Serial(0)),
        ProjectAt(MIRROR, DEMO, Serial(2)),
        UserAbsent("bob"),
        IndexAbsent(NOWHERE),
        IndexPresent(DEV),
        NoteIs("clearing", "never", 0),
    )
    """All but `UserIs` and `IndexIs`, which need a value that was read."""
    FAIL: tuple[Requirement, ...] = (
        FileAbsent(DEV, ONE),
        FileAbsent(DEV, "buried-1.zip"),
        AttachmentAbsent(DEV, DEMO, docs("1.0").filename),
        ProjectAt(DEV, DEMO, Serial(1)),
        ProjectAt(DEV, DEMO, Serial(0)),
        ProjectAt(MIRROR, DEMO, Serial(0)),
        ProjectAt(NOWHERE, DEMO, Serial(2)),
        UserAbsent("ann"),
        IndexAbsent(DEV),
        IndexPresent(NOWHERE),
        NoteIs("clearing", "never", 1),
    )

    async def prepared(self) -> None:
        await self.seed()
        await self.commit(
            PutFile(DEV, DEMO, hosted(ONE)),
            PutAttachment(DEV, DEMO, docs("1.0")),
            PutFile(DEV, OTHER, hosted("buried-1.zip")),
            DropFile(DEV, OTHER, "buried-1.zip"),
            MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),)),
        )

    async def test_a_note_that_was_written_again_prevents_the_commit(self) -> None:
        await self.prepared()
        first = await self.store.put_note("clearing", "now", b"one")
        assert first is not None
        assert await self.commit(PutUser(user("bob")), require=[NoteIs("clearing", "now", first)]) == 3
        second = await self.store.put_note("clearing", "now", b"two")
        for version in (0, first):
            with pytest.raises(RequirementFailed) as caught:
                await self.commit(PutUser(user("carl")), require=[NoteIs("clearing", "now", version)])
            assert caught.value.requirement == NoteIs("clearing", "now", version)
        assert second is not None
        assert await self.commit(PutUser(user("carl")), require=[NoteIs("clearing", "now", second)]) == 4
        await self.store.drop_note("clearing", "now")
        assert await self.commit(PutUser(user("dan")), require=[NoteIs("clearing", "now", 0)]) == 5

    async def test_what_was_read_is_written_back_only_if_nobody_else_did(self) -> None:
        await self.prepared()
        read = await self.store.user("ann")
        config = (await self.store.tree()).indexes[DEV]
        assert read is not None
        renamed = msgspec.structs.replace(read, title="first")
        titled = msgspec.structs.replace(config, title="first")
        assert await self.commit(PutUser(renamed), PutIndex(titled), require=[UserIs(read), IndexIs(config)]) == 3
        for requirement in (UserIs(read), IndexIs(config)):
            with pytest.raises(RequirementFailed) as caught:
                await self.commit(PutUser(user("carl")), require=[requirement])
            assert caught.value.requirement == requirement
        assert await self.commit(PutUser(user("carl")), require=[UserIs(renamed), IndexIs(titled)]) == 4
        for requirement in (UserIs(user("nobody")), IndexIs(msgspec.structs.replace(config, name=NOWHERE))):
            with pytest.raises(RequirementFailed):
                await self.commit(PutUser(user("dora")), require=[requirement])

    @pytest.mark.parametrize("requirement", HOLD, ids=str)
    async def test_a_requirement_that_holds_lets_the_write_through(self, requirement: Requirement) -> None:
        await self.prepared()
        assert await self.commit(PutUser(user("carl")), require=[requirement]) == 3

    @pytest.mark.parametrize("requirement", FAIL, ids=str)
    async def test_a_requirement_that_fails_stops_the_write(self, requirement: Requirement) -> None:
        await self.prepared()
        with pytest.raises(RequirementFailed) as caught:
            await self.commit(PutUser(user("carl")), require=[IndexPresent(DEV), requirement])
        assert caught.value.requirement == requirement
        assert await self.store.head() == 2
        assert await self.store.user("carl") is None

    async def test_requirements_are_judged_before_the_changes(self) -> None:
        await self.prepared()
        await self.commit(
            PutFile(DEV, DEMO, hosted(TWO)), require=(FileAbsent(DEV, TWO), ProjectAt(DEV, DEMO, Serial(2)))
        )
        with pytest.raises(RequirementFailed):
            await self.commit(DropProject(DEV, DEMO), require=iter([ProjectAt(DEV, DEMO, Serial(2))]))

    async def test_a_revalidated_page_still_meets_its_stamp(self) -> None:
        await self.prepared()
        await self.commit(MirrorPage(MIRROR, DEMO, head(fetched=START)), require=[ProjectAt(MIRROR, DEMO, Serial(2))])
        await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=(ONE,)), require=[ProjectAt(MIRROR, DEMO, Serial(2))])


class ReplayCases(IndexStoreCases):
    def made_elsewhere(self) -> tuple[Commit, ...]:
        """The log of another store, with other times."""
        seed = (PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV)), PutIndex(mirror(MIRROR)))
        lists = (seed, ONE_OF_EACH, (PutFile(DEV, DEMO, hosted(ONE)),), (YankFile(DEV, DEMO, ONE, yanked=True),))
        return tuple(
            Commit(
                serial=Serial(number), at=Timestamp(START + number * SECOND), who=f"writer {number}", changes=changes
            )
            for number, changes in enumerate(lists, 1)
        )

    async def test_a_replayed_store_is_the_store(self) -> None:
        commits = self.made_elsewhere()
        self.clock.advance(1_000_000)
        await self.store.replay(commits[:2])
        await self.store.replay(commits[2:])
        assert list(await self.store.commits(Serial(0))) == list(commits)
        assert await self.store.serial_at(Timestamp(START + 3 * SECOND)) == 3
        assert set(await self.peek_files()) == {(DEV, DEMO, ONE, hosted(ONE).sha256)}
        files = await self.files(DEV, DEMO)
        assert files is not None
        assert files[ONE].yanked is True
        assert await self.files(DEV, DEMO, at=Serial(3)) == {ONE: hosted(ONE)}
        assert await self.commit(PutUser(user("carl"))) == 5

    async def test_a_commit_without_changes_is_replayed(self) -> None:
        """A replica of some indexes has such commits in the places of others."""
        made, *others = self.made_elsewhere()[:3]
        empty = [msgspec.structs.replace(commit, changes=()) for commit in others]
        await self.store.replay([made])
        await self.store.replay(empty)
        assert list(await self.store.commits(Serial(0))) == [made, *empty]
        assert await self.store.head() == empty[-1].serial
        assert await self.store.serial_at(empty[-1].at) == empty[-1].serial
        assert await self.commit(PutUser(user("carl"))) == empty[-1].serial + 1

    async def test_a_log_may_begin_with_a_commit_without_changes(self) -> None:
        """As that of a replica whose indexes are younger than its primary."""
        first, second, *_ = self.made_elsewhere()
        await self.store.replay([msgspec.structs.replace(first, changes=())])
        await self.store.replay([msgspec.structs.replace(second, changes=first.changes)])
        assert set((await self.store.tree()).indexes) == {DEV, MIRROR}

    async def test_nothing_to_replay_changes_nothing(self) -> None:
        await self.seed()
        await self.store.replay(())
        assert await self.store.head() == 1

    async def test_only_what_follows_the_head_is_replayed(self) -> None:
        commits = self.made_elsewhere()
        await self.store.replay(commits[:2])
        earlier = msgspec.structs.replace(commits[2], at=START)
        for wrong in (commits[:2], commits[1:2], commits[3:], (commits[2], commits[2]), (earlier,)):
            before = await self.all_of_it()
            with pytest.raises(Conflict):
                await self.store.replay(wrong)
            assert await self.all_of_it() == before

    async def test_commits_that_do_not_fit_leave_nothing(self) -> None:
        commits = self.made_elsewhere()
        await self.store.replay(commits[:2])
        before = await self.all_of_it()
        bad = msgspec.structs.replace(commits[3], changes=(DropFile(DEV, DEMO, TWO),))
        with pytest.raises(Missing):
            await self.store.replay((commits[2], bad))
        assert await self.all_of_it() == before
        await self.store.replay(commits[2:])

    async def test_a_closed_store_replays_nothing(self) -> None:
        await self.store.close()
        with pytest.raises(Unavailable):
            await self.store.replay(self.made_elsewhere())
        self.store = await self.open_store(self.context)

    async def all_of_it(self) -> object:
        """Everything that a failed replay must not change."""
        tree = await self.store.tree()
        pages = [await self.store.page(index, DEMO) for index in tree.indexes]
        return tree, pages, list(await self.store.users()), await self.store.head(), await self.peek_files()


class ConcurrencyCases(IndexStoreCases):
    async def test_many_writers_get_a_serial_each(self) -> None:
        await self.seed()
        commits = await asyncio.gather(
            *(self.commit(PutFile(DEV, ProjectName(f"p{number}"), hosted(f"p{number}-1.zip"))) for number in range(100))
        )
        assert sorted(commits) == list(range(2, 102))
        assert len(await self.peek_files()) == 100

    async def test_of_a_race_for_a_name_one_wins(self) -> None:
        await self.seed()
        for turn in range(10):
            name = f"demo-{turn}.zip"
            outcomes = await asyncio.gather(
                *(
                    self.commit(PutFile(DEV, DEMO, hosted(name, str(number))), require=[FileAbsent(DEV, name)])
                    for number in range(8)
                ),
                return_exceptions=True,
            )
            winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, int)]
            assert len(winners) == 1
            assert sum(isinstance(outcome, RequirementFailed) for outcome in outcomes) == 7
            assert await self.store.file(DEV, DEMO, name) == hosted(name, str(winners[0]))

    async def test_one_that_fails_takes_nobody_with_it(self) -> None:
        await self.seed()
        bad: dict[int, tuple[Change, ...]] = {1: (DropUser("nobody"),), 3: (PutFile(NOWHERE, DEMO, hosted(ONE)),)}
        outcomes = await asyncio.gather(
            *(
                self.commit(PutFile(DEV, ProjectName(f"p{number}"), hosted(f"p{number}-1.zip")), *bad.get(number, ()))
                for number in range(5)
            ),
            return_exceptions=True,
        )
        assert [isinstance(outcome, PkgIndexError) for outcome in outcomes] == [False, True, False, True, False]
        assert {project for _, project, *_ in await self.peek_files()} == {"p0", "p2", "p4"}

    async def test_a_write_is_seen_by_every_read_after_it(self) -> None:
        await self.seed()

        async def write_and_read(number: int) -> None:
            project, name = ProjectName(f"p{number % 5}"), f"p-{number}.zip"
            serial = await self.commit(PutFile(DEV, project, hosted(name)))
            assert await self.store.head() >= serial
            assert await self.store.file(DEV, project, name) is not None
            assert name in {row.filename for row in (await self.page(DEV, project)).rows}
            assert (await self.standing(DEV, project)).stamp >= serial
            assert project in {row.name for row in await self.store.projects(DEV)}

        await asyncio.gather(*(write_and_read(number) for number in range(60)))

    async def test_a_page_is_of_one_moment(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("0"), put=tuple(mirrored(f"{n}", "0") for n in range(300))))

        async def write() -> None:
            for turn in range(1, 15):
                put = tuple(mirrored(f"{number}", str(turn)) for number in range(300))
                await self.commit(MirrorPage(MIRROR, DEMO, head(str(turn)), put=put))

        writing = asyncio.create_task(write())
        while not writing.done():
            page = await self.page(MIRROR, DEMO)
            expected = sha256_of(page.head.display_name.encode()).encode()
            assert all(expected in row.fragment for row in page.rows)
            await asyncio.sleep(0)
        await writing

    async def test_a_cancelled_writer_harms_nobody(self) -> None:
        await self.seed()
        tasks = [
            asyncio.ensure_future(self.commit(PutFile(DEV, DEMO, hosted(f"demo-{number}.zip")))) for number in range(60)
        ]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        kept = set(await self.files(DEV, DEMO) or ())
        for number, outcome in enumerate(outcomes):
            if not isinstance(outcome, asyncio.CancelledError):
                assert isinstance(outcome, int)
                assert f"demo-{number}.zip" in kept
        assert await self.commit(PutUser(user("bob"))) == await self.store.head()


class WaitingCases(IndexStoreCases):
    async def test_wait_returns_at_once_when_the_head_is_beyond(self) -> None:
        await self.seed()
        assert await self.store.wait(Serial(0), timeout=60) == 1

    async def test_wait_gives_up(self) -> None:
        await self.seed()
        assert await self.store.wait(Serial(1), timeout=0.01) == 1
        assert await self.store.wait(Serial(1), timeout=0) == 1

    async def test_wait_is_woken_by_a_commit(self) -> None:
        await self.seed()
        waiting = [asyncio.create_task(self.store.wait(Serial(1), timeout=60)) for _ in range(5)]
        await asyncio.sleep(0.01)
        await self.commit(PutUser(user("bob")))
        assert await asyncio.wait_for(asyncio.gather(*waiting), timeout=30) == [2] * 5


class StoreLifeCases(IndexStoreCases):
    """Reopening, sharing, closing, and the blobs in use."""

    async def test_what_was_committed_is_found_again(self) -> None:
        await self.seed()
        held = await self.commit(PutFile(DEV, DEMO, hosted(ONE), "Demo"), PutUser(user("bob", email="b@example.org")))
        await self.commit(DropFile(DEV, DEMO, ONE), MirrorNames(MIRROR, put=((OTHER, "Other"),)))
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored(ONE), mirrored("odd.exe"))))
        log = list(await self.store.commits(Serial(0)))
        tree = await self.store.tree()
        await self.store.close()
        self.store = await self.open_store(self.context)
        if not self.survives_reopening:
            assert await self.store.head() == 0
            await self.seed()
            return
        assert await self.store.head() == 4
        assert await self.store.tree() == tree
        assert list(await self.store.commits(Serial(0))) == log
        assert await self.files(DEV, DEMO) == {}
        assert await self.files(DEV, DEMO, at=held) == {ONE: hosted(ONE)}
        assert (await self.store.taken(DEV, ONE)) is not None
        assert set(await self.files(MIRROR, DEMO) or ()) == {ONE, "odd.exe"}
        assert await self.store.find_file(MIRROR, "odd.exe", []) == (DEMO, mirrored("odd.exe"))
        assert (await self.store.listing(MIRROR)).count == 1
        assert await self.commit(PutUser(user("carl"))) == 5

    async def test_two_stores_on_one_medium_see_each_other(self) -> None:
        await self.seed()
        second = await self.open_store(self.context)
        try:
            assert await second.head() == (1 if self.survives_reopening else 0)
            if not self.survives_reopening:
                return
            for turn in range(5):
                name = f"demo-{turn}.zip"
                serial = await self.commit(PutFile(DEV, DEMO, hosted(name)))
                assert await second.head() == serial
                assert await second.file(DEV, DEMO, name) == hosted(name)
                assert (await second.standings(DEMO, [DEV]))[0].stamp == serial
                answer = await second.apply([PutIndex(stage(DEV, title=str(turn)))], who="second")
                assert answer is not None
                assert answer.serial == serial + 1
                assert (await self.store.tree()).indexes[DEV].title == str(turn)
        finally:
            await second.close()

    async def test_wait_sees_the_commits_of_another_store(self) -> None:
        await self.seed()
        second = await self.open_store(self.context)
        try:
            waiting = asyncio.create_task(second.wait(Serial(1), timeout=30 if self.survives_reopening else 0.05))
            await asyncio.sleep(0.01)
            await self.commit(PutUser(user("bob")))
            assert await waiting == (2 if self.survives_reopening else 0)
        finally:
            await second.close()

    async def test_writers_in_two_stores_make_one_gapless_log(self) -> None:
        await self.seed()
        second = await self.open_store(self.context) if self.survives_reopening else self.store
        try:
            await asyncio.gather(
                *(
                    store.apply([PutFile(DEV, ProjectName(f"p{number}"), hosted(f"p{number}.zip"))], who="racer")
                    for number, store in enumerate([self.store, second] * 20)
                )
            )
        finally:
            if second is not self.store:
                await second.close()
        assert await self.store.head() == 41
        assert len(await self.peek_files()) == 40

    async def test_closing_finishes_what_was_begun(self) -> None:
        await self.seed()
        store = self.store
        tasks = [asyncio.ensure_future(store.apply([PutUser(user(f"u{number}"))], who="x")) for number in range(50)]
        await asyncio.sleep(0)
        await store.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, (Commit, Unavailable)) for outcome in outcomes)
        self.store = await self.open_store(self.context)
        if self.survives_reopening:
            acknowledged = [outcome.serial for outcome in outcomes if isinstance(outcome, Commit)]
            assert await self.store.head() == 1 + len(acknowledged)

    async def test_a_closed_store_is_unavailable_not_empty(self) -> None:
        await self.seed()
        closed = self.store
        waiting = asyncio.create_task(closed.wait(Serial(1), timeout=60))
        await asyncio.sleep(0)
        await closed.close()
        await closed.close()
        assert await asyncio.wait_for(waiting, timeout=30) == 1
        with pytest.raises(Unavailable):
            await closed.apply([PutUser(user("bob"))], who="x")
        self.store = await self.open_store(self.context)

    async def test_blobs_in_use_are_those_of_live_files(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "a", metadata_sha256=sha256_of(b"m"))))
        await self.commit(PutFile(DEV, DEMO, hosted(TWO, "old")), PutFile(PROD, OTHER, hosted("other-1.zip", "p")))
        await self.commit(PutFile(DEV, DEMO, hosted(TWO, "new")), PutFile(DEV, DEMO, hosted("demo-3.zip", "gone")))
        await self.commit(DropFile(DEV, DEMO, "demo-3.zip"))
        used = {found async for batch in self.store.blobs_in_use() for found in batch}
        assert used == {sha256_of(b"a"), sha256_of(b"m"), sha256_of(b"new"), sha256_of(b"p")}
