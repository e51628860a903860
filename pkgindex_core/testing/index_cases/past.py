"""Mirrored pages with a past: former pages can be read with `at=`, for as long as the index says."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import Change, Commit, DropIndex, DropMirrorPage, MirrorPage, PutFile, PutIndex
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import File, ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.rules.planning.past import SWEPT
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    MIRROR,
    OTHER,
    SECOND,
    START,
    head,
    hosted,
    mirror,
    mirrored,
    stage,
)

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"
STRAY = "python-demo-1.0.win32.exe"
DAY = 86_400
FOREVER = 10**9
PARTS: tuple[Literal["first", "middle", "last"], ...] = ("first", "middle", "last")


def whole(*files: File, project: ProjectName = DEMO, **fields: object) -> MirrorPage:
    """A page in one piece."""
    return MirrorPage(MIRROR, project, head(**fields), kept=keep(project, files).kept)  # type: ignore[arg-type]  # fields of a PageHead


async def told(store: IndexStore, at: Serial | None = None) -> dict[object, object]:
    """The results of all reads of a mirror as of a commit; of heads, what is shown."""
    found: dict[object, object] = {"projects": list(await store.projects(MIRROR, at=at))}
    for project in (DEMO, OTHER):
        found[project] = await store.standings(project, [MIRROR], at=at)
        page = await store.page(MIRROR, project, at=at)
        shown = replace(page.head, validators={}, fetched=None) if page is not None else None
        found[project, "page"] = page and (page.stamp, page.content, shown, frozenset(page.rows))
        for name in (ONE, TWO, STRAY, "odd.exe"):
            found[project, name] = await store.file(MIRROR, project, name, at=at)
            found[name] = await store.find_file(MIRROR, name, candidate_projects(name), at=at)
    return found


class PageHistoryCases(IndexStoreCases):
    async def keeping(self, seconds: int) -> Serial:
        """Commit a mirror whose pages have a past."""
        await self.seed()
        return await self.commit(PutIndex(mirror(MIRROR, mirror_history=seconds)))

    async def test_each_commit_is_read_as_it_was(self) -> None:
        seeded = await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE), mirrored(STRAY), display_name="Demo"))
        second = await self.commit(MirrorPage(MIRROR, DEMO, head("DEMO"), put=(mirrored(TWO),), drop=(STRAY,)))
        third = await self.commit(DropMirrorPage(MIRROR, DEMO))
        fourth = await self.commit(whole(mirrored(ONE, "other")))
        assert await self.files(MIRROR, DEMO, at=seeded) is None
        assert (await self.standing(MIRROR, DEMO, at=seeded)).stamp == 0
        assert await self.files(MIRROR, DEMO, at=first) == {ONE: mirrored(ONE), STRAY: mirrored(STRAY)}
        assert await self.files(MIRROR, DEMO, at=second) == {ONE: mirrored(ONE), TWO: mirrored(TWO)}
        assert await self.files(MIRROR, DEMO, at=third) is None
        assert await self.files(MIRROR, DEMO) == {ONE: mirrored(ONE, "other")}
        assert [(await self.standing(MIRROR, DEMO, at=at)).stamp for at in (first, second, third, fourth)] == [
            first,
            second,
            third,
            fourth,
        ]
        for at, expected in ((first, "Demo"), (second, "DEMO")):
            page = await self.page(MIRROR, DEMO, at=at)
            assert (page.head.display_name, isinstance(page.rows, KeptRows)) == (expected, True)
            assert list(await self.store.projects(MIRROR, at=at)) == [ProjectRow(DEMO, expected, at)]
        assert list(await self.store.projects(MIRROR, at=third)) == []
        assert await self.store.file(MIRROR, DEMO, STRAY, at=first) == mirrored(STRAY)
        assert await self.store.file(MIRROR, DEMO, STRAY, at=second) is None
        assert await self.store.find_file(MIRROR, STRAY, [], at=first) == (DEMO, mirrored(STRAY))
        assert await self.store.find_file(MIRROR, STRAY, []) is None
        assert await self.store.project_count(MIRROR) == 1

    async def test_a_snapshot_keeps_the_past_since_it_was_taken(self) -> None:
        await self.seed()
        await self.commit(PutIndex(mirror(MIRROR)))
        await self.commit(whole(mirrored("demo-0.1.tar.gz")))
        first = await self.commit(whole(mirrored(ONE)))
        taken = mirror(MIRROR, mirror_snapshots={"kept": [{"created": self.clock.now()}]})
        await self.commit(PutIndex(taken))
        second = await self.commit(whole(mirrored(TWO)))
        self.clock.advance(100 * DAY)
        await self.commit(DropMirrorPage(MIRROR, DEMO))
        assert await self.files(MIRROR, DEMO, at=first) == {ONE: mirrored(ONE)}
        assert await self.files(MIRROR, DEMO, at=second) == {TWO: mirrored(TWO)}
        await self.commit(PutIndex(mirror(MIRROR)))
        await self.commit(whole(mirrored(ONE, "other")))
        assert await self.files(MIRROR, DEMO, at=first) != {ONE: mirrored(ONE)}

    async def test_a_long_page_is_read_as_it_was(self) -> None:
        """Its files are stored in segments, of which each change touches a few."""
        await self.keeping(DAY)
        names = [f"demo-{number:04}.zip" for number in range(900)]
        files = {name: mirrored(name) for name in names} | {STRAY: mirrored(STRAY)}
        states = {await self.commit(MirrorPage(MIRROR, DEMO, head(), put=tuple(files.values()))): files}
        for put, drop in (
            ((mirrored(names[5], "new"), mirrored("demo-9999.zip")), (names[7],)),
            ((), tuple(names[:128])),  # as many as a segment has at first
            ((), tuple(names[128:400])),
            (tuple(mirrored(name, "again") for name in names[100:700]), (STRAY,)),
            ((mirrored("a"), mirrored(STRAY, "again")), ("demo-9999.zip",)),
            ((), tuple(names)),
        ):
            files = {name: file for name, file in files.items() if name not in drop}
            files |= {file.filename: file for file in put}
            states[await self.commit(MirrorPage(MIRROR, DEMO, head(), put=put, drop=drop))] = files
        states[await self.commit(whole(mirrored(ONE)))] = {ONE: mirrored(ONE)}
        for at, expected in states.items():
            assert await self.files(MIRROR, DEMO, at=at) == expected
            for name in (*names[5:400:61], names[127], names[128], names[400], "demo-9999.zip", "a", STRAY):
                assert await self.store.file(MIRROR, DEMO, name, at=at) == expected.get(name)
            found = await self.store.find_file(MIRROR, STRAY, [], at=at)
            assert found == ((DEMO, expected[STRAY]) if STRAY in expected else None)

    async def test_parts_of_a_difference_are_read_as_they_came(self) -> None:
        await self.keeping(DAY)
        await self.commit(whole(mirrored(ONE)))
        first = await self.commit(MirrorPage(MIRROR, DEMO, head("New"), put=(mirrored("a"),), part="first"))
        last = await self.commit(MirrorPage(MIRROR, DEMO, head("New"), drop=(ONE,), part="last"))
        await self.commit(whole(mirrored(TWO)))
        assert await self.files(MIRROR, DEMO, at=first) == {ONE: mirrored(ONE), "a": mirrored("a")}
        assert await self.files(MIRROR, DEMO, at=last) == {"a": mirrored("a")}

    async def test_what_is_not_shown_has_no_past(self) -> None:
        await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE), fetched=START))
        await self.commit(MirrorPage(MIRROR, DEMO, head(fetched=START + 1, validators={"etag": "2"})))
        await self.commit(whole(mirrored(TWO)))
        page = await self.page(MIRROR, DEMO, at=first)
        assert (page.stamp, page.head.fetched, page.head.validators) == (first, START + 1, {"etag": "2"})

    async def test_several_changes_of_one_commit_are_one(self) -> None:
        await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE)))
        second = await self.commit(
            whole(mirrored(TWO)), DropMirrorPage(MIRROR, DEMO), MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),))
        )
        assert await self.files(MIRROR, DEMO, at=first) == {ONE: mirrored(ONE)}
        assert await self.files(MIRROR, DEMO, at=second) == {"a": mirrored("a")}

    async def test_the_past_goes_when_its_time_is_over(self) -> None:
        seeded = await self.keeping(DAY)
        serials = []
        for number in range(4):
            serials.append(await self.commit(whole(mirrored(f"demo-{number}.zip"))))
            self.clock.advance(DAY / 2)
        # The first page ended a day and a half ago, the second one day ago, when the third began.
        await self.commit(whole(mirrored(ONE), project=OTHER))
        at = {serial: set(await self.files(MIRROR, DEMO, at=serial) or ()) for serial in serials}
        assert at == {
            serials[0]: {"demo-2.zip"},
            serials[1]: {"demo-2.zip"},
            serials[2]: {"demo-2.zip"},
            serials[3]: {"demo-3.zip"},
        }
        assert await self.files(MIRROR, DEMO, at=seeded) is None
        assert (await self.standing(MIRROR, DEMO, at=serials[0])).stamp == serials[2]
        assert [row.name for row in await self.store.projects(MIRROR, at=serials[0])] == [DEMO]
        self.clock.advance(FOREVER)
        await self.commit(whole(mirrored(TWO)))
        # A page that ended just now can be read as of a day ago.
        assert set(await self.files(MIRROR, DEMO, at=serials[0]) or ()) == {"demo-3.zip"}
        self.clock.advance(DAY)
        await self.commit(MirrorPage(MIRROR, DEMO, head()))
        assert set(await self.files(MIRROR, DEMO, at=serials[0]) or ()) == {TWO}

    async def test_a_forgotten_page_is_over_some_day_too(self) -> None:
        await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE), mirrored(STRAY)))
        await self.commit(DropMirrorPage(MIRROR, DEMO))
        assert set(await self.files(MIRROR, DEMO, at=first) or ()) == {ONE, STRAY}
        self.clock.advance(2 * DAY)
        await self.commit(whole(mirrored(ONE), project=OTHER))
        assert await self.files(MIRROR, DEMO, at=first) is None
        assert (await self.standing(MIRROR, DEMO, at=first)).holds is False

    async def test_much_that_is_over_goes_bit_by_bit(self) -> None:
        await self.keeping(DAY)
        projects = [ProjectName(f"p{number:03}") for number in range(SWEPT + 50)]

        async def each(name: str, some: Sequence[ProjectName]) -> Serial:
            return await self.commit(*(whole(mirrored(name), project=project) for project in some))

        async def there() -> list[ProjectName]:
            return [it for it in projects if set(await self.files(MIRROR, it, at=first) or ()) == {ONE}]

        first = await each(ONE, projects)
        await each(TWO, projects[70:])
        await each(TWO, projects[:70])
        assert await there() == projects
        self.clock.advance(DAY)
        for left in (projects[SWEPT - len(projects[70:]) : 70], []):  # pages that ended first are dropped first
            await self.commit(MirrorPage(MIRROR, DEMO, head()))
            assert await there() == left

    @pytest.mark.parametrize("in_one_piece", [True, False])
    async def test_an_index_that_keeps_no_past_any_more_forgets(self, *, in_one_piece: bool) -> None:
        def page(project: ProjectName, name: str) -> MirrorPage:
            return (
                whole(mirrored(name), project=project)
                if in_one_piece
                else MirrorPage(MIRROR, project, head(), put=(mirrored(name),), drop=(ONE,))
            )

        await self.keeping(DAY)
        first = await self.commit(page(DEMO, ONE), page(OTHER, ONE))
        await self.commit(page(DEMO, TWO), page(OTHER, TWO))
        assert set(await self.files(MIRROR, DEMO, at=first) or ()) == {ONE}
        await self.commit(PutIndex(mirror(MIRROR)))
        await self.commit(page(DEMO, "a"))
        for at in (first, None):
            assert set(await self.files(MIRROR, DEMO, at=at) or ()) == ({"a"} if in_one_piece else {TWO, "a"})
            assert set(await self.files(MIRROR, OTHER, at=at) or ()) == {TWO}

    async def test_it_goes_with_its_index(self) -> None:
        await self.keeping(DAY)
        config = (await self.store.tree()).indexes[MIRROR]
        first = await self.commit(whole(mirrored(ONE), mirrored(STRAY)))
        second = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(TWO),)))
        await self.commit(DropIndex(MIRROR))
        for at in (first, second):
            assert await self.files(MIRROR, DEMO, at=at) is None
            assert await self.store.find_file(MIRROR, STRAY, [], at=at) is None
        made = await self.commit(PutIndex(config))
        last = await self.commit(whole(mirrored("a")))
        assert await self.files(MIRROR, DEMO, at=made) is None
        assert set(await self.files(MIRROR, DEMO, at=last) or ()) == {"a"}

    async def test_an_index_of_another_type_in_its_place_has_a_past_of_its_own(self) -> None:
        await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE)))
        await self.commit(whole(mirrored(TWO)))
        uploaded = await self.commit(
            DropIndex(MIRROR), PutIndex(stage(MIRROR)), PutFile(MIRROR, DEMO, hosted("demo-3.zip"))
        )
        await self.commit(DropIndex(MIRROR), PutIndex(mirror(MIRROR, mirror_history=DAY)))
        again = await self.commit(whole(mirrored("a")))
        await self.commit(whole(mirrored("b")))
        standing = await self.standing(MIRROR, DEMO, at=first)
        assert (standing.holds, standing.stamp) == (False, uploaded)
        for left in ("a", "b"):
            assert set(await self.files(MIRROR, DEMO, at=again) or ()) == {left}
            assert await self.files(MIRROR, DEMO, at=first) is None
            assert await self.files(MIRROR, DEMO, at=uploaded) == {"demo-3.zip": hosted("demo-3.zip")}
            assert await self.standing(MIRROR, DEMO, at=first) == standing
            self.clock.advance(DAY)
            await self.commit(MirrorPage(MIRROR, DEMO, head()))

    async def test_the_end_of_a_mirrored_page_is_when_its_index_was_dropped(self) -> None:
        """And not when an index of another type has a project of its name."""
        await self.keeping(DAY)
        first = await self.commit(whole(mirrored(ONE)))
        dropped = await self.commit(DropIndex(MIRROR))
        await self.commit(PutIndex(stage(MIRROR)))
        await self.commit(PutFile(MIRROR, DEMO, hosted("demo-3.zip")))
        standing = await self.standing(MIRROR, DEMO, at=first)
        assert (standing.holds, standing.stamp) == (False, dropped)

    async def test_blobs_of_the_past_are_not_in_use(self) -> None:
        """Their files can be fetched again."""
        await self.keeping(DAY)
        await self.commit(whole(mirrored(ONE)))
        await self.commit(whole(mirrored(TWO)))
        used = {digest async for batch in self.store.blobs_in_use() for digest in batch}
        assert used == {mirrored(TWO).sha256}

    @pytest.mark.parametrize("seed", range(4))
    async def test_the_past_is_what_the_present_was(self, seed: int) -> None:
        """As of each commit a mirror reads as it did then, and as a store that has replayed the commits up to it."""
        await self.keeping(FOREVER)
        chance = random.Random(seed)
        names = [ONE, TWO, STRAY, "odd.exe", *(f"demo-{number:03}.zip" for number in range(400))]

        def files() -> tuple[File, ...]:
            count = chance.choice((0, 1, 2, 300))
            return tuple(mirrored(name, str(chance.random())) for name in chance.sample(names, count))

        def project() -> ProjectName:
            return chance.choice((DEMO, DEMO, OTHER))

        kinds: list[Callable[[], Change]] = [
            lambda: whole(*files(), project=project(), display_name=chance.choice("ab")),
            lambda: MirrorPage(MIRROR, project(), head(chance.choice("ab")), files(), tuple(chance.sample(names, 5))),
            lambda: MirrorPage(MIRROR, project(), head(chance.choice("ab")), files(), (), chance.choice(PARTS)),
            lambda: MirrorPage(MIRROR, project(), head("a", fetched=START)),
            lambda: MirrorPage(MIRROR, project(), head("a"), files(), stamp=Serial(100 + len(said)), content="x"),
        ]
        said: dict[Serial, object] = {}
        for _ in range(40):
            changes = [chance.choice(kinds)() for _ in range(chance.choice((1, 1, 2)))]
            standing = await self.standing(MIRROR, DEMO)
            if standing.holds and chance.random() < 0.1:
                changes.append(DropMirrorPage(MIRROR, DEMO))
            serial = await self.commit(*changes)
            said[serial] = await told(self.store)
        for at, before in said.items():
            assert await told(self.store, at) == before
        commits = await self.store.commits(Serial(0))
        replica = MemoryIndex(self.clock)
        for commit in commits:
            await replica.replay([commit])
            if commit.serial in said:
                assert await told(replica) == said[commit.serial]
        for at, before in said.items():
            assert await told(replica, at) == before

    async def test_a_snapshot_is_a_list_of_pointers(self) -> None:
        """All of a mirror as of a commit can be read: its projects with their standings and pages, whatever came after."""
        await self.keeping(DAY)
        projects = [ProjectName(f"p{number}") for number in range(5)]
        await self.commit(*(whole(mirrored(f"{project}-1.zip"), project=project) for project in projects))
        snapshot = await self.commit(
            DropMirrorPage(MIRROR, projects[0]), whole(mirrored("p1-2.zip"), project=projects[1])
        )
        rows = list(await self.store.projects(MIRROR))
        standings = [await self.standing(MIRROR, row.name) for row in rows]
        await self.commit(
            *(whole(mirrored(f"{project}-3.zip"), project=project) for project in projects[:3]),
            DropMirrorPage(MIRROR, projects[3]),
        )
        assert [row.name for row in rows] == projects[1:]
        assert list(await self.store.projects(MIRROR, at=snapshot)) == rows
        assert [await self.standing(MIRROR, row.name, at=snapshot) for row in rows] == standings
        for row, standing in zip(rows, standings, strict=True):
            page = await self.page(MIRROR, row.name, at=snapshot)
            assert (page.stamp, page.content) == (row.stamp, standing.content) == (standing.stamp, page.content)
            assert [each.filename for each in page.rows] == [f"{row.name}-{'2' if row.name == 'p1' else '1'}.zip"]

    async def test_replayed_commits_have_the_past_of_their_own_time(self) -> None:
        """However late they are replayed."""
        await self.seed()
        lists: list[tuple[Change, ...]] = [
            (PutIndex(mirror(MIRROR, mirror_history=DAY)),),
            (whole(mirrored(ONE)),),
            (whole(mirrored(TWO)),),
            (whole(mirrored(STRAY)),),
        ]
        commits = [
            Commit(
                serial=Serial(number),
                at=Timestamp(START + number * DAY * SECOND // 2),
                who="[mirror]",
                changes=changes,
            )
            for number, changes in enumerate(lists, 2)
        ]
        self.clock.advance(FOREVER)
        await self.store.replay(commits)
        assert [set(await self.files(MIRROR, DEMO, at=Serial(at)) or ()) for at in (3, 4, 5)] == [{ONE}, {TWO}, {STRAY}]
