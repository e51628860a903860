"""The bytes of files and their metadata. A source gives the right bytes or an error, never other bytes."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

import pytest

from pkgindex_core.errors import Corrupt, Missing, PkgIndexError, Unavailable
from pkgindex_core.protocols import Arriving, OnDisk, Redirect, Span
from pkgindex_core.testing.index_cases.values import DEMO
from pkgindex_core.testing.source_cases.base import BARE_WHEEL, HOUR, SDIST, WHEEL, SourceCases
from pkgindex_core.testing.wheels import BuiltFile, build_wheel

DAMAGES: Final = {
    "gone": None,
    "empty": b"",
    "cut": WHEEL.data[:-1],
    "longer": WHEEL.data + b"!",
    "other": WHEEL.data[:-1] + bytes([WHEEL.data[-1] ^ 1]),
}


class SourceFileCases(SourceCases):
    @pytest.mark.parametrize("built", [WHEEL, SDIST], ids=["wheel", "sdist"])
    async def test_a_file_has_exactly_its_bytes(self, built: BuiltFile) -> None:
        file = await self.published(built)
        assert await self.bytes_of(file) == built.data
        assert await self.bytes_of(file) == built.data

    async def test_bytes_arrive_or_are_here_as_declared(self) -> None:
        file = await self.published(WHEEL)
        opened = await self.opened(file)
        assert isinstance(opened, Arriving if self.streams else OnDisk)
        if isinstance(opened, Arriving):
            assert opened.file.size in {None, WHEEL.size}
            blob = await opened.file.finished()
            assert (blob.sha256, blob.size) == (WHEEL.sha256, WHEEL.size)
        await self.settle()
        here = await self.opened((await self.files())[WHEEL.filename])
        assert isinstance(here, OnDisk)
        assert (here.blob.sha256, here.blob.size) == (WHEEL.sha256, WHEEL.size)
        assert self.blobs.blobs[here.blob.sha256][0] == WHEEL.data

    async def test_clients_are_sent_elsewhere_where_that_is_declared(self) -> None:
        file = await self.published(WHEEL)
        opened = await self.source.open(self.index, DEMO, file)
        assert isinstance(opened, Redirect) is self.redirects
        if isinstance(opened, Redirect):
            assert urlsplit(opened.url).scheme in {"http", "https"}
            assert urlsplit(opened.url).hostname
            assert opened.url.isascii()
            assert opened.url.isprintable()
            assert " " not in opened.url
        assert await self.bytes_of(file) == WHEEL.data

    @pytest.mark.parametrize("span", [Span(0, 1), Span(3, 200), Span(WHEEL.size - 7, WHEEL.size), Span(0, WHEEL.size)])
    async def test_a_part_of_a_file_has_exactly_its_bytes(self, span: Span) -> None:
        match await self.opened(await self.published(WHEEL)):
            case OnDisk(blob):
                reading = self._behind.read(blob.sha256, span)
            case Arriving(arriving):
                reading = arriving.read(span)
            case other:
                pytest.fail(f"`open` with `elsewhere=False` must give bytes, and gave {other}")
        assert b"".join([chunk async for chunk in reading]) == WHEEL.data[span.start : span.stop]

    async def test_several_that_open_at_once_share_the_work(self) -> None:
        other, file = await self.published(SDIST), await self.published(WHEEL)
        alone, _ = await self.cost(self.bytes_of(other))
        assert (alone > 0) is (self.counts and self.fetches)
        together, bodies = await self.cost(asyncio.gather(*(self.bytes_of(file) for _ in range(5))))
        assert together <= alone
        assert set(bodies) == {WHEEL.data}
        assert (await self.cost(self.bytes_of(file)))[0] == 0

    @pytest.mark.parametrize("damage", DAMAGES)
    async def test_bytes_that_are_gone_or_wrong_are_an_error(self, damage: str) -> None:
        file = await self.published(WHEEL)
        self.damage(WHEEL, DAMAGES[damage])
        if damage == "other" and not self.fetches:
            # The blob store guarantees the bytes of a digest. The source names the right digest and size.
            here = await self.opened(file)
            assert isinstance(here, OnDisk)
            assert (here.blob.sha256, here.blob.size) == (WHEEL.sha256, WHEEL.size)
            return
        received = bytearray()
        with pytest.raises(self._error(damage)):
            await self.receive(file, received)
        assert len(received) < WHEEL.size
        if self.fetches:
            assert self.blobs.blobs == {}, "wrong bytes were kept"
        self.damage(WHEEL, WHEEL.data)
        self.clock.advance(HOUR)
        assert await self.bytes_of(file) == WHEEL.data

    async def test_bytes_that_were_damaged_here_are_not_given(self) -> None:
        file = await self.published(WHEEL)
        await self.bytes_of(file)
        self.blobs.blobs[WHEEL.sha256] = (WHEEL.data[:-1], 0.0)
        file = (await self.files())[WHEEL.filename]
        if self.fetches:
            assert await self.bytes_of(file) == WHEEL.data
        else:
            with pytest.raises(self._error("cut")):
                await self.bytes_of(file)

    def _error(self, damage: str) -> type[PkgIndexError]:
        """The expected error: `Corrupt` for damaged stored bytes, otherwise what is known of the upstream."""
        if self.upstream == "none":
            return Corrupt
        return Missing if damage == "gone" and self.fetches else Unavailable


class MetadataCases(SourceCases):
    async def test_the_metadata_is_that_in_the_wheel(self) -> None:
        file = await self.published(WHEEL)
        assert await self.metadata_of(file) == WHEEL.metadata
        file = (await self.files())[WHEEL.filename]
        cost, data = await self.cost(self.metadata_of(file))
        assert (cost, data) == (0, WHEEL.metadata)

    async def test_the_metadata_of_a_wheel_that_is_here_is_that_in_the_wheel(self) -> None:
        file = await self.published(WHEEL)
        await self.bytes_of(file)
        assert await self.metadata_of(file) == WHEEL.metadata

    async def test_a_wheel_without_metadata_has_none(self) -> None:
        file = await self.published(BARE_WHEEL)
        assert file.metadata_sha256 is None
        with pytest.raises(Missing):
            await self.metadata_of(file)

    async def test_several_that_want_metadata_at_once_share_the_work(self) -> None:
        other, file = await self.published(build_wheel("demo", "2.0")), await self.published(WHEEL)
        alone, _ = await self.cost(self.metadata_of(other))
        assert (alone > 0) is (self.counts and self.fetches)
        together, bodies = await self.cost(asyncio.gather(*(self.metadata_of(file) for _ in range(5))))
        assert together <= alone
        assert set(bodies) == {WHEEL.metadata}

    async def test_metadata_that_is_gone_is_got_again_or_an_error(self) -> None:
        file = await self.published(WHEEL)
        blob = await self.source.metadata(self.index, DEMO, file)
        await self.settle()
        del self.blobs.blobs[blob.sha256]
        file = (await self.files())[WHEEL.filename]
        if self.fetches:
            assert await self.metadata_of(file) == WHEEL.metadata
        else:
            with pytest.raises(Corrupt if self.upstream == "none" else Unavailable):
                await self.metadata_of(file)
