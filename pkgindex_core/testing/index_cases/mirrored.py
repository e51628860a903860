"""Mirrored projects: pages and their differences, files by name, the upstream's list."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest

from pkgindex_core.changes import Commit, DropIndex, DropMirrorPage, MirrorNames, MirrorPage, ProjectAt, PutIndex
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Conflict, Missing, RequirementFailed
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import File, ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    NOWHERE,
    OTHER,
    START,
    head,
    mirrored,
    unfetched,
)

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"


class MirrorPageCases(IndexStoreCases):
    async def test_a_page_comes_back_whole(self) -> None:
        await self.seed()
        said = head(
            "Demo",
            versions=("9.9",),
            status="quarantined",
            status_reason="malware",
            validators={"etag": '"x"', "serial": "12"},
            fetched=START,
        )
        files = (mirrored(ONE, yanked="bad", metadata_offered=True), unfetched(TWO))
        serial = await self.commit(MirrorPage(MIRROR, DEMO, said, put=files))
        page = await self.page(MIRROR, DEMO)
        assert (page.stamp, page.head) == (serial, said)
        assert set(page.rows) == {page_row(file) for file in files}
        assert await self.store.file(MIRROR, DEMO, TWO) == unfetched(TWO)
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.holds, standing.file_count, standing.status) == (True, 2, "quarantined")

    async def test_a_page_without_files_is_held(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo")))
        assert await self.files(MIRROR, DEMO) == {}
        assert (await self.standing(MIRROR, DEMO)).holds is True

    async def test_a_difference_changes_only_what_it_names(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"), mirrored("b"), mirrored("c"))))
        serial = await self.commit(
            MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("b", "new"), mirrored("d")), drop=("c", "never"))
        )
        assert await self.files(MIRROR, DEMO) == {
            "a": mirrored("a"),
            "b": mirrored("b", "new"),
            "d": mirrored("d"),
        }
        assert (await self.page(MIRROR, DEMO)).head == head("Demo")
        assert (await self.standing(MIRROR, DEMO)).stamp == serial

    async def test_drops_go_before_puts(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a", "new"),), drop=("a",)))
        assert await self.files(MIRROR, DEMO) == {"a": mirrored("a", "new")}

    async def test_the_last_of_two_files_of_one_name_stays(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a", "1"), mirrored("a", "2"))))
        assert await self.files(MIRROR, DEMO) == {"a": mirrored("a", "2")}

    async def test_what_is_not_shown_keeps_the_stamp(self) -> None:
        await self.seed()
        first = await self.commit(
            MirrorPage(MIRROR, DEMO, head("Demo", validators={"etag": "1"}, fetched=START), put=(mirrored("a"),))
        )
        asked_again = head("Demo", validators={"etag": "2"}, fetched=START + 1)
        await self.commit(MirrorPage(MIRROR, DEMO, asked_again))
        page = await self.page(MIRROR, DEMO)
        assert (page.stamp, page.head) == (first, asked_again)
        shown = await self.commit(MirrorPage(MIRROR, DEMO, head("Demo", status="archived", fetched=START + 2)))
        assert (await self.standing(MIRROR, DEMO)).stamp == shown
        assert await self.files(MIRROR, DEMO) == {"a": mirrored("a")}

    @pytest.mark.parametrize("in_one_piece", [False, True])
    async def test_a_page_keeps_the_name_under_which_it_was_shown(self, *, in_one_piece: bool) -> None:
        await self.seed()
        files: dict[str, Any] = (
            {"kept": keep(DEMO, [mirrored("a")]).kept} if in_one_piece else {"put": (mirrored("a"),)}
        )
        serial = await self.commit(
            MirrorPage(MIRROR, DEMO, head("Demo"), **files, stamp=Serial(7), content="one"),
            MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored("b"),), stamp=Serial(7), content="one"),
        )
        assert serial < 7
        for fetched in (None, START):  # what is not shown keeps the name
            page, standing = await self.page(MIRROR, DEMO), await self.standing(MIRROR, DEMO)
            assert (page.stamp, page.content, standing.stamp, standing.content) == (7, "one", 7, "one")
            assert isinstance(page.rows, KeptRows) is in_one_piece
            assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "b"}
            assert list(await self.store.projects(MIRROR)) == [ProjectRow(DEMO, "Demo", Serial(7))]
            await self.commit(MirrorPage(MIRROR, DEMO, head("Demo", fetched=fetched)))
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), stamp=Serial(9), content="two"))
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.content) == (9, "two")  # shown otherwise, and as before again

    async def test_no_later_page_has_a_stamp_again(self) -> None:
        await self.seed()
        config = (await self.store.tree()).indexes[MIRROR]
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),), stamp=Serial(4), content="one"))
        stamps = [4]
        for changes in (
            (MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),)),),
            (MirrorPage(MIRROR, DEMO, head(), kept=keep(DEMO, [mirrored("c")]).kept),),
            (DropMirrorPage(MIRROR, DEMO),),
            (MirrorPage(MIRROR, DEMO, head(), put=(mirrored("d"),), part="first"),),
            (MirrorPage(MIRROR, DEMO, head(), part="last"),),
            (DropIndex(MIRROR), PutIndex(config)),
        ):
            await self.commit(*changes)
            stamps.append((await self.standing(MIRROR, DEMO)).stamp)
        assert stamps == [4, 5, 6, 7, 8, 9, 10]
        assert (await self.standing(MIRROR, DEMO)).content == ""
        for _ in range(5):
            serial = await self.commit(MirrorNames(MIRROR))
        assert serial == 13
        serial = await self.commit(MirrorPage(MIRROR, DEMO, head()))
        assert (await self.standing(MIRROR, DEMO)).stamp == serial

    async def test_of_two_pages_under_one_stamp_the_content_tells(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),), stamp=Serial(2), content="theirs"))
        drop = DropMirrorPage(MIRROR, DEMO)
        with pytest.raises(RequirementFailed):
            await self.commit(drop, require=[ProjectAt(MIRROR, DEMO, Serial(2), "ours")])
        with pytest.raises(RequirementFailed):
            await self.commit(drop, require=[ProjectAt(MIRROR, DEMO, Serial(3), "theirs")])
        with pytest.raises(RequirementFailed):
            await self.commit(drop, require=[ProjectAt(MIRROR, OTHER, Serial(0), "theirs")])
        await self.commit(
            drop,
            require=[ProjectAt(MIRROR, DEMO, Serial(2), "theirs"), ProjectAt(MIRROR, OTHER, Serial(0), "")],
        )

    async def test_a_replayed_page_has_the_name_that_it_had(self) -> None:
        await self.seed()
        change = MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),), stamp=Serial(7), content="one")
        await self.store.replay([Commit(serial=Serial(2), at=Timestamp(START + 1), who="[mirror]", changes=(change,))])
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.content) == (7, "one")
        assert [commit.changes for commit in await self.store.commits(Serial(1))] == [(change,)]

    async def test_a_first_page_in_parts_is_held_with_its_last(self) -> None:
        seeded = await self.seed()
        said = head("Demo", validators={"etag": "1"}, fetched=START)
        first = await self.commit(MirrorPage(MIRROR, DEMO, said, put=(mirrored("a"),), part="first"))
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.holds) == (first, False)
        assert await self.files(MIRROR, DEMO) is None
        assert await self.store.file(MIRROR, DEMO, "a") is None
        assert [row.name for row in await self.store.projects(MIRROR)] == []
        await self.commit(MirrorPage(MIRROR, DEMO, said, put=(mirrored("b"),), part="middle"))
        assert await self.files(MIRROR, DEMO) is None
        assert list(await self.store.check()) == [], "a page whose last part has not come is no damage"
        last = await self.commit(MirrorPage(MIRROR, DEMO, said, put=(mirrored("c"),), part="last"))
        assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "b", "c"}
        page = await self.page(MIRROR, DEMO)
        assert (page.stamp, page.head) == (last, said)
        assert (await self.standing(MIRROR, DEMO)).file_count == 3
        assert await self.files(MIRROR, DEMO, at=seeded) is None

    @pytest.mark.parametrize("part", ["first", "whole"])
    async def test_what_is_left_of_a_page_without_its_last_part_goes(self, part: Literal["first", "whole"]) -> None:
        await self.seed()
        odd = mirrored("odd.exe")
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"), odd), part="first"))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),), part=part))
        if part == "first":
            await self.commit(MirrorPage(MIRROR, DEMO, head(), part="last"))
        assert await self.files(MIRROR, DEMO) == {"b": mirrored("b")}
        assert (await self.standing(MIRROR, DEMO)).file_count == 1
        assert await self.store.find_file(MIRROR, "odd.exe", []) is None

    async def test_a_held_page_stays_held_while_parts_of_a_difference_come(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo", validators={"etag": "1"}), put=(mirrored("a"),)))
        new = head("DEMO", validators={"etag": "2"})
        await self.commit(MirrorPage(MIRROR, DEMO, new, put=(mirrored("b"),), part="first"))
        page = await self.page(MIRROR, DEMO)
        assert page.head == head("Demo", validators={"etag": "1"})
        assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "b"}
        await self.commit(MirrorPage(MIRROR, DEMO, new, drop=("a",), part="last"))
        assert (await self.page(MIRROR, DEMO)).head == new
        assert await self.files(MIRROR, DEMO) == {"b": mirrored("b")}

    async def test_an_index_that_is_made_again_has_nothing_of_a_page_in_parts(self) -> None:
        await self.seed()
        config = (await self.store.tree()).indexes[MIRROR]
        first = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),), part="first"))
        await self.commit(DropIndex(MIRROR), PutIndex(config))
        with pytest.raises(RequirementFailed):
            await self.commit(
                MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),), part="last"),
                require=[ProjectAt(MIRROR, DEMO, first)],
            )
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("c"),)))
        assert await self.files(MIRROR, DEMO) == {"c": mirrored("c")}

    async def test_an_index_that_is_made_again_has_no_page_where_it_was(self) -> None:
        """Also not one that came in part and whose files were dropped again."""
        await self.seed()
        config = (await self.store.tree()).indexes[MIRROR]
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),), part="first"))
        last = await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=("a",), part="middle"))
        await self.commit(DropIndex(MIRROR), PutIndex(config))
        with pytest.raises(RequirementFailed):
            await self.commit(
                MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),), part="last"),
                require=[ProjectAt(MIRROR, DEMO, last)],
            )

    async def test_the_past_knows_whether_but_not_what(self) -> None:
        seeded = await self.seed()
        first = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"),)))
        second = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("b"),)))
        assert await self.files(MIRROR, DEMO, at=seeded) is None
        assert (await self.standing(MIRROR, DEMO, at=seeded)).stamp == 0
        assert [row.name for row in await self.store.projects(MIRROR, at=seeded)] == []
        for at in (first, second):
            assert set(await self.files(MIRROR, DEMO, at=at) or ()) == {"a", "b"}
            assert (await self.standing(MIRROR, DEMO, at=at)).stamp == second
            assert await self.store.file(MIRROR, DEMO, "b", at=at) == mirrored("b")
            assert [row.name for row in await self.store.projects(MIRROR, at=at)] == [DEMO]

    async def test_a_forgotten_page_is_gone_and_can_come_back(self) -> None:
        await self.seed()
        first = await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE), mirrored("odd.zip"))))
        dropped = await self.commit(DropMirrorPage(MIRROR, DEMO))
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.holds, standing.stamp, standing.file_count) == (False, dropped, 0)
        assert await self.files(MIRROR, DEMO) is None
        assert await self.files(MIRROR, DEMO, at=first) is None
        assert await self.store.find_file(MIRROR, "odd.zip", []) is None
        assert await self.store.project_count(MIRROR) == 0
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(TWO),)))
        assert set(await self.files(MIRROR, DEMO) or ()) == {TWO}

    async def test_forgetting_what_is_not_there_is_missing(self) -> None:
        await self.seed()
        with pytest.raises(Missing):
            await self.commit(DropMirrorPage(MIRROR, DEMO))
        await self.commit(MirrorPage(MIRROR, DEMO, head()), DropMirrorPage(MIRROR, DEMO))
        with pytest.raises(Missing):
            await self.commit(DropMirrorPage(MIRROR, DEMO))

    @pytest.mark.parametrize(
        "change",
        [MirrorPage(DEV, DEMO, head()), DropMirrorPage(DEV, DEMO), MirrorNames(DEV, put=((DEMO, ""),))],
        ids=lambda change: type(change).__name__,
    )
    async def test_a_hosted_index_takes_nothing_from_upstream(self, change: MirrorPage) -> None:
        await self.seed()
        with pytest.raises(Conflict):
            await self.commit(change)

    async def test_a_large_page_is_whole_after_many_differences(self) -> None:
        await self.seed()
        chance = random.Random(3)
        expected = {name: mirrored(name) for name in (f"demo-{number}.tar.gz" for number in range(3000))}
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=tuple(expected.values())))
        for turn in range(12):
            drop = tuple(chance.sample(sorted(expected), 1 if turn % 3 else 900))
            put = tuple(
                mirrored(f"demo-{chance.randrange(6000)}.tar.gz", str(turn)) for _ in range(600 if turn % 4 else 1)
            )
            expected = {name: file for name, file in expected.items() if name not in drop}
            expected |= {file.filename: file for file in put}
            await self.commit(MirrorPage(MIRROR, DEMO, head(), put=put, drop=drop))
            assert await self.files(MIRROR, DEMO) == expected
            for name in chance.sample(sorted(expected), 20):
                assert await self.store.file(MIRROR, DEMO, name) == expected[name]
            assert await self.store.file(MIRROR, DEMO, drop[0]) == expected.get(drop[0])
        await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=tuple(expected)))
        assert await self.files(MIRROR, DEMO) == {}
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("zzz"), mirrored(""))))
        assert set(await self.files(MIRROR, DEMO) or ()) == {"", "zzz"}

    async def test_a_page_whose_beginning_is_gone_takes_a_new_one(self) -> None:
        await self.seed()
        names = [f"demo-{number:04}" for number in range(1000)]
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=tuple(map(mirrored, names))))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=tuple(names[:500])))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored("a"), mirrored("demo-0001"))))
        for name in ("a", "demo-0001", names[500], names[-1]):
            assert await self.store.file(MIRROR, DEMO, name) == mirrored(name)
        assert await self.store.file(MIRROR, DEMO, names[499]) is None
        assert set(await self.files(MIRROR, DEMO) or ()) == {"a", "demo-0001", *names[500:]}

    async def test_a_file_more_or_less_moves_the_stamp(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head()))
        for change in (
            MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),)),
            MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE, "new"),)),
            MirrorPage(MIRROR, DEMO, head(), drop=(ONE,)),
        ):
            serial = await self.commit(change)
            assert (await self.standing(MIRROR, DEMO)).stamp == serial

    async def test_projects_and_their_count(self) -> None:
        await self.seed()
        for name in ("b", "a", "c"):
            await self.commit(MirrorPage(MIRROR, ProjectName(name), head(name.upper())))
        await self.commit(DropMirrorPage(MIRROR, ProjectName("b")))
        rows = await self.store.projects(MIRROR)
        assert list(rows) == [
            ProjectRow(ProjectName("a"), "A", Serial(3)),
            ProjectRow(ProjectName("c"), "C", Serial(4)),
        ]
        assert await self.store.project_count(MIRROR) == 2

    async def test_nothing_is_taken_in_a_mirror(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),)))
        assert await self.store.taken(MIRROR, ONE) is None

    async def test_a_file_is_found_by_the_spelling_of_its_name(self) -> None:
        await self.seed()
        name = "Demo.Long-Name-1.0-py3-none-any.whl"
        project = ProjectName("demo-long-name")
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE),)))
        await self.commit(MirrorPage(MIRROR, project, head(), put=(mirrored(name),)))
        assert await self.store.find_file(MIRROR, name, candidate_projects(name)) == (project, mirrored(name))
        assert await self.store.find_file(MIRROR, ONE, candidate_projects(ONE)) == (DEMO, mirrored(ONE))
        assert await self.store.find_file(MIRROR, TWO, candidate_projects(TWO)) is None
        assert await self.store.find_file(NOWHERE, ONE, candidate_projects(ONE)) is None

    async def test_a_file_is_found_whatever_it_is_called(self) -> None:
        seeded = await self.seed()
        name = "python-demo-1.0.win32.exe"
        assert DEMO not in candidate_projects(name)
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(name), mirrored(ONE))))
        assert await self.store.find_file(MIRROR, name, candidate_projects(name)) == (DEMO, mirrored(name))
        assert await self.store.find_file(MIRROR, name, candidate_projects(name), at=seeded) is None
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(name, "new"),)))
        assert await self.store.find_file(MIRROR, name, candidate_projects(name)) == (DEMO, mirrored(name, "new"))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=(name,)))
        assert await self.store.find_file(MIRROR, name, candidate_projects(name)) is None

    async def test_of_two_projects_with_one_file_the_likelier_answers(self) -> None:
        await self.seed()
        name = "demo-other-1.0.tar.gz"
        likely, less = ProjectName("demo-other"), DEMO
        for project in (less, likely):
            await self.commit(MirrorPage(MIRROR, project, head(), put=(mirrored(name, project),)))
        assert await self.store.find_file(MIRROR, name, [likely, less]) == (likely, mirrored(name, likely))
        assert await self.store.find_file(MIRROR, name, [less, likely]) == (less, mirrored(name, less))
        await self.commit(DropMirrorPage(MIRROR, likely))
        assert await self.store.find_file(MIRROR, name, [likely, less]) == (less, mirrored(name, less))

    async def test_blobs_in_use_are_those_whose_digest_is_known(self) -> None:
        await self.seed()
        sidecar = sha256_of(b"m")
        files: list[File] = [mirrored(f"demo-{number}.zip") for number in range(700)]
        await self.commit(
            MirrorPage(MIRROR, DEMO, head(), put=(*files, unfetched(ONE))),
            MirrorPage(MIRROR, OTHER, head(), put=(mirrored("other-1.zip", metadata_sha256=sidecar),)),
        )
        used: set[Sha256] = {found async for batch in self.store.blobs_in_use() for found in batch}
        assert used == {sha256_of(file.filename.encode()) for file in files} | {sha256_of(b"other-1.zip"), sidecar}


class MirrorNamesCases(IndexStoreCases):
    async def names(self) -> list[ProjectRow]:
        return [row async for rows in self.store.listed_names(MIRROR) for row in rows]

    async def test_a_list_that_was_never_fetched(self) -> None:
        await self.seed()
        for index in (MIRROR, DEV, NOWHERE):
            listing = await self.store.listing(index)
            assert (listing.stamp, listing.count, dict(listing.validators)) == (0, 0, {})
            assert [rows async for rows in self.store.listed_names(index)] == []

    async def test_names_come_by_name_under_the_stamp_of_the_list(self) -> None:
        await self.seed()
        put = ((ProjectName("zeta"), "Zeta"), (DEMO, ""), (OTHER, "other"))
        serial = await self.commit(MirrorNames(MIRROR, put=put, validators={"etag": '"x"'}))
        assert await self.names() == [
            ProjectRow(DEMO, "demo", serial),
            ProjectRow(OTHER, "other", serial),
            ProjectRow(ProjectName("zeta"), "Zeta", serial),
        ]
        listing = await self.store.listing(MIRROR)
        assert (listing.stamp, listing.count, dict(listing.validators)) == (serial, 3, {"etag": '"x"'})
        assert await self.store.page(MIRROR, DEMO) is None
        assert list(await self.store.projects(MIRROR)) == []

    async def test_a_difference_changes_only_what_it_names(self) -> None:
        await self.seed()
        await self.commit(MirrorNames(MIRROR, put=tuple((ProjectName(name), name.upper()) for name in "abcd")))
        put = ((ProjectName("b"), "new"), (ProjectName("e"), "E"), (ProjectName("c"), "c"))
        drop = (ProjectName("a"), ProjectName("never"), ProjectName("e"))
        serial = await self.commit(MirrorNames(MIRROR, put=put, drop=drop))
        assert [(row.name, row.display_name) for row in await self.names()] == [
            ("b", "new"),
            ("c", "c"),
            ("d", "D"),
            ("e", "E"),
        ]
        listing = await self.store.listing(MIRROR)
        assert (listing.stamp, listing.count, dict(listing.validators)) == (serial, 4, {})

    async def test_the_last_of_two_spellings_of_one_name_stays(self) -> None:
        await self.seed()
        for put in (((DEMO, "Demo"), (DEMO, "")), ((DEMO, ""), (DEMO, "DEMO")), ((DEMO, "demo"), (DEMO, "Demo"))):
            await self.commit(MirrorNames(MIRROR, put=put))
            assert [row.display_name for row in await self.names()] == [put[1][1] or DEMO]
        assert (await self.store.listing(MIRROR)).count == 1

    async def test_new_validators_alone_keep_the_stamp(self) -> None:
        await self.seed()
        empty = await self.commit(MirrorNames(MIRROR, validators={"etag": "1"}))
        assert (await self.store.listing(MIRROR)).stamp == empty
        await self.commit(MirrorNames(MIRROR, validators={"etag": "2"}))
        listing = await self.store.listing(MIRROR)
        assert (listing.stamp, dict(listing.validators)) == (empty, {"etag": "2"})

    async def test_a_long_list_comes_in_batches_without_a_gap(self) -> None:
        await self.seed()
        names = [ProjectName(f"p{number:05}") for number in range(12_345)]
        shuffled = random.Random(1).sample(names, len(names))
        await self.commit(MirrorNames(MIRROR, put=tuple((name, "") for name in shuffled)))
        batches = [rows async for rows in self.store.listed_names(MIRROR)]
        assert [row.name for rows in batches for row in rows] == names
        assert max(len(rows) for rows in batches) < len(names)
        assert (await self.store.listing(MIRROR)).count == len(names)

    async def test_a_list_may_begin_behind_a_name(self) -> None:
        await self.seed()
        await self.commit(
            MirrorNames(MIRROR, put=tuple((ProjectName(name), "") for name in ("a", "b", "b-c", "bb", "c")))
        )
        for after, expected in (
            ("", ["a", "b", "b-c", "bb", "c"]),
            ("b", ["b-c", "bb", "c"]),
            ("b-", ["b-c", "bb", "c"]),
            ("ba", ["bb", "c"]),
            ("c", []),
            ("zz", []),
        ):
            found = [row.name async for rows in self.store.listed_names(MIRROR, after=after) for row in rows]
            assert found == expected, after

    async def test_names_need_their_index(self) -> None:
        with pytest.raises(Missing):
            await self.commit(MirrorNames(MIRROR, put=((DEMO, ""),)))
