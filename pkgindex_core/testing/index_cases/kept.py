"""Mirrored pages that are kept in one piece. Reads give the same as for pages that came file by file."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import DropIndex, DropMirrorPage, MirrorPage, PutIndex
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.packing import ANSWER_BYTES
from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import MOST_BYTES, MOST_FILES, KeptRows, keep, page_content
from pkgindex_core.models import File, ProjectRow
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import DEMO, MIRROR, OTHER, START, head, mirrored, unfetched

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"
STRAY = "python-demo-1.0.win32.exe"


def kept(*files: File, project: ProjectName = DEMO) -> bytes:
    return keep(project, files).kept


class KeptPageCases(IndexStoreCases):
    async def test_a_page_in_one_piece_comes_back_as_that(self) -> None:
        seeded = await self.seed()
        said = head("Demo", versions=("9.9",), status="archived", validators={"etag": '"x"'}, fetched=START)
        files = (mirrored(ONE, yanked="bad", metadata_offered=True), unfetched(TWO), mirrored(STRAY))
        serial = await self.commit(MirrorPage(MIRROR, DEMO, said, kept=kept(*files)))
        page = await self.page(MIRROR, DEMO)
        assert (page.stamp, page.head) == (serial, said)
        assert isinstance(page.rows, KeptRows)
        assert page.rows.kept == kept(*files)
        assert list(page.rows) == sorted(map(page_row, files), key=lambda row: row.filename)
        for file in files:
            assert await self.store.file(MIRROR, DEMO, file.filename) == file
        assert await self.store.file(MIRROR, DEMO, "demo-3.0.tar.gz") is None
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.holds, standing.file_count, standing.status) == (True, 3, "archived")
        assert standing.content == page_content(said, KeptRows(kept(*files)))
        assert list(await self.store.projects(MIRROR)) == [ProjectRow(DEMO, "Demo", serial)]
        assert await self.store.project_count(MIRROR) == 1
        assert await self.files(MIRROR, DEMO, at=seeded) is None

    async def test_long_pages_come_from_the_log_a_few_at_a_time(self) -> None:
        """The log has digests in their place, which are short."""
        seeded = await self.seed()
        for number in range(8):
            files = (
                mirrored(f"demo-{number}.{part}.tar.gz", yanked=sha256_of(f"{number} {part}".encode()))
                for part in range(3000)
            )
            await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), kept=kept(*files)))
        after, lengths = seeded, []
        while commits := await self.store.commits(after):
            pages = [
                len(change.kept) for commit in commits for change in commit.changes if isinstance(change, MirrorPage)
            ]
            lengths.append(pages)
            assert [commit.serial for commit in commits] == [*range(after + 1, after + 1 + len(commits))]
            after = commits[-1].serial
        assert sum(map(len, lengths)) == 8
        if self.survives_reopening:  # a store in memory has them anyway
            assert all(sum(pages[:-1]) <= ANSWER_BYTES for pages in lengths)

    async def test_a_page_in_one_piece_without_files_is_held(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), kept=kept()))
        assert await self.files(MIRROR, DEMO) == {}
        assert (await self.standing(MIRROR, DEMO)).holds is True
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), put=(mirrored(ONE),)))
        assert await self.files(MIRROR, DEMO) == {ONE: mirrored(ONE)}

    async def test_it_replaces_what_is_stored_however_that_came(self) -> None:
        await self.seed()
        other = mirrored("odd.exe")
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE), other)))
        for files in ((mirrored(TWO), mirrored(STRAY)), (mirrored(ONE),)):
            serial = await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=kept(*files)))
            assert await self.files(MIRROR, DEMO) == {file.filename: file for file in files}
            standing = await self.standing(MIRROR, DEMO)
            assert (standing.stamp, standing.content) == (serial, page_content(head(), KeptRows(kept(*files))))
            assert await self.store.find_file(MIRROR, "odd.exe", []) is None
        assert await self.store.find_file(MIRROR, STRAY, []) is None

    async def test_a_difference_leaves_it_in_one_piece(self) -> None:
        await self.seed()
        files = {name: mirrored(name) for name in (f"demo-{number}.tar.gz" for number in range(600))}
        await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=kept(*files.values(), mirrored(STRAY))))
        changed = mirrored("demo-7.tar.gz", "new")
        put = (mirrored("demo-7.tar.gz", "newer"), changed, mirrored("odd.exe"))
        serial = await self.commit(
            MirrorPage(MIRROR, DEMO, head(), put=put, drop=("demo-8.tar.gz", "never", "odd.exe"))
        )
        expected = {**files, "demo-7.tar.gz": changed, STRAY: mirrored(STRAY), "odd.exe": mirrored("odd.exe")}
        del expected["demo-8.tar.gz"]
        assert await self.files(MIRROR, DEMO) == expected
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.content) == (serial, page_content(head(), KeptRows(kept(*expected.values()))))
        assert await self.store.file(MIRROR, DEMO, "demo-599.tar.gz") == files["demo-599.tar.gz"]
        assert await self.store.file(MIRROR, DEMO, "demo-8.tar.gz") is None
        for stray in (STRAY, "odd.exe"):
            assert await self.store.find_file(MIRROR, stray, candidate_projects(stray)) == (DEMO, mirrored(stray))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), drop=(STRAY,)))
        assert await self.store.find_file(MIRROR, STRAY, candidate_projects(STRAY)) is None

    @pytest.mark.parametrize("long", ["files", "bytes", ""], ids=["many files", "many bytes", "in parts"])
    async def test_a_long_one_and_one_in_parts_make_single_files_of_it(self, *, long: str) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), kept=kept(mirrored(ONE), mirrored(STRAY))))
        said = "." * (MOST_BYTES // 4) if long == "bytes" else ""
        count = {"files": MOST_FILES, "bytes": 4}.get(long, 1)
        many = tuple(mirrored(f"demo-{number}.zip", requires_python=said) for number in range(count))
        if long:
            await self.commit(MirrorPage(MIRROR, DEMO, head("New"), put=many, drop=(ONE,)))
        else:
            await self.commit(MirrorPage(MIRROR, DEMO, head("New"), put=many, part="first"))
            assert (await self.page(MIRROR, DEMO)).head == head("Demo")
            await self.commit(MirrorPage(MIRROR, DEMO, head("New"), drop=(ONE,), part="last"))
        page = await self.page(MIRROR, DEMO)
        assert (page.head, isinstance(page.rows, KeptRows)) == (head("New"), False)
        assert (await self.standing(MIRROR, DEMO)).content == ""
        assert set(await self.files(MIRROR, DEMO) or ()) == {STRAY, *(file.filename for file in many)}
        assert await self.store.find_file(MIRROR, STRAY, candidate_projects(STRAY)) == (DEMO, mirrored(STRAY))

    async def test_what_is_left_of_a_page_in_parts_goes(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE), mirrored("odd.exe")), part="first"))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=kept(mirrored(TWO))))
        assert await self.files(MIRROR, DEMO) == {TWO: mirrored(TWO)}
        assert await self.store.find_file(MIRROR, "odd.exe", []) is None

    async def test_a_new_head_alone_leaves_it_in_one_piece(self) -> None:
        await self.seed()
        first = await self.commit(MirrorPage(MIRROR, DEMO, head("Demo"), kept=kept(mirrored(ONE))))
        name = (await self.standing(MIRROR, DEMO)).content
        await self.commit(MirrorPage(MIRROR, DEMO, head("Demo", validators={"etag": "2"}, fetched=START)))
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.content) == (first, name)
        archived = head("Demo", status="archived")
        serial = await self.commit(MirrorPage(MIRROR, DEMO, archived))
        standing = await self.standing(MIRROR, DEMO)
        assert (standing.stamp, standing.content) == (serial, page_content(archived, KeptRows(kept(mirrored(ONE)))))
        assert standing.content != name
        assert isinstance((await self.page(MIRROR, DEMO)).rows, KeptRows)

    async def test_it_is_forgotten_with_its_project_and_its_index(self) -> None:
        await self.seed()
        config = (await self.store.tree()).indexes[MIRROR]
        page = MirrorPage(MIRROR, DEMO, head(), kept=kept(mirrored(ONE), mirrored(STRAY)))
        for gone in ((DropMirrorPage(MIRROR, DEMO),), (DropIndex(MIRROR), PutIndex(config))):
            await self.commit(page)
            await self.commit(*gone)
            standing = await self.standing(MIRROR, DEMO)
            assert (standing.holds, standing.file_count, standing.content) == (False, 0, "")
            assert await self.files(MIRROR, DEMO) is None
            assert await self.store.file(MIRROR, DEMO, ONE) is None
            assert await self.store.find_file(MIRROR, STRAY, []) is None
            assert [digest async for batch in self.store.blobs_in_use() for digest in batch] == []

    async def test_a_file_of_it_is_found_whatever_it_is_called(self) -> None:
        await self.seed()
        await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=kept(mirrored(ONE), mirrored(STRAY))))
        assert DEMO not in candidate_projects(STRAY)
        for name in (ONE, STRAY):
            assert await self.store.find_file(MIRROR, name, candidate_projects(name)) == (DEMO, mirrored(name))
        assert await self.store.find_file(MIRROR, TWO, candidate_projects(TWO)) is None

    async def test_its_blobs_are_in_use(self) -> None:
        await self.seed()
        sidecar = sha256_of(b"m")
        other = mirrored("other-1.zip", metadata_sha256=sidecar)
        await self.commit(
            MirrorPage(MIRROR, DEMO, head(), kept=kept(mirrored(ONE), unfetched(TWO))),
            MirrorPage(MIRROR, OTHER, head(), kept=kept(other, project=OTHER)),
        )
        used = {digest async for batch in self.store.blobs_in_use() for digest in batch}
        assert used == {sha256_of(ONE.encode()), sha256_of(b"other-1.zip"), sidecar}

    async def test_blobs_are_met_although_pages_change_their_form_meanwhile(self) -> None:
        await self.seed()
        projects = [ProjectName(f"p{number:03}") for number in range(500)]
        files = {project: [mirrored(f"{project}-1.zip")] for project in projects}
        files[projects[199]] = [mirrored(f"{projects[199]}-{number}.zip") for number in range(300)]

        async def in_turn(turn: int) -> None:
            """Put every other page into one piece, and the others into segments; the reverse in the next turn."""
            await self.commit(
                *(
                    MirrorPage(MIRROR, project, head(), kept=kept(*files[project], project=project))
                    if number % 2 == turn % 2
                    else MirrorPage(MIRROR, project, head(), put=tuple(files[project]))
                    for number, project in enumerate(projects)
                )
            )

        await in_turn(0)
        used: set[str] = set()
        turn = 0
        async for batch in self.store.blobs_in_use():
            used |= set(batch)
            turn += 1
            if turn < 4:
                await in_turn(turn)
        assert used == {sha256_of(file.filename.encode()) for each in files.values() for file in each}

    @pytest.mark.parametrize("other", [{"put": (mirrored(TWO),)}, {"drop": (ONE,)}, {"part": "first"}], ids=str)
    async def test_it_comes_alone(self, other: dict[str, object]) -> None:
        await self.seed()
        with pytest.raises(Refused):
            await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=kept(), **other))  # type: ignore[arg-type]  # fields of a MirrorPage

    async def test_other_bytes_are_refused(self) -> None:
        await self.seed()
        with pytest.raises(Refused):
            await self.commit(MirrorPage(MIRROR, DEMO, head(), kept=b"no page"))
