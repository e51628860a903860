"""Metadata of versions, documentation and test results of a project."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.changes import (
    DropAttachment,
    DropFile,
    DropIndex,
    DropProject,
    DropRelease,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    YankFile,
)
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Conflict, Missing, Refused
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, Event, Release, Serial
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    NOWHERE,
    OTHER,
    PROD,
    START,
    docs,
    head,
    hosted,
    stage,
    tox_result,
)

ONE = "demo-1.0.tar.gz"
TWO = "demo-2.0.tar.gz"
RESULT = f"{ONE}.toxresult-20260101000000-0"


class ReleaseCases(IndexStoreCases):
    async def two_files(self) -> Serial:
        await self.seed()
        return await self.commit(PutFile(DEV, DEMO, hosted(ONE)), PutFile(DEV, DEMO, hosted(TWO)))

    async def releases(self, at: Serial | None = None) -> dict[str, bytes]:
        return {release.version: release.metadata for release in await self.store.releases(DEV, DEMO, at=at)}

    async def attached(self, at: Serial | None = None) -> list[str]:
        return [attachment.filename for attachment in await self.store.attachments(DEV, DEMO, at=at)]

    async def test_metadata_is_kept_by_version_with_its_past(self) -> None:
        await self.two_files()
        long = b'{"description":"' + b"x" * 10_000 + b'"}'
        first = await self.commit(PutRelease(DEV, DEMO, Release(version="1.0", metadata=b'{"a":1}')))
        second = await self.commit(
            PutRelease(DEV, DEMO, Release(version="1.0", metadata=long)), PutRelease(DEV, DEMO, Release(version="2.0"))
        )
        third = await self.commit(DropRelease(DEV, DEMO, "1.0"))
        assert await self.releases(Serial(first - 1)) == {}
        assert await self.releases(first) == {"1.0": b'{"a":1}'}
        assert await self.releases(second) == {"1.0": long, "2.0": b"{}"}
        assert await self.releases(third) == await self.releases() == {"2.0": b"{}"}
        assert {canonical_version(each) for each in await self.store.released(DEV, DEMO, at=second)} == {"1", "2"}
        assert [canonical_version(each) for each in await self.store.released(DEV, DEMO)] == ["2"]
        assert list(await self.store.released(PROD, DEMO)) == list(await self.store.released(NOWHERE, DEMO)) == []
        assert list(await self.store.releases(PROD, DEMO)) == list(await self.store.releases(NOWHERE, DEMO)) == []

    async def test_one_version_is_found_replaced_and_dropped_in_any_spelling(self) -> None:
        await self.two_files()
        old = Release(version="1.0", metadata=b'{"a":1}')
        new = Release(version="v1.0.0", metadata=b'{"a":2}')
        first = await self.commit(
            PutRelease(DEV, DEMO, old), PutRelease(DEV, DEMO, Release(version="not one", metadata=b"{}" + b" " * 900))
        )
        await self.commit(PutRelease(DEV, DEMO, new))
        for spelling in ("1", "1.0", "v1.0.0"):
            assert await self.store.release(DEV, DEMO, spelling, at=first) == old
            assert await self.store.release(DEV, DEMO, spelling) == new
        assert await self.releases() == {"v1.0.0": b'{"a":2}', "not one": b"{}" + b" " * 900}
        legacy = await self.store.release(DEV, DEMO, "not one")
        assert legacy is not None
        assert legacy.version == "not one"
        assert await self.store.release(DEV, DEMO, "1.0.1") is None
        assert await self.store.release(DEV, OTHER, "1.0") is await self.store.release(NOWHERE, DEMO, "1.0") is None
        await self.commit(DropRelease(DEV, DEMO, "1.0.0.0"))
        assert await self.store.release(DEV, DEMO, "1.0") is None

    async def test_no_page_notices(self) -> None:
        stamp = await self.two_files()
        await self.commit(PutRelease(DEV, DEMO, Release(version="1.0")), PutAttachment(DEV, DEMO, docs("1.0")))
        assert (await self.standing(DEV, DEMO)).stamp == (await self.page(DEV, DEMO)).stamp == stamp
        await self.commit(DropRelease(DEV, DEMO, "1.0"), DropAttachment(DEV, DEMO, docs("1.0").filename))
        assert (await self.standing(DEV, DEMO)).stamp == (await self.page(DEV, DEMO)).stamp == stamp

    async def test_an_attachment_comes_back_as_it_went_in(self) -> None:
        await self.two_files()
        log = (
            Event(what="push", at=START, who="ann", source=DEV, target=PROD),
            Event(what="overwrite", at=START, count=2),
        )
        said = docs("1.0", history=log)
        await self.commit(PutAttachment(DEV, DEMO, said), PutAttachment(DEV, DEMO, tox_result(RESULT, ONE)))
        assert list(await self.store.attachments(DEV, DEMO)) == [said, tox_result(RESULT, ONE)]
        assert await self.store.find_attachment(DEV, RESULT) == (DEMO, tox_result(RESULT, ONE))
        assert await self.store.find_attachment(PROD, RESULT) is None
        assert await self.store.find_attachment(NOWHERE, RESULT) is None

    async def test_attachments_are_replaced_dropped_and_remembered(self) -> None:
        before = await self.two_files()
        first = await self.commit(PutAttachment(DEV, DEMO, docs("1.0", "old")))
        second = await self.commit(PutAttachment(DEV, DEMO, docs("1.0", "new")))
        name = docs("1.0").filename
        await self.commit(DropAttachment(DEV, DEMO, name))
        assert [await self.attached(at) for at in (before, first, second, None)] == [[], [name], [name], []]
        assert await self.store.find_attachment(DEV, name, at=first) == (DEMO, docs("1.0", "old"))
        assert await self.store.find_attachment(DEV, name, at=second) == (DEMO, docs("1.0", "new"))
        assert await self.store.find_attachment(DEV, name) is None

    async def test_two_projects_may_use_one_name(self) -> None:
        await self.two_files()
        await self.commit(PutProject(DEV, OTHER, head()), PutAttachment(DEV, OTHER, docs("1.0", "theirs")))
        await self.commit(PutAttachment(DEV, DEMO, docs("1.0")))
        assert await self.store.find_attachment(DEV, docs("1.0").filename) == (DEMO, docs("1.0"))
        await self.commit(DropProject(DEV, DEMO))
        assert await self.store.find_attachment(DEV, docs("1.0").filename) == (OTHER, docs("1.0", "theirs"))

    async def test_a_test_result_goes_with_its_file(self) -> None:
        await self.two_files()
        whole = await self.commit(
            PutAttachment(DEV, DEMO, docs("1.0")), PutAttachment(DEV, DEMO, tox_result(RESULT, ONE))
        )
        await self.commit(PutFile(DEV, DEMO, hosted(ONE)), YankFile(DEV, DEMO, ONE, "why"), DropFile(DEV, DEMO, TWO))
        assert await self.attached() == [docs("1.0").filename, RESULT]
        await self.commit(PutFile(DEV, DEMO, hosted(ONE, "other bytes")))
        assert await self.attached() == [docs("1.0").filename]
        await self.commit(PutAttachment(DEV, DEMO, tox_result(RESULT, ONE)), DropFile(DEV, DEMO, ONE))
        assert await self.attached() == [docs("1.0").filename]
        assert await self.attached(whole) == [docs("1.0").filename, RESULT]

    async def test_everything_goes_with_its_project_and_its_index(self) -> None:
        changes = (
            PutFile(DEV, DEMO, hosted(ONE)),
            PutRelease(DEV, DEMO, Release(version="1.0")),
            PutAttachment(DEV, DEMO, docs("1.0")),
        )
        await self.seed()
        for gone in (DropProject(DEV, DEMO), DropIndex(DEV)):
            whole = await self.commit(*changes)
            await self.commit(gone)
            assert (await self.attached(), await self.releases()) == ([], {})
            assert await self.store.find_attachment(DEV, docs("1.0").filename) is None
            assert (await self.attached(whole), await self.releases(whole)) == ([docs("1.0").filename], {"1.0": b"{}"})
        await self.commit(PutIndex(stage(DEV)), PutFile(DEV, DEMO, hosted(ONE)))
        assert (await self.attached(), await self.releases()) == ([], {})

    async def test_attachments_are_blobs_in_use(self) -> None:
        await self.two_files()
        await self.commit(PutAttachment(DEV, DEMO, docs("1.0")), PutAttachment(DEV, DEMO, tox_result(RESULT, ONE)))
        in_use = {digest async for batch in self.store.blobs_in_use() for digest in batch}
        assert in_use >= {docs("1.0").sha256, tox_result(RESULT, ONE).sha256}
        await self.commit(DropAttachment(DEV, DEMO, RESULT))
        in_use = {digest async for batch in self.store.blobs_in_use() for digest in batch}
        assert docs("1.0").sha256 in in_use
        assert tox_result(RESULT, ONE).sha256 not in in_use

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            (PutRelease(DEV, OTHER, Release(version="1.0")), Missing),
            (PutAttachment(DEV, OTHER, docs("1.0")), Missing),
            (PutAttachment(DEV, DEMO, tox_result(RESULT, "demo-9.tar.gz")), Missing),
            (DropRelease(DEV, DEMO, "9"), Missing),
            (DropAttachment(DEV, DEMO, RESULT), Missing),
            (PutRelease(NOWHERE, DEMO, Release(version="1.0")), Missing),
            (PutRelease(MIRROR, DEMO, Release(version="1.0")), Conflict),
            (PutAttachment(MIRROR, DEMO, docs("1.0")), Conflict),
            (
                PutAttachment(
                    DEV,
                    DEMO,
                    Attachment(kind="doczip", filename="x", version="1", sha256=Sha256("ABC"), size=1, added=START),
                ),
                Refused,
            ),
        ],
        ids=str,
    )
    async def test_what_does_not_fit_changes_nothing(self, change: Any, error: type[Exception]) -> None:
        serial = await self.two_files()
        with pytest.raises(error):
            await self.commit(PutFile(DEV, DEMO, hosted("demo-3.0.tar.gz")), change)
        assert await self.store.head() == serial
        assert sha256_of(b"demo-3.0.tar.gz") not in {
            digest async for batch in self.store.blobs_in_use() for digest in batch
        }
