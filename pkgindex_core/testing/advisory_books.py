"""The contract suite of `AdvisoryBook`: what is known of packages that are malicious or vulnerable.

class TestMyBook(AdvisoryBookContract):
    async def make(self, place, records): ...    # a book of OSV records, in a new directory
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.testing.needed import pytest

_EVIL: Final = ProjectName("evil")
_LATER: Final = "2026-02-01T00:00:00Z"


def osv_record(identifier: str, *projects: str, **more: Any) -> dict[str, Any]:
    """A record of OSV that says that version 1.0 of some projects of PyPI is affected."""
    affected = [{"package": {"ecosystem": "PyPI", "name": name}, "versions": ["1.0"]} for name in projects]
    return {"id": identifier, "modified": "2026-01-01T00:00:00Z", "summary": "bad", "affected": affected, **more}


RECORDS: Final = {
    each["id"]: each
    for each in (
        osv_record("PYSEC-2", "evil", "other", modified=_LATER),
        osv_record("MAL-1", "Evil", aliases=["X-1"]),
        osv_record("PYSEC-1", "evil", withdrawn=_LATER),
    )
}


@pytest.mark.asyncio
class AdvisoryBookContract:
    """Subclass, name it `Test…`, and make the book."""

    async def make(self, place: Path, records: Mapping[str, dict[str, Any]]) -> AdvisoryBook:
        """A book of some records, by their identifiers; at least one. `place` is an empty directory."""
        raise NotImplementedError

    async def made(self, place: Path, records: Mapping[str, dict[str, Any]] = RECORDS) -> AdvisoryBook:
        place.mkdir()
        return await self.make(place, records)

    async def test_advisories_about_a_project_are_in_the_order_of_their_identifiers(self, tmp_path: Path) -> None:
        book = await self.made(tmp_path / "a")
        assert [each.id for each in book.about(_EVIL)] == ["MAL-1", "PYSEC-1", "PYSEC-2"]
        assert [each.id for each in book.about(ProjectName("other"))] == ["PYSEC-2"]
        assert list(book.about(ProjectName("sound"))) == []

    async def test_an_advisory_says_what_its_record_says(self, tmp_path: Path) -> None:
        malware, withdrawn, shared = (await self.made(tmp_path / "a")).about(_EVIL)
        assert (malware.is_malware, malware.aliases, malware.summary) == (True, ("X-1",), "bad")
        assert (withdrawn.is_malware, withdrawn.withdrawn) == (False, _LATER)
        assert {each.project: each.versions for each in shared.affected} == {"evil": ("1",), "other": ("1",)}

    async def test_records_are_whole(self, tmp_path: Path) -> None:
        book = await self.made(tmp_path / "a")
        for identifier, record in RECORDS.items():
            assert json.loads(book.record(identifier) or b"null") == record
        assert book.record("PYSEC-3") is None

    async def test_equal_books_have_equal_revisions(self, tmp_path: Path) -> None:
        one, same = await self.made(tmp_path / "a"), await self.made(tmp_path / "b")
        other = await self.made(tmp_path / "c", {**RECORDS, "MAL-2": osv_record("MAL-2", "sound")})
        assert one.revision == same.revision
        assert len({"", one.revision, other.revision}) == 3

    async def test_a_project_has_a_revision_that_only_its_own_advisories_change(self, tmp_path: Path) -> None:
        one = await self.made(tmp_path / "a")
        more = await self.made(tmp_path / "b", {**RECORDS, "MAL-2": osv_record("MAL-2", "other")})
        assert one.revision_of(_EVIL) == more.revision_of(_EVIL) != ""
        assert len({"", *(book.revision_of(ProjectName("other")) for book in (one, more))}) == 3
        assert one.revision_of(ProjectName("sound")) == ""

    async def test_the_state_counts_the_records(self, tmp_path: Path) -> None:
        state = (await self.made(tmp_path / "a")).state()
        assert (state.records, state.newest) == (len(RECORDS), _LATER)
        assert state.feed
        assert state.taken is not None
