"""Laws of the streams of names: together they are what a dictionary of all of them would be, and no more is held than must be."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.compression import CODINGS, Compressor, compress, decompress
from pkgindex_core.models import ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.name_streams import Rows, aligned, united

LISTS = st.lists(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text("xyz", max_size=2)), max_size=4)


async def batches(names: dict[str, str], size: int) -> AsyncIterator[Rows]:
    ordered = [ProjectRow(ProjectName(name), names[name], Serial(len(names[name]))) for name in sorted(names)]
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
        yield []


@given(lists=LISTS, size=st.integers(1, 5))
async def test_streams_side_by_side_are_one_sorted_list_with_the_first_spelling_and_the_highest_serial(
    lists: list[dict[str, str]], size: int
) -> None:
    expected: dict[str, tuple[str, int]] = {}
    for names in lists:
        for name, display in names.items():
            spelling, serial = expected.get(name, (display, 0))
            expected[name] = (spelling, max(serial, len(display)))
    found = [row async for part in aligned([batches(names, size) for names in lists]) for row in united(part)]
    assert [(row.name, (row.display_name, row.stamp)) for row in found] == sorted(expected.items())


@given(lists=LISTS, size=st.integers(1, 5))
async def test_a_part_is_no_larger_than_a_batch_of_each_stream(lists: list[dict[str, str]], size: int) -> None:
    async for part in aligned([batches(names, size) for names in lists]):
        assert all(len(names) <= size for names in part)


@given(pieces=st.lists(st.binary(max_size=2000), max_size=5))
def test_a_body_in_pieces_is_coded_as_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    for coding in ("identity", *CODINGS):
        compressor = Compressor(coding)
        for piece in pieces:
            compressor.add(piece)
        body = compressor.finish()
        assert decompress(body, coding) == whole == decompress(compress(whole, coding), coding)
