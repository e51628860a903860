"""Pages that are shown before they are stored: the promises of `LearningIndex` beyond those of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from pkgindex_core.changes import (
    Change,
    Commit,
    DropIndex,
    DropMirrorPage,
    MirrorPage,
    ProjectAt,
    PutIndex,
    PutUser,
    Requirement,
)
from pkgindex_core.errors import Conflict, Missing, Refused, RequirementFailed, StorageFull, Unavailable
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import KeptRows, keep, page_content
from pkgindex_core.models import ProjectRow, Serial, Standing, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import IndexStore, Touched
from pkgindex_core.protocols.learning import LearningIndex
from pkgindex_core.rules.merging import merge
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, OTHER, START, head, mirror, mirrored, user

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"


class LearningCases(IndexStoreCases):
    lost: list[ProjectName]

    @pytest.fixture(autouse=True)
    def _nothing_lost(self) -> None:
        self.lost = []

    def within(self) -> IndexStore:
        """The inner store, which has only committed changes."""
        raise NotImplementedError

    async def failing(self, error: Unavailable | None) -> None:
        """Make every write of the inner store raise `error`, or work again for None."""
        raise NotImplementedError

    @property
    def learning(self) -> LearningIndex:
        assert isinstance(self.store, LearningIndex)
        return self.store

    async def learn(self, change: MirrorPage, *, seen: Standing | None = None, rows: KeptRows | None = None) -> None:
        seen = seen or await self.standing(change.index, change.project)
        index = (await self.store.tree()).indexes[change.index]
        await self.learning.learn(
            change, index=index, seen=seen, who="[mirror]", lost=lambda: self.lost.append(change.project), rows=rows
        )

    async def log(self) -> Sequence[Commit]:
        return await self.store.commits(Serial(1), limit=1000)

    async def everything_said(self, *names: str) -> object:
        """The results of all reads of the mirror."""
        said: list[object] = [list(await self.store.projects(MIRROR)), await self.store.project_count(MIRROR)]
        for project in (DEMO, OTHER):
            page = await self.store.page(MIRROR, project)
            standing = await self.standing(MIRROR, project)
            said += [
                (page.stamp, page.content, page.head, {row.filename: row for row in page.rows}) if page else None,
                standing,
                len(page.rows) if page else 0,
                [await self.store.file(MIRROR, project, name) for name in names],
            ]
        for name in names:
            for candidates in ([DEMO], [DEMO, OTHER], [OTHER, DEMO]):
                said.append(await self.store.find_file(MIRROR, name, candidates))
        return said

    async def blobs_in_use(self) -> set[str]:
        return {digest async for batch in self.store.blobs_in_use() for digest in batch}

    async def test_what_was_learned_is_seen_at_once_and_stored_behind(self) -> None:
        seeded = await self.seed()
        said = head("Demo", versions=("9.9",), status="archived", validators={"etag": "x"}, fetched=START)
        touched: list[tuple[str, str]] = []
        self.learning.listen(lambda *key: touched.append(key))
        await self.learn(MirrorPage(MIRROR, DEMO, said, put=(mirrored(ONE), mirrored("odd.exe"))))
        assert touched == [(MIRROR, DEMO)]
        assert await self.within().page(MIRROR, DEMO) is None
        assert await self.store.head() == seeded
        page = await self.page(MIRROR, DEMO)
        assert page.head == said
        assert set(page.rows) == {page_row(mirrored(ONE)), page_row(mirrored("odd.exe"))}
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.holds, standing.file_count, standing.status) == (True, 2, "archived")
        assert (standing.stamp, standing.content) == (page.stamp, page.content)
        assert await self.store.find_file(MIRROR, "odd.exe", []) == (DEMO, mirrored("odd.exe"))
        assert await self.store.page(MIRROR, DEMO, at=seeded) is None
        before = await self.everything_said(ONE, TWO, "odd.exe"), await self.blobs_in_use()
        assert before[1] == {mirrored(ONE).sha256, mirrored("odd.exe").sha256}
        await self.learning.settle()
        assert (await self.everything_said(ONE, TWO, "odd.exe"), await self.blobs_in_use()) == before
        (commit,) = await self.log()
        assert (commit.who, len(commit.changes)) == ("[mirror]", 1)
        assert self.lost == []

    async def test_many_pages_are_one_commit(self) -> None:
        await self.seed()
        for number in range(20):
            project = ProjectName(f"p{number:02}")
            await self.learn(MirrorPage(MIRROR, project, head(), put=(mirrored(f"{project}-1.zip"),)))
        assert await self.store.project_count(MIRROR) == 20
        await self.learning.settle()
        (commit,) = await self.log()
        assert len(commit.changes) == 20
        assert [row.name for row in await self.within().projects(MIRROR)] == [f"p{number:02}" for number in range(20)]

    async def test_a_part_of_the_projects_has_what_was_learned(self) -> None:
        await self.seed()
        for name in ("a", "c", "e"):
            await self.learn(MirrorPage(MIRROR, ProjectName(name), head(name), put=(mirrored(f"{name}-1.zip"),)))
        await self.learning.settle()
        for name in ("b", "d", "f"):
            await self.learn(MirrorPage(MIRROR, ProjectName(name), head(name), put=(mirrored(f"{name}-1.zip"),)))
        for after, limit, names in (("", 2, "ab"), ("a", 3, "bcd"), ("b", None, "cdef"), ("e", 5, "f"), ("f", 5, "")):
            rows = await self.store.projects(MIRROR, after=after, limit=limit)
            assert [row.name for row in rows] == list(names)

    async def test_what_is_learned_again_is_stored_once(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"), mirrored("b"), mirrored("c"))))
        first = await self.standing(MIRROR, DEMO)
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("b", "new"), mirrored("d")), drop=("c",)))
        second = await self.standing(MIRROR, DEMO)
        assert (second.stamp, second.content) != (first.stamp, first.content)
        files = {"a": mirrored("a"), "b": mirrored("b", "new"), "d": mirrored("d")}
        assert await self.files(MIRROR, DEMO) == files
        await self.learning.settle()
        (commit,) = await self.log()
        assert len(commit.changes) == 1
        assert await self.files(MIRROR, DEMO) == files
        assert (await self.page(MIRROR, DEMO)).head == head("Demo")

    @pytest.mark.parametrize("count", [3, 1500])
    async def test_a_difference_is_laid_over_what_is_stored(self, count: int) -> None:
        await self.seed()
        files = {f"demo-{number:04}": mirrored(f"demo-{number:04}") for number in range(count)}
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=tuple(files.values())))
        put = (mirrored("demo-0001", "new"), mirrored("aaa"), mirrored("zzz"))
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=put, drop=("demo-0002", "never")))
        expected = {name: file for name, file in files.items() if name != "demo-0002"}
        expected |= {file.filename: file for file in put}
        for _ in range(2):
            assert await self.files(MIRROR, DEMO) == expected
            rows = (await self.page(MIRROR, DEMO)).rows
            if not isinstance(rows, tuple):
                assert [row.filename for row in rows] == sorted(expected)
            assert await self.store.file(MIRROR, DEMO, "demo-0002") is None
            assert await self.store.find_file(MIRROR, "demo-0002", [DEMO]) is None
            assert await self.store.file(MIRROR, DEMO, "demo-0000") == mirrored("demo-0000")
            await self.learning.settle()

    async def test_a_page_in_one_piece_is_shown_and_stored_as_it_is(self) -> None:
        await self.seed()
        files = [mirrored(ONE, version="1.0"), mirrored("odd.exe"), mirrored(TWO, version="2.0")]
        kept = keep(DEMO, files).kept
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), kept=kept))
        learned = await self.standing(MIRROR, DEMO)
        assert (learned.content, learned.file_count) == (page_content(head("Demo"), KeptRows(kept)), 3)
        before = await self.everything_said(ONE, TWO, "odd.exe"), await self.blobs_in_use()
        page = await self.page(MIRROR, DEMO)
        assert isinstance(page.rows, KeptRows)
        assert page.rows.kept == kept
        await self.learning.settle()
        assert (await self.everything_said(ONE, TWO, "odd.exe"), await self.blobs_in_use()) == before
        (standing,) = await self.within().standings(DEMO, [MIRROR])
        assert standing.content == learned.content

    async def test_a_page_that_is_learned_by_its_digest_is_packed_when_it_is_stored(self) -> None:
        await self.seed()
        files = [mirrored(ONE, version="1.0"), mirrored("odd.exe"), mirrored(TWO, version="2.0")]
        rows = keep(DEMO, files)
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), kept=rows.digest), rows=rows)
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored(TWO, "new"),), drop=(ONE,)))
        before = await self.everything_said(ONE, TWO, "odd.exe")
        await self.learning.settle()
        assert await self.everything_said(ONE, TWO, "odd.exe") == before
        page = await self.within().page(MIRROR, DEMO)
        assert page is not None
        assert isinstance(page.rows, KeptRows)
        assert page.rows.kept == keep(DEMO, [mirrored("odd.exe"), mirrored(TWO, "new")]).kept
        again = keep(DEMO, files)
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), kept=again.digest), rows=again)
        learned = await self.standing(MIRROR, DEMO)
        assert (learned.content, learned.file_count) == (page_content(head("Demo"), rows), 3)
        await self.learning.settle()
        (standing,) = await self.within().standings(DEMO, [MIRROR])
        assert standing.content == learned.content

    @pytest.mark.parametrize("is_stored", [False, True], ids=["pending", "stored"])
    async def test_a_difference_to_a_page_in_one_piece(self, *, is_stored: bool) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), kept=keep(DEMO, [mirrored(ONE), mirrored("a")]).kept))
        if is_stored:
            await self.learning.settle()
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored(ONE, "new"), mirrored("odd.exe"))))
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored(TWO),), drop=("a",)))
        expected = {ONE: mirrored(ONE, "new"), TWO: mirrored(TWO), "odd.exe": mirrored("odd.exe")}
        assert await self.files(MIRROR, DEMO) == expected
        before = await self.everything_said(ONE, TWO, "a", "odd.exe")
        await self.learning.settle()
        assert await self.everything_said(ONE, TWO, "a", "odd.exe") == before
        await self.learn(MirrorPage(MIRROR, DEMO, head(), kept=keep(DEMO, [mirrored("b")]).kept))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), kept=keep(DEMO, [mirrored("c")]).kept))
        for _ in range(2):
            assert await self.files(MIRROR, DEMO) == {"c": mirrored("c")}
            await self.learning.settle()

    async def test_a_page_with_a_difference_is_written_as_it_is_when_that_is_stored(self) -> None:
        """Its content name stays, and stands for the exact bytes: files are in order of their versions."""
        await self.seed()
        files = [mirrored(f"demo-{version}.tar.gz", version=version) for version in ("10.0", "9.0", "2.0")]
        await self.learn(MirrorPage(MIRROR, DEMO, head(), kept=keep(DEMO, files).kept))
        await self.learning.settle()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE, version="1.0"),)))
        pages = [await self.page(MIRROR, DEMO)]
        await self.learning.settle()
        pages.append(await self.page(MIRROR, DEMO))
        assert pages[0].stamp == pages[1].stamp
        written = [JsonRenderer().page(merge(DEMO, [(MIRROR, "../", page)])) for page in pages]
        assert written[0] == written[1]

    async def test_many_names_of_a_difference_are_counted_right(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=tuple(mirrored(f"{n}") for n in range(40))))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=tuple(mirrored(f"{n}", "new") for n in range(20, 60))))
        assert len(await self.files(MIRROR, DEMO) or ()) == 60

    async def test_a_head_that_shows_nothing_new_keeps_the_stamp(self) -> None:
        await self.seed()
        serial = await self.commit(MirrorPage(MIRROR, DEMO, head("Demo", fetched=START), put=(mirrored("a"),)))
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo", fetched=START + 1, validators={"etag": "2"})))
        for _ in range(2):
            standing = await self.standing(MIRROR, DEMO)
            assert (standing.stamp, standing.content) == (serial, "")
            assert (await self.page(MIRROR, DEMO)).head.validators == {"etag": "2"}
            await self.learning.settle()

    async def test_a_page_that_looks_as_before_again_has_no_former_name(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("1"), put=(mirrored("a"),)))
        shown = [await self.standing(MIRROR, DEMO)]
        for said in ("2", "1"):
            await self.learn(MirrorPage(MIRROR, DEMO, head(said)))
            shown.append(await self.standing(MIRROR, DEMO))
        await self.learn(MirrorPage(MIRROR, DEMO, head("1", fetched=START)))
        assert await self.standing(MIRROR, DEMO) == shown[-1]
        assert shown[0].stamp < shown[1].stamp < shown[2].stamp
        await self.learning.settle()
        assert await self.within().standings(DEMO, [MIRROR]) == (shown[-1],)

    async def test_what_was_made_up_from_something_else_is_not_taken(self) -> None:
        await self.seed()
        nothing = await self.standing(MIRROR, DEMO)
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        first = await self.standing(MIRROR, DEMO)
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo")))
        for _ in range(2):
            for seen in (nothing, first):
                with pytest.raises(RequirementFailed):
                    await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),)), seen=seen)
            await self.learning.settle()
        assert await self.files(MIRROR, DEMO) == {"a": mirrored("a")}

    async def test_what_is_stored_keeps_its_name_and_can_be_required_by_it(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("a"),)))
        shown = await self.standing(MIRROR, DEMO)
        await self.learning.settle()
        (commit,) = await self.log()
        page = await self.page(MIRROR, DEMO)
        assert commit.changes == (
            MirrorPage(MIRROR, DEMO, head("Demo"), (mirrored("a"),), stamp=shown.stamp, content=shown.content),
        )
        assert await self.within().standings(DEMO, [MIRROR]) == (shown,)
        assert await self.standing(MIRROR, DEMO) == shown
        assert (page.stamp, page.content) == (shown.stamp, shown.content)
        assert list(await self.store.projects(MIRROR)) == [ProjectRow(DEMO, "Demo", shown.stamp)]
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo", fetched=START)), seen=shown)  # nothing that is shown
        await self.learning.settle()
        assert await self.standing(MIRROR, DEMO) == shown
        change = MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("b"),))
        serial = await self.commit(change, require=[ProjectAt(MIRROR, DEMO, shown.stamp)])
        assert (await self.standing(MIRROR, DEMO)).stamp == serial > commit.serial
        with pytest.raises(RequirementFailed):
            await self.commit(change, require=[ProjectAt(MIRROR, DEMO, shown.stamp)])

    async def test_a_stamp_that_was_shown_of_something_else_is_required_in_vain(self) -> None:
        await self.seed()
        serial = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),)))
        for _ in range(2):
            with pytest.raises(RequirementFailed):
                await self.commit(
                    MirrorPage(MIRROR, DEMO, head(), drop=("a",)), require=[ProjectAt(MIRROR, DEMO, serial)]
                )
        assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "b"}

    async def test_what_a_store_would_refuse_is_not_shown(self) -> None:
        await self.seed()
        with pytest.raises(Conflict):
            await self.learn(MirrorPage(DEV, DEMO, head()))
        for change in (
            MirrorPage(MIRROR, DEMO, head("\udcff")),
            MirrorPage(MIRROR, DEMO, head(), kept=b"no page"),
            MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),), kept=keep(DEMO, []).kept),
        ):
            with pytest.raises(Refused):
                await self.learn(change)
        assert await self.store.page(MIRROR, DEMO) is None

    async def test_of_many_that_learn_at_once_none_is_forgotten(self) -> None:
        await self.seed()

        async def learn(number: int) -> None:
            while True:
                try:
                    await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(f"demo-{number}"),)))
                except RequirementFailed:
                    await asyncio.sleep(0)
                    continue
                break
            if number % 4 == 0:
                await self.learning.settle()

        await asyncio.gather(*(learn(number) for number in range(20)))
        assert set(await self.files(MIRROR, DEMO) or ()) == {f"demo-{number}" for number in range(20)}
        await self.learning.settle()
        assert set(await self.files(MIRROR, DEMO) or ()) == {f"demo-{number}" for number in range(20)}
        assert self.lost == []

    async def test_commits_after_which_all_is_as_before_are_told(self) -> None:
        await self.seed()
        stored: list[Serial] = []
        self.learning.listen(lambda *_: None, stored.append)
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),)))
        before = await self.everything_said(ONE)
        await self.learning.settle()
        assert stored == [await self.store.head()]
        assert await self.everything_said(ONE) == before
        touched = await self.store.touched(Serial(stored[0] - 1))
        assert touched == Touched(upto=stored[0], projects=frozenset({(MIRROR, DEMO)}))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(TWO),)))
        await self.learn(MirrorPage(MIRROR, OTHER, head(), put=(mirrored(ONE),)))
        await self.within().apply([MirrorPage(MIRROR, OTHER, head(), put=(mirrored("theirs"),))], who="another")
        await self.learning.settle()
        assert len(stored) == 1

    async def test_who_lost_the_race_is_dropped_and_told(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("mine"),)))
        await self.learn(MirrorPage(MIRROR, OTHER, head(), put=(mirrored("other"),)))
        touched: list[tuple[str, str]] = []
        self.learning.listen(lambda *key: touched.append(key))
        await self.within().apply([MirrorPage(MIRROR, DEMO, head(), put=(mirrored("theirs"),))], who="another")
        assert set(await self.files(MIRROR, DEMO) or ()) == {"theirs"}
        assert self.lost == [DEMO]
        assert touched == [(MIRROR, DEMO)]
        await self.learning.settle()
        assert set(await self.files(MIRROR, DEMO) or ()) == {"theirs"}
        assert set(await self.files(MIRROR, OTHER) or ()) == {"other"}
        assert self.lost == [DEMO]

    @pytest.mark.parametrize("is_stored", [False, True], ids=["first page", "difference"])
    @pytest.mark.parametrize("finds", [False, True], ids=["file", "find_file"])
    async def test_no_file_is_told_of_a_page_that_lost_the_race(self, *, is_stored: bool, finds: bool) -> None:
        await self.seed()
        if is_stored:
            await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("mine"), mirrored("odd", "mine"))))
        theirs = MirrorPage(MIRROR, DEMO, head(), put=(mirrored("odd", "theirs"),))
        await self.within().apply([theirs], who="another")
        for name, expected in (("odd", mirrored("odd", "theirs")), ("mine", None)):
            if finds:
                found = await self.store.find_file(MIRROR, name, [])
                assert found == ((DEMO, expected) if expected is not None else None)
            else:
                assert await self.store.file(MIRROR, DEMO, name) == expected
        assert self.lost == [DEMO]

    async def test_one_that_lost_takes_nobody_with_it(self) -> None:
        await self.seed()
        for project in (DEMO, OTHER):
            await self.learn(MirrorPage(MIRROR, project, head(), put=(mirrored("mine"),)))
        await self.within().apply([MirrorPage(MIRROR, DEMO, head(), put=(mirrored("theirs"),))], who="another")
        await self.learning.settle()
        assert self.lost == [DEMO]
        assert set(await self.files(MIRROR, OTHER) or ()) == {"mine"}

    async def test_an_index_that_somebody_else_has_changed_takes_nothing(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.within().apply([PutIndex(mirror(MIRROR, title="elsewhere"))], who="another")
        await self.learning.settle()
        assert await self.files(MIRROR, DEMO) is None
        assert self.lost == [DEMO]

    @pytest.mark.parametrize(
        "drop",
        [
            (DropMirrorPage(MIRROR, DEMO),),
            (DropIndex(MIRROR),),
            (DropIndex(MIRROR), PutIndex(mirror(MIRROR, title="anew"))),
        ],
        ids=["page", "index", "index made again"],
    )
    @pytest.mark.parametrize("is_stored", [False, True], ids=["new", "stored"])
    async def test_what_is_dropped_while_it_is_pending_is_gone(
        self, drop: tuple[Change, ...], *, is_stored: bool
    ) -> None:
        await self.seed()
        if is_stored:
            await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),)))
        await self.commit(*drop)
        for _ in range(2):
            assert await self.files(MIRROR, DEMO) is None
            assert await self.store.project_count(MIRROR) == 0
            assert list(await self.store.projects(MIRROR)) == []
            assert await self.store.find_file(MIRROR, "b", [DEMO]) is None
            await self.learning.settle()
        with pytest.raises(Missing):
            await self.commit(DropMirrorPage(MIRROR, DEMO))

    async def test_other_writes_do_not_wait_for_what_is_pending(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.commit(PutUser(user("bob")), PutIndex((await self.store.tree()).indexes[DEV]))
        assert await self.within().page(MIRROR, DEMO) is None

    async def test_a_stray_that_moves_is_found_where_it_is(self) -> None:
        await self.seed()
        odd = "without anything in common.exe"
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(odd, "demo"),)))
        await self.commit(MirrorPage(MIRROR, OTHER, head(), put=(mirrored(odd, "other"),)))
        await self.learn(MirrorPage(MIRROR, DEMO, head(), drop=(odd,)))
        assert await self.store.find_file(MIRROR, odd, []) == (OTHER, mirrored(odd, "other"))

    async def test_of_two_projects_with_one_file_the_likelier_answers_wherever_it_is(self) -> None:
        await self.seed()
        name = "demo-other-1.0.tar.gz"
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(name, "demo"),)))
        await self.learn(MirrorPage(MIRROR, OTHER, head(), put=(mirrored(name, "other"),)))
        assert await self.store.find_file(MIRROR, name, [DEMO, OTHER]) == (DEMO, mirrored(name, "demo"))
        assert await self.store.find_file(MIRROR, name, [OTHER, DEMO]) == (OTHER, mirrored(name, "other"))

    async def test_while_the_medium_fails_pages_are_served_and_stay_pending(self) -> None:
        await self.seed()
        await self.failing(StorageFull("no room"))
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("a"),)))
        with pytest.raises(StorageFull):
            await self.learning.settle()
        assert await self.files(MIRROR, DEMO) == {"a": mirrored("a")}
        assert list(await self.store.projects(MIRROR)) == [
            ProjectRow(DEMO, "Demo", (await self.standing(MIRROR, DEMO)).stamp)
        ]
        await self.learn(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("b"),)))
        await self.failing(None)
        await self.learning.settle()
        assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "b"}
        assert await self.within().page(MIRROR, DEMO) is not None
        assert self.lost == []

    async def test_what_is_learned_while_it_is_committed_is_not_unseen(self) -> None:
        """Reads between the commit and its answer find a stored page and a pending change of it."""
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head("1"), put=(mirrored("a"),)))
        store, committing = self.within(), asyncio.Event()
        go = asyncio.Event()
        original = store.apply

        async def apply(changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
            commit = await original(changes, who=who, require=require)
            committing.set()
            await go.wait()
            return commit

        store.apply = apply  # type: ignore[method-assign]  # as slow as a disk may be
        settling = asyncio.create_task(self.learning.settle())
        await committing.wait()
        first = await self.standing(MIRROR, DEMO)
        await self.learn(MirrorPage(MIRROR, DEMO, head("2"), put=(mirrored("b"),)))
        learned = await self.standing(MIRROR, DEMO)
        assert (learned.file_count, set(await self.files(MIRROR, DEMO) or ())) == (2, {"a", "b"})
        assert learned.stamp > first.stamp
        store.apply = original  # type: ignore[method-assign]  # the disk is well again
        go.set()
        await settling
        await self.learning.settle()
        page = await self.page(MIRROR, DEMO)
        assert ({decode_file(row.body).filename for row in page.rows}, page.head) == ({"a", "b"}, head("2"))
        assert await self.within().standings(DEMO, [MIRROR]) == (learned,)
        assert len(await self.log()) == 2
        assert self.lost == []

    async def test_closing_stores_what_is_pending(self) -> None:
        await self.seed()
        await self.learn(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        closed = self.learning
        await closed.close()
        await closed.close()
        index, seen = mirror(MIRROR), Standing(index=MIRROR, stamp=Serial(0), holds=False)
        with pytest.raises(Unavailable):
            await closed.learn(MirrorPage(MIRROR, OTHER, head()), index=index, seen=seen, who="x", lost=lambda: None)
        self.store = await self.open_store(self.context)
        if self.survives_reopening:
            assert set(await self.files(MIRROR, DEMO) or ()) == {"a"}
