"""The contract suite of `Excerpting`: a source that can give a part of a file without fetching it.

class TestMySource(ExcerptingContract):
    async def begin(self): ...                     # this and the others as for `SourceContract`
    async def open_source(self, context): return MySource(...)
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.models import File
from pkgindex_core.protocols import Arriving, OnDisk, Opened, Span
from pkgindex_core.protocols.sources import Excerpting, FilePart
from pkgindex_core.testing.index_cases.values import DEMO
from pkgindex_core.testing.needed import pytest
from pkgindex_core.testing.source_cases.base import SourceCases
from pkgindex_core.testing.wheels import build_wheel

LARGE: Final = build_wheel("demo", "7.0", files={"demo.bin": bytes(range(250)) * 12_000}, stored=True)
_LAST: Final = Span(len(LARGE.data) - 1000, len(LARGE.data))
_NOTHING: Final = Span(0, 0)
_SPANS: Final = (_LAST, Span(2_000_000, 2_000_001), Span(0, 10), Span(1, len(LARGE.data)), Span(0, len(LARGE.data)))


class ExcerptingContract(SourceCases):
    """Subclass, name it `Test…`, and provide the content of the source, whose upstream can be asked. It gives the end of a file of 3 MB."""

    upstream = "there"

    async def part(self, file: File, span: Span | None) -> Opened | FilePart:
        assert isinstance(self.source, Excerpting)

        def wanted(size: int) -> Span | None:
            assert size == len(LARGE.data)
            return span

        return await self.source.open_part(self.index, DEMO, file, wanted)

    async def test_it_is_known_to_give_excerpts(self) -> None:
        assert isinstance(self.source, Excerpting)

    async def test_a_part_is_what_was_wanted_and_fetches_nothing(self) -> None:
        file = await self.published(LARGE)
        head = await self.head()
        expected = FilePart(size=len(LARGE.data), span=_LAST, data=LARGE.data[-1000:])
        assert await self.part(file, _LAST) == expected
        assert not self.blobs.blobs
        assert await self.head() == head

    async def test_the_size_may_be_asked_for_alone(self) -> None:
        opened = await self.part(await self.published(LARGE), _NOTHING)
        assert opened == FilePart(size=len(LARGE.data), span=_NOTHING, data=b"")

    @pytest.mark.parametrize("span", _SPANS)
    async def test_any_range_is_the_part_or_the_file(self, span: Span) -> None:
        opened = await self.part(await self.published(LARGE), span)
        if isinstance(opened, FilePart):
            assert (opened.size, opened.span) == (len(LARGE.data), span)
            assert opened.data == LARGE.data[span.start : span.stop]
        else:
            assert isinstance(opened, Arriving)
            assert b"".join([data async for data in opened.file.read(span)]) == LARGE.data[span.start : span.stop]

    async def test_the_whole_file_is_no_part(self) -> None:
        assert isinstance(await self.part(await self.published(LARGE), None), Arriving)

    @pytest.mark.parametrize("span", [_LAST, _NOTHING])
    async def test_a_stored_file_is_opened(self, span: Span) -> None:
        file = await self.published(LARGE)
        assert await self.bytes_of(file) == LARGE.data
        assert isinstance(await self.part(file, span), OnDisk)

    async def test_a_file_of_unknown_digest_has_no_part(self) -> None:
        """Clients could not verify the file that they put together."""
        file = replace(await self.published(LARGE), digests={})
        assert not isinstance(await self.part(file, _LAST), FilePart)

    @pytest.mark.parametrize("span", [_LAST, _NOTHING])
    async def test_an_upstream_that_is_away_has_no_parts(self, span: Span) -> None:
        file = await self.published(LARGE)
        await self.go_away()
        with pytest.raises(PkgIndexError):
            await self.part(file, span)
