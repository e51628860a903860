"""Projects, project lists and uploads of a source."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.changes import Commit, DropMirrorPage, DropProject, FileAbsent, PutFile
from pkgindex_core.errors import ReadOnly, RequirementFailed, Unavailable
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import DEMO, OTHER
from pkgindex_core.testing.source_cases.base import ABSENT, INDEX, OTHER_WHEEL, SDIST, WHEEL, SourceCases, told


class SourceProjectCases(SourceCases):
    async def test_a_project_that_it_has_is_stored_with_its_files(self) -> None:
        await self.publish(DEMO, WHEEL, SDIST)
        assert await self.outcome(DEMO) == ("stale" if self.upstream == "unreachable" else "fresh")
        files = await self.files()
        assert sorted(files) == sorted([WHEEL.filename, SDIST.filename])
        for built in (WHEEL, SDIST):
            file = files[built.filename]
            assert file.version == "1.0"
            assert file.sha256 in {None, built.sha256}
            assert file.size in {None, built.size}

    async def test_a_project_without_files_is_there(self) -> None:
        await self.publish(DEMO)
        assert await self.outcome(DEMO) == ("stale" if self.upstream == "unreachable" else "fresh")
        assert await self.files() == {}

    async def test_a_project_that_it_lacks_is_absent_and_nothing_is_stored(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        head = await self.head()
        assert await self.outcome(ABSENT) == ("unknown" if self.upstream == "unreachable" else "absent")
        assert await self.store.page(INDEX, ABSENT) is None
        assert await self.head() == head

    @pytest.mark.parametrize("project", [DEMO, ABSENT])
    async def test_what_is_current_is_not_asked_about(self, project: ProjectName) -> None:
        await self.publish(DEMO, WHEEL)
        for looked_at in (False, True):
            current = await self.is_current(project)
            if self.upstream == "none":
                assert current
            if looked_at:
                assert current is self.stays_current
            cost, state = await self.cost(self.outcome(project))
            if current:
                assert state == ("absent" if project == ABSENT else "fresh")
                assert cost == 0

    async def test_a_project_that_was_dropped_from_the_store_comes_back(self) -> None:
        """Otherwise an index that was dropped and made again would stay empty."""
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        drop = DropMirrorPage(INDEX, DEMO) if self.index.mirrored else DropProject(INDEX, DEMO)
        await self.store.apply([drop], who="[test]")
        assert await self.is_current() is (self.upstream == "none")
        known = {"none": "absent", "there": "fresh", "unreachable": "unknown"}
        assert await self.outcome(DEMO) == known[self.upstream]

    async def test_again_looks_now_however_new_the_page_is(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        await self.publish(DEMO, SDIST)
        await self.refreshed(again=True)
        assert sorted(await self.files()) == sorted([WHEEL.filename, SDIST.filename])

    async def test_what_is_gone_is_absent_or_kept_whole_and_called_stale(self) -> None:
        await self.publish(DEMO, WHEEL, SDIST)
        await self.refreshed()
        before = await self.files()
        await self.withdraw(DEMO)
        state = await self.outcome(DEMO, again=True)
        assert state in {"absent", "stale"}
        if state == "stale":
            assert await self.files() == before

    async def test_what_did_not_change_is_not_stored_again(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        stamp = (await self.standing()).stamp
        await self.refreshed(again=True)
        assert (await self.standing()).stamp == stamp

    async def test_several_that_ask_at_once_share_the_work(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.publish(OTHER, OTHER_WHEEL)
        alone, _ = await self.cost(self.refreshed(OTHER))
        assert (alone > 0) is self.counts
        together, answers = await self.cost(asyncio.gather(*(self.refreshed() for _ in range(5))))
        assert together <= alone
        assert len({answer.state for answer in answers}) == 1


class NamesCases(SourceCases):
    async def test_the_names_are_those_that_there_are(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.publish(OTHER, OTHER_WHEEL)
        names = await self.source.names(self.index)
        assert names.is_partial is not self.lists_names
        if names.is_partial:
            assert await told(names) == []
            await self.refreshed(DEMO)
            await self.refreshed(OTHER)
            names = await self.source.names(self.index)
        assert names.is_whole
        assert names.freshness.state == ("stale" if self.upstream == "unreachable" else "fresh")
        assert await told(names) == [DEMO, OTHER]
        assert await told(names, DEMO) == [OTHER]
        assert await told(names, OTHER) == []

    async def test_without_asking_nobody_is_asked_and_what_is_known_is_told(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        await self.source.names(self.index)
        cost, names = await self.cost(self.source.names(self.index, ask=False))
        assert await told(names) == [DEMO]
        assert cost == 0

    async def test_a_list_that_nobody_asked_for_is_not_called_whole(self) -> None:
        await self.publish(DEMO, WHEEL)
        cost, names = await self.cost(self.source.names(self.index, ask=False))
        assert cost == 0
        if names.is_whole and not names.is_partial:
            assert await told(names) == [DEMO]

    async def test_no_names_are_a_list_too(self) -> None:
        if self.upstream == "unreachable" and self.lists_names:
            with pytest.raises(Unavailable):
                await self.source.names(self.index)
            assert not (await self.source.names(self.index, ask=False)).is_whole
            return
        assert await told(await self.source.names(self.index)) == []


class UploadCases(SourceCases):
    async def test_uploads_are_taken_where_that_is_declared(self) -> None:
        blob, metadata = await self.blobs.put(WHEEL.data), await self.blobs.put(WHEEL.metadata)
        digests = {"sha256": blob.sha256}
        file = File(filename=WHEEL.filename, digests=digests, size=blob.size, metadata_sha256=metadata.sha256)
        uploaded, free = PutFile(INDEX, DEMO, file, "Demo"), FileAbsent(INDEX, file.filename)
        head = await self.head()
        if not self.takes_uploads:
            with pytest.raises(ReadOnly):
                await self.source.put(self.index, [uploaded], who="ann", require=[free])
            assert await self.head() == head
            return
        commit = await self.source.put(self.index, [uploaded], who="ann", require=[free])
        assert isinstance(commit, Commit)
        assert (commit.who, commit.changes) == ("ann", (uploaded,))
        assert await self.head() == commit.serial
        assert await self.outcome(DEMO) == "fresh"
        assert await self.bytes_of((await self.files())[file.filename]) == WHEEL.data
        assert await told(await self.source.names(self.index, ask=False)) == [DEMO]
        with pytest.raises(RequirementFailed):
            await self.source.put(self.index, [uploaded], who="ann", require=[free])
        assert await self.head() == commit.serial

    async def test_an_upload_that_lies_in_a_local_file_is_stored_once(self) -> None:
        """If a source keeps the bytes elsewhere, the blob store has none of them, and the local file is not needed any more."""
        if not self.takes_uploads or self.index.needs_blobs:
            return
        spooled = self.context.data / "spooled"
        spooled.write_bytes(WHEEL.data)
        metadata = await self.blobs.put(WHEEL.metadata)
        file = File(
            filename=WHEEL.filename,
            digests={"sha256": WHEEL.sha256},
            size=len(WHEEL.data),
            metadata_sha256=metadata.sha256,
        )
        uploaded = PutFile(INDEX, DEMO, file, "Demo")
        assert await self.source.put(self.index, [uploaded], who="ann", spooled={WHEEL.sha256: spooled}) is not None
        spooled.unlink()
        assert set(self.blobs.blobs) == {metadata.sha256}
        assert await self.outcome(DEMO) == "fresh"
        assert await self.bytes_of((await self.files())[file.filename]) == WHEEL.data
