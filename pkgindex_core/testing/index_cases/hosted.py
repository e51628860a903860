"""Hosted projects: files, tombstones, yanks, and their past."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import (
    DropFile,
    DropIndex,
    DropProject,
    MirrorPage,
    PutFile,
    PutIndex,
    PutProject,
    YankFile,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Conflict, Missing, Refused
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import Taken
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, NOWHERE, OTHER, PROD, START, head, hosted, stage

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0-py3-none-any.whl"


def digest(content: str) -> Sha256:
    return sha256_of(content.encode())


class HostedProjectCases(IndexStoreCases):
    async def test_a_project_can_stand_without_files(self) -> None:
        await self.seed()
        said = head("Demo", versions=("0.1", "0.2"), status="archived", status_reason="gone fishing")
        serial = await self.commit(PutProject(DEV, DEMO, said))
        page = await self.page(DEV, DEMO)
        assert (page.index, page.project, page.stamp, page.head, page.rows) == (DEV, DEMO, serial, said, ())
        standing = await self.standing(DEV, DEMO)
        assert (standing.holds, standing.file_count, standing.stamp, standing.status) == (True, 0, serial, "archived")

    async def test_a_new_head_keeps_the_files(self) -> None:
        await self.seed()
        first = await self.commit(PutFile(DEV, DEMO, hosted(ONE), "Demo"))
        second = await self.commit(PutProject(DEV, DEMO, head("DEMO", status="deprecated")))
        assert await self.files(DEV, DEMO) == {ONE: hosted(ONE)}
        assert (await self.page(DEV, DEMO)).head.display_name == "DEMO"
        assert (await self.page(DEV, DEMO)).stamp == second
        assert (await self.page(DEV, DEMO, at=first)).head.display_name == "Demo"
        assert (await self.standing(DEV, DEMO, at=first)).status == ""

    async def test_projects_are_listed_by_name(self) -> None:
        await self.seed()
        for name in ("zeta", "alpha", "mid"):
            await self.commit(PutProject(DEV, ProjectName(name), head(name.upper())))
        await self.commit(PutProject(PROD, OTHER, head("Other")))
        rows = await self.store.projects(DEV)
        assert [(row.name, row.display_name) for row in rows] == [
            ("alpha", "ALPHA"),
            ("mid", "MID"),
            ("zeta", "ZETA"),
        ]
        assert [row.stamp for row in rows] == [3, 4, 2]
        assert await self.store.project_count(DEV) == 3

    async def test_a_part_of_the_projects_is_read(self) -> None:
        await self.seed()
        for name in ("a", "b", "b-2", "b2", "c"):
            last = await self.commit(PutProject(DEV, ProjectName(name), head(name.upper())))
        await self.commit(DropProject(DEV, ProjectName("b")), PutProject(PROD, ProjectName("b1"), head("B1")))

        async def part(after: str, limit: int | None, at: Serial | None = None) -> list[str]:
            rows = await self.store.projects(DEV, at=at, after=after, limit=limit)
            return [row.display_name for row in rows]

        assert await part("", 2) == ["A", "B-2"]
        assert await part("a", 2) == ["B-2", "B2"]
        assert await part("b", None) == ["B-2", "B2", "C"]
        assert await part("b-2", 5) == ["B2", "C"]
        assert await part("c", 5) == []
        assert await part("", 0) == []
        assert await part("", 2, last) == ["A", "B"]
        assert await part("a", None, last) == ["B", "B-2", "B2", "C"]

    async def test_a_project_without_a_display_name_is_listed_by_its_name(self) -> None:
        await self.seed()
        await self.commit(PutProject(DEV, DEMO, head()))
        assert [row.display_name for row in await self.store.projects(DEV)] == [DEMO]
        assert (await self.page(DEV, DEMO)).head.display_name == ""

    async def test_no_index_has_no_projects(self) -> None:
        assert list(await self.store.projects(NOWHERE)) == []
        assert await self.store.project_count(NOWHERE) == 0
        assert await self.store.page(NOWHERE, DEMO) is None

    async def test_a_past_list_is_what_it_was(self) -> None:
        await self.seed()
        first = await self.commit(PutProject(DEV, DEMO, head("Demo")))
        second = await self.commit(PutProject(DEV, OTHER, head("Other")))
        await self.commit(DropProject(DEV, DEMO))
        names = [[row.name for row in await self.store.projects(DEV, at=at)] for at in (Serial(1), first, second, None)]
        assert names == [[], [DEMO], [DEMO, OTHER], [OTHER]]

    async def test_a_dropped_project_leaves_its_names_taken(self) -> None:
        await self.seed()
        held = await self.commit(PutFile(DEV, DEMO, hosted(ONE, "one")), PutFile(DEV, DEMO, hosted(TWO, "two")))
        dropped = await self.commit(DropProject(DEV, DEMO))
        assert await self.store.page(DEV, DEMO) is None
        standing = await self.standing(DEV, DEMO)
        assert (standing.holds, standing.stamp, standing.file_count) == (False, dropped, 0)
        assert await self.store.taken(DEV, ONE) == Taken(project=DEMO, sha256=digest("one"), live=False)
        assert await self.store.taken(DEV, TWO) == Taken(project=DEMO, sha256=digest("two"), live=False)
        assert set(await self.files(DEV, DEMO, at=held) or ()) == {ONE, TWO}
        assert await self.store.project_count(DEV) == 0
        assert set(await self.peek_files()) == set()

    async def test_a_project_comes_back_without_its_old_files_and_words(self) -> None:
        await self.seed()
        await self.commit(PutProject(DEV, DEMO, head("Demo", status="archived")), PutFile(DEV, DEMO, hosted(ONE)))
        await self.commit(DropProject(DEV, DEMO))
        await self.commit(PutFile(DEV, DEMO, hosted(TWO), "dEmO"))
        assert set(await self.files(DEV, DEMO) or ()) == {TWO}
        assert (await self.page(DEV, DEMO)).head == head("dEmO")
        assert (await self.standing(DEV, DEMO)).status == ""

    async def test_dropping_no_project_is_missing(self) -> None:
        await self.seed()
        with pytest.raises(Missing) as caught:
            await self.commit(DropProject(DEV, DEMO))
        assert (caught.value.what, caught.value.name) == ("project", DEMO)
        await self.commit(PutProject(DEV, DEMO, head()))
        await self.commit(DropProject(DEV, DEMO))
        with pytest.raises(Missing):
            await self.commit(DropProject(DEV, DEMO))

    @pytest.mark.parametrize(
        "change",
        [
            PutProject(NOWHERE, DEMO, head()),
            DropProject(NOWHERE, DEMO),
            PutFile(NOWHERE, DEMO, hosted(ONE)),
            DropFile(NOWHERE, DEMO, ONE),
            YankFile(NOWHERE, DEMO, ONE, yanked=True),
            MirrorPage(NOWHERE, DEMO, head()),
        ],
        ids=lambda change: type(change).__name__,
    )
    async def test_what_goes_to_no_index_is_missing(self, change: PutProject) -> None:
        await self.seed()
        with pytest.raises(Missing) as caught:
            await self.commit(change)
        assert (caught.value.what, caught.value.name) == ("index", NOWHERE)

    @pytest.mark.parametrize(
        "change",
        [
            PutProject(MIRROR, DEMO, head()),
            DropProject(MIRROR, DEMO),
            PutFile(MIRROR, DEMO, hosted(ONE)),
            DropFile(MIRROR, DEMO, ONE),
            YankFile(MIRROR, DEMO, ONE, yanked=True),
        ],
        ids=lambda change: type(change).__name__,
    )
    async def test_a_mirror_takes_no_uploads(self, change: PutProject) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(hosted(ONE),)))
        with pytest.raises(Conflict):
            await self.commit(change)

    async def test_standings_follow_the_order(self) -> None:
        await self.seed()
        await self.commit(PutFile(PROD, DEMO, hosted(ONE)))
        order = [MIRROR, PROD, NOWHERE, DEV, PROD]
        standings = await self.store.standings(DEMO, order)
        assert [standing.index for standing in standings] == order
        assert [standing.holds for standing in standings] == [False, True, False, False, True]
        assert [standing.stamp for standing in standings] == [0, 2, 0, 0, 2]
        assert await self.store.standings(DEMO, []) == ()


class HostedFileCases(IndexStoreCases):
    async def test_a_file_comes_back_whole(self) -> None:
        await self.seed()
        file = File(
            filename="Demo_X-1.0+local.1-py3-none-any.whl",
            version="1.0+local.1",
            digests={"sha256": digest("x"), "md5": "0" * 32},
            size=2**40,
            upload_time=Timestamp(START + 1),
            requires_python=">=3.8, !=3.9.*",
            yanked='"quoted" & <b>',
            metadata_sha256=digest("m"),
            metadata_offered=True,
            provenance="https://example.org/provenance",
            gpg_sig=False,
        )
        serial = await self.commit(PutFile(DEV, DEMO, file, "Demo.X"))
        assert await self.store.file(DEV, DEMO, file.filename) == file
        page = await self.page(DEV, DEMO)
        assert page.rows == (page_row(file),)
        assert (page.stamp, page.head) == (serial, head("Demo.X"))
        assert set(await self.peek_files()) == {(DEV, DEMO, file.filename, digest("x"))}

    async def test_a_filename_is_matched_exactly(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted("Demo-1.0.tar.gz")))
        for name in ("demo-1.0.tar.gz", "Demo-1.0.tar.gz ", "Demo-1.0.tar", "%", "_emo-1.0.tar.gz", ""):
            assert await self.store.file(DEV, DEMO, name) is None
            assert await self.store.taken(DEV, name) is None
            assert await self.store.find_file(DEV, name, [DEMO]) is None
        await self.commit(PutFile(DEV, DEMO, hosted("demo-1.0.tar.gz")))
        assert len(await self.files(DEV, DEMO) or ()) == 2

    @pytest.mark.parametrize("name", ["d\nemo-1.zip", "démo-1.zip", "𝒹-1.zip", "'; DROP TABLE files; --", "a" * 255])
    async def test_any_text_is_only_text(self, name: str) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(name)))
        assert await self.store.file(DEV, DEMO, name) == hosted(name)
        assert await self.store.taken(DEV, name) is not None
        await self.commit(DropFile(DEV, DEMO, name))
        assert await self.store.file(DEV, DEMO, name) is None

    async def test_a_file_joins_those_that_are_there(self) -> None:
        await self.seed()
        first = await self.commit(PutFile(DEV, DEMO, hosted(ONE), "Demo"))
        second = await self.commit(PutFile(DEV, DEMO, hosted(TWO), "DEMO"))
        assert set(await self.files(DEV, DEMO) or ()) == {ONE, TWO}
        assert set(await self.files(DEV, DEMO, at=first) or ()) == {ONE}
        assert (await self.page(DEV, DEMO)).head.display_name == "Demo"
        assert [(await self.standing(DEV, DEMO, at)).stamp for at in (first, second, None)] == [first, second, second]
        assert await self.store.page(DEV, DEMO, at=Serial(first - 1)) is None

    async def test_a_file_is_replaced(self) -> None:
        await self.seed()
        first = await self.commit(PutFile(DEV, DEMO, hosted(ONE, "old")))
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "new")))
        assert await self.files(DEV, DEMO) == {ONE: hosted(ONE, "new")}
        assert await self.files(DEV, DEMO, at=first) == {ONE: hosted(ONE, "old")}
        assert await self.store.file(DEV, DEMO, ONE, at=first) == hosted(ONE, "old")
        assert await self.store.taken(DEV, ONE) == Taken(project=DEMO, sha256=digest("new"), live=True)
        assert set(await self.peek_files()) == {(DEV, DEMO, ONE, digest("new"))}

    async def test_what_a_filename_was_is_known(self) -> None:
        """Replaced and deleted files, each once. A yank changes no bytes, and other indexes have their own files."""

        def was(*contents: str) -> set[Taken]:
            return {Taken(project=DEMO, sha256=digest(each), live=False) for each in contents}

        await self.seed()
        assert list(await self.store.former(DEV, ONE)) == []
        for content, expected in (
            ("one", was()),
            ("two", was("one")),
            ("three", was("one", "two")),
            ("one", was("two", "three")),
        ):
            await self.commit(PutFile(DEV, DEMO, hosted(ONE, content)))
            await self.commit(YankFile(DEV, DEMO, ONE, "bad"))
            assert set(await self.store.former(DEV, ONE)) == expected
        await self.commit(DropFile(DEV, DEMO, ONE))
        found = await self.store.former(DEV, ONE)
        assert set(found) == was("one", "two", "three")
        assert len(found) == 3
        assert list(await self.store.former(PROD, ONE)) == []
        await self.commit(DropIndex(DEV))
        assert list(await self.store.former(DEV, ONE)) == []
        await self.commit(PutIndex(stage(DEV)))
        assert list(await self.store.former(DEV, ONE)) == []
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "four")))
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "five")))
        assert set(await self.store.former(DEV, ONE)) == was("four")

    async def test_the_last_of_several_in_one_list_stays(self) -> None:
        await self.seed()
        serial = await self.commit(*(PutFile(DEV, DEMO, hosted(ONE, str(number))) for number in range(3)))
        assert await self.files(DEV, DEMO, at=serial) == {ONE: hosted(ONE, "2")}

    async def test_a_name_belongs_to_one_project_per_index(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)))
        with pytest.raises(Conflict):
            await self.commit(PutFile(DEV, OTHER, hosted(ONE)))
        assert await self.store.page(DEV, OTHER) is None
        await self.commit(PutFile(PROD, OTHER, hosted(ONE)))
        await self.commit(DropFile(DEV, DEMO, ONE))
        with pytest.raises(Conflict):
            await self.commit(PutFile(DEV, OTHER, hosted(ONE)))

    async def test_a_deleted_file_leaves_its_project_and_a_tombstone(self) -> None:
        await self.seed()
        held = await self.commit(PutFile(DEV, DEMO, hosted(ONE, "one")))
        dropped = await self.commit(DropFile(DEV, DEMO, ONE))
        assert await self.files(DEV, DEMO) == {}
        assert (await self.standing(DEV, DEMO)).stamp == dropped
        assert await self.store.taken(DEV, ONE) == Taken(project=DEMO, sha256=digest("one"), live=False)
        assert await self.store.file(DEV, DEMO, ONE) is None
        assert await self.store.file(DEV, DEMO, ONE, at=held) == hosted(ONE, "one")
        assert set(await self.peek_files()) == set()

    async def test_putting_a_file_lifts_its_tombstone(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "one")), DropFile(DEV, DEMO, ONE))
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "two")))
        assert await self.store.taken(DEV, ONE) == Taken(project=DEMO, sha256=digest("two"), live=True)
        await self.commit(DropFile(DEV, DEMO, ONE))
        assert await self.store.taken(DEV, ONE) == Taken(project=DEMO, sha256=digest("two"), live=False)

    async def test_a_file_put_and_dropped_in_one_list_only_leaves_its_tombstone(self) -> None:
        await self.seed()
        serial = await self.commit(PutFile(DEV, DEMO, hosted(ONE)), DropFile(DEV, DEMO, ONE))
        assert await self.files(DEV, DEMO, at=serial) == {}
        assert (await self.store.taken(DEV, ONE)) == Taken(project=DEMO, sha256=digest(ONE), live=False)

    @pytest.mark.parametrize("project", [DEMO, OTHER])
    async def test_an_unknown_file_is_missing(self, project: ProjectName) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)), PutFile(DEV, OTHER, hosted("other-1.zip")))
        unknown = TWO if project == DEMO else ONE
        for change in (DropFile(DEV, project, unknown), YankFile(DEV, project, unknown, yanked=True)):
            with pytest.raises(Missing) as caught:
                await self.commit(change)
            assert (caught.value.what, caught.value.name) == ("file", unknown)

    async def test_a_yank_is_set_and_lifted_and_remembered(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)))
        marks: list[bool | str] = [True, "broken", False]
        serials = [await self.commit(YankFile(DEV, DEMO, ONE, yanked=mark)) for mark in marks]
        for serial, mark in zip(serials, marks, strict=True):
            file = await self.store.file(DEV, DEMO, ONE, at=serial)
            assert file == hosted(ONE, yanked=mark)
            assert file is not None
            assert (await self.page(DEV, DEMO, at=serial)).rows == (page_row(file),)
            assert (await self.standing(DEV, DEMO, at=serial)).stamp == serial
        assert (await self.store.taken(DEV, ONE)) == Taken(project=DEMO, sha256=digest(ONE), live=True)

    @pytest.mark.parametrize(
        "file",
        [
            File(filename=ONE),
            File(filename=ONE, digests={"md5": "0" * 32}),
            File(filename=ONE, digests={"sha256": "ABC"}),
            File(filename=ONE, digests={"sha256": "A" * 64}),
            hosted(ONE, metadata_sha256=Sha256("zz")),
        ],
    )
    async def test_a_hosted_file_needs_sound_digests(self, file: File) -> None:
        await self.seed()
        with pytest.raises(Refused):
            await self.commit(PutFile(DEV, DEMO, file))

    async def test_a_file_is_found_by_its_name_alone(self) -> None:
        await self.seed()
        held = await self.commit(PutFile(DEV, DEMO, hosted(ONE)), PutFile(DEV, DEMO, hosted("odd name.zip")))
        for name in (ONE, "odd name.zip"):
            for candidates in ([DEMO], [OTHER, DEMO], []):
                assert await self.store.find_file(DEV, name, candidates) == (DEMO, hosted(name))
        assert await self.store.find_file(PROD, ONE, [DEMO]) is None
        assert await self.store.find_file(DEV, TWO, [DEMO]) is None
        await self.commit(DropFile(DEV, DEMO, ONE))
        assert await self.store.find_file(DEV, ONE, [DEMO]) is None
        assert await self.store.find_file(DEV, ONE, [DEMO], at=held) == (DEMO, hosted(ONE))
        assert await self.store.find_file(DEV, ONE, [DEMO], at=Serial(held - 1)) is None

    async def test_a_file_is_read_in_its_own_project_only(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)), PutProject(DEV, OTHER, head()))
        assert await self.store.file(DEV, OTHER, ONE) is None

    async def test_a_page_of_a_thousand_files_is_whole(self) -> None:
        await self.seed()
        names = [f"demo-{number}.tar.gz" for number in range(1000)]
        serial = await self.commit(*(PutFile(DEV, DEMO, hosted(name)) for name in names))
        await self.commit(*(DropFile(DEV, DEMO, name) for name in names[::2]))
        assert set(await self.files(DEV, DEMO) or ()) == set(names[1::2])
        assert set(await self.files(DEV, DEMO, at=serial) or ()) == set(names)


class PageChangeCases(IndexStoreCases):
    async def test_changes_lead_from_each_past_page_to_the_present_one(self) -> None:
        await self.seed()
        three, alias = "demo-3.0.tar.gz", "demo-2.0.tar.gz"
        for changes in (
            [PutProject(DEV, DEMO, head("Demo"))],
            [PutFile(DEV, DEMO, hosted(ONE), "Demo"), PutFile(DEV, DEMO, hosted(TWO))],
            [PutFile(DEV, OTHER, hosted("other-1.0.tar.gz"))],
            [PutFile(DEV, DEMO, hosted(three))],
            [PutFile(DEV, DEMO, hosted(ONE, "other bytes"))],
            [YankFile(DEV, DEMO, TWO, "broken")],
            [DropFile(DEV, DEMO, ONE), PutFile(DEV, DEMO, hosted(alias))],
            [PutFile(DEV, DEMO, hosted(ONE)), PutProject(DEV, DEMO, head("DEMO", status="archived"))],
            [DropProject(DEV, DEMO)],
            [PutFile(DEV, DEMO, hosted(three))],
            [DropIndex(DEV)],
            [PutIndex(stage(DEV)), PutFile(DEV, DEMO, hosted(TWO))],
        ):
            last = await self.commit(*changes)
            now = await self.store.page(DEV, DEMO)
            for since in range(last + 1):
                found = await self.store.page_since(DEV, DEMO, Serial(since))
                if now is None:
                    assert found is None
                    continue
                assert found is not None
                then = await self.store.page(DEV, DEMO, at=Serial(since))
                before = {(row.version, row.filename): row for row in (then.rows if then is not None else ())}
                left = {key: row for key, row in before.items() if key not in {*found.gone}}
                assert (found.page.stamp, found.page.head) == (now.stamp, now.head)
                assert {*found.gone} <= {*before}
                rows = {row.filename: row for row in (*left.values(), *found.page.rows)}
                assert len(rows) == len(left) + len(found.page.rows)
                assert rows == {row.filename: row for row in now.rows}
            if now is not None:
                assert (await self._sizes(last)) == (0, 0)

    async def _sizes(self, since: Serial) -> tuple[int, int]:
        found = await self.store.page_since(DEV, DEMO, since)
        assert found is not None
        return len(found.page.rows), len(found.gone)

    async def test_files_that_stay_are_not_read(self) -> None:
        await self.seed()
        first = await self.commit(*[PutFile(DEV, DEMO, hosted(f"demo-{at}.0.tar.gz")) for at in range(20)])
        await self.commit(PutFile(DEV, DEMO, hosted("demo-20.0.tar.gz")))
        assert await self._sizes(first) == (1, 0)
        await self.commit(DropFile(DEV, DEMO, "demo-3.0.tar.gz"), YankFile(DEV, DEMO, "demo-4.0.tar.gz", "broken"))
        assert await self._sizes(first) == (2, 2)

    async def test_there_are_no_changes_of_a_page_that_a_hosted_index_does_not_hold(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), put=(hosted(ONE),)))
        for index in (DEV, MIRROR, NOWHERE):
            assert await self.store.page_since(index, DEMO, Serial(0)) is None

    async def test_files_of_a_mirror_that_was_there_before_are_no_changes(self) -> None:
        await self.seed()
        before = await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), put=(hosted(ONE),)))
        await self.commit(DropIndex(MIRROR), PutIndex(stage(MIRROR)))
        await self.commit(PutFile(MIRROR, DEMO, hosted(TWO)))
        found = await self.store.page_since(MIRROR, DEMO, before)
        assert found is not None
        assert ([row.filename for row in found.page.rows], [*found.gone]) == ([TWO], [])
