"""The form reader: the same parts however the body is cut, and nothing but `Refused` for what is no form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused, TooLarge
from pkgindex_http.wire.multipart import FormReader, PartHead, _parse_head
from tests.conftest import Tally
from tests.http.forms import BOUNDARY, CONTENT_TYPE, FIELD_BYTES, MALFORMED, Part, encode_form

# What looks like a boundary and is none, or is cut in the middle of one.
_TEASERS = [
    b"\r\n",
    b"\r\n--",
    b"--",
    b"\r",
    b"\n--" + BOUNDARY,
    b"--" + BOUNDARY,
    b"\r\n-" + BOUNDARY,
    b"\r\n--" + BOUNDARY[:-1],
    b"\r\n\r\n--" + BOUNDARY[:10],
    b"\0\xff",
    b"",
]
_CONTENT = st.lists(st.binary(max_size=30) | st.sampled_from(_TEASERS), max_size=6).map(b"".join)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=40).map(str.encode)
_NAME = st.from_regex(r"[a-z:_]{1,12}", fullmatch=True)


def _harmless(part: Part) -> bool:
    """A value that contains the delimiter would end there: senders choose another boundary then."""
    return b"\r\n--" + BOUNDARY not in b"\r\n" + part[2] + b"\r\n"


_PARTS = st.lists(
    st.one_of(
        st.tuples(_NAME, st.none(), _TEXT),
        st.tuples(_NAME, st.from_regex(r"[a-z0-9_.-]{0,20}", fullmatch=True), _CONTENT),
    ).filter(_harmless),
    max_size=6,
)


async def _pieces(body: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    for start, stop in pairwise(edges):
        yield body[start:stop]


async def _read(body: AsyncIterator[bytes], content_type: str = CONTENT_TYPE.decode()) -> list[Part]:
    parts: list[Part] = []
    pieces: list[bytes] = []

    async def begin(head: PartHead) -> None:
        parts.append((head.name, head.filename, b""))

    async def data(piece: bytes) -> None:
        assert piece
        name, filename, value = parts.pop()
        pieces.append(piece)
        parts.append((name, filename, value + piece))

    reader = FormReader(content_type, body, field_bytes=FIELD_BYTES)
    await reader.run(
        field=lambda name, value: parts.append((name, None, value.encode())), begin_file=begin, file_data=data
    )
    return parts


def _parts_of(body: bytes, cuts: Sequence[int] = (), content_type: str = CONTENT_TYPE.decode()) -> list[Part]:
    return asyncio.run(asyncio.wait_for(_read(_pieces(body, cuts), content_type), 20))


@given(_PARTS, st.lists(st.integers(min_value=0, max_value=2000), max_size=30))
def test_any_cut_of_the_body_gives_the_same_parts(parts: list[Part], cuts: list[int]) -> None:
    body = encode_form(parts)
    assert _parts_of(body, cuts) == parts


def test_the_headers_of_a_part_are_parsed_once_for_all_forms() -> None:
    parts: list[Part] = [("name", None, b"demo"), ("version", None, b"1.0")]
    body = encode_form(parts)
    assert asyncio.run(_read(_pieces(body, []))) == parts
    parsed = _parse_head.cache_info().misses
    assert asyncio.run(_read(_pieces(body, []))) == parts
    assert _parse_head.cache_info().misses == parsed


def test_one_byte_at_a_time() -> None:
    parts: list[Part] = [
        ("name", None, b"demo"),
        ("empty", None, b""),
        ("content", "a.whl", b".".join(_TEASERS)),
        ("none", "b.whl", b""),
        ("last", None, "é".encode()),
    ]
    body = encode_form(parts)
    assert _parts_of(body, range(len(body))) == parts


def test_large_content_is_handed_on_in_pieces_and_never_held_whole() -> None:
    largest = 0
    total = 0

    async def run() -> None:
        async def body() -> AsyncIterator[bytes]:
            head, tail = encode_form([("content", "a.whl", b"@")]).split(b"@")
            yield head
            for _ in range(200):
                yield b"\r\n--x" * 4096
            yield tail

        async def begin(_: PartHead) -> None: ...

        async def data(piece: bytes) -> None:
            nonlocal largest, total
            largest = max(largest, len(piece))
            total += len(piece)

        reader = FormReader(CONTENT_TYPE.decode(), body(), field_bytes=10)
        await reader.run(field=lambda *_: None, begin_file=begin, file_data=data)

    asyncio.run(run())
    assert total == 200 * 5 * 4096
    assert largest <= 5 * 4096 + len(BOUNDARY) + 8


@pytest.mark.parametrize(
    ("content_type", "body", "parts"),
    [
        # A preamble and an epilogue are allowed and say nothing (RFC 2046 5.1.1).
        (CONTENT_TYPE, b"hello\r\n" + encode_form([("a", None, b"b")]) + b"bye", [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([]), []),
        (b'Multipart/Form-Data; charset=x; BOUNDARY="%s"' % BOUNDARY, encode_form([("a", None, b"b")]), [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([("a", None, b"b")]).replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t\r\n"), [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([("a", None, b"b")]).replace(b"name=", b"NAME = "), [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([("a", None, b"b")]).replace(b'name="a"', b"name=a"), [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([("a", None, b"b")]).replace(b"Content-Disposition", b"content-disposition"), [("a", None, b"b")]),
        (CONTENT_TYPE, encode_form([('a\\"b', None, b"c")]), [('a"b', None, b"c")]),
        (CONTENT_TYPE, encode_form([("a", 'x\\\\y;"z"'.replace('"', '\\"'), b"c")]), [("a", 'x\\y;"z"', b"c")]),
        (CONTENT_TYPE, encode_form([("content", "", b"")]), [("content", "", b"")]),
        # requests writes no filename for text fields, browsers may say which kind of text it is.
        (
            CONTENT_TYPE,
            encode_form([("a", None, b"b")]).replace(b'"\r\n', b'"\r\nContent-Type: text/plain; charset=utf-8\r\n', 1),
            [("a", None, b"b")],
        ),
    ],
)  # fmt: skip
def test_what_clients_may_write(content_type: bytes, body: bytes, parts: list[Part]) -> None:
    for cuts in ((), range(len(body))):
        assert _parts_of(body, cuts, content_type.decode()) == parts


def test_sixty_malformed_forms_are_there(tally: Tally) -> None:
    assert len({(kind, body) for _, kind, body in MALFORMED}) == len(MALFORMED) >= 60
    tally("malformed forms", len(MALFORMED))


@pytest.mark.parametrize(
    ("content_type", "body"), [each[1:] for each in MALFORMED], ids=[each[0] for each in MALFORMED]
)
def test_a_malformed_form_is_refused_however_it_is_cut(content_type: bytes, body: bytes) -> None:
    step = max(1, len(body) // 300)
    for cuts in ((), range(0, len(body), step)):
        with pytest.raises(Refused) as refused:
            _parts_of(body, cuts, content_type.decode("utf-8", "surrogateescape"))
        assert refused.value.message


@given(st.lists(st.binary(max_size=40) | st.sampled_from([*_TEASERS, b"\r\n--" + BOUNDARY + b"\r\n"]), max_size=12))
def test_any_body_is_a_form_or_refused(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        _parts_of(b"--" + BOUNDARY + body, [len(piece) for piece in pieces])
    except Refused:
        return


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=400))
def test_any_flip_of_bytes_gives_parts_or_a_refusal(noise: bytes, place: int) -> None:
    body = bytearray(encode_form([("name", None, b"demo"), ("content", "a.whl", b"PK" * 50)]))
    body[place : place + len(noise)] = noise
    try:
        _parts_of(bytes(body))
    except Refused:
        return


def test_a_field_beyond_its_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        _parts_of(encode_form([("a", None, b"x" * (FIELD_BYTES + 1))]))
    assert _parts_of(encode_form([("a", None, b"x" * FIELD_BYTES)]))


@pytest.mark.parametrize("size", [8100, *range(8130, 8160)])
def test_bounds_do_not_depend_on_how_the_body_is_cut(size: int) -> None:
    """Around the limits of preamble and headers, whole bodies and single bytes are judged alike."""
    disposition = b'Content-Disposition: form-data; name="a"\r\n'
    long_head = b"--%s\r\n%sX: %s\r\n\r\nv%s" % (BOUNDARY, disposition, b"x" * size, b"\r\n--%s--" % BOUNDARY)
    long_preamble = b"x" * (size + 40) + b"\r\n" + encode_form([("a", None, b"v")])
    for body in (long_head, long_preamble):
        outcomes = set()
        for cuts in ((), range(8000, len(body))):
            try:
                outcomes.add(str(_parts_of(body, cuts)))
            except Refused as refused:
                outcomes.add(refused.message)
        assert len(outcomes) == 1


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(Refused, match="parts"):
        _parts_of(encode_form([("a", None, b"")] * 10_000))


@pytest.mark.parametrize(
    "head",
    [
        b'form-data; name="' + b"\\" * 8000,
        b"form-data" + b";" * 8000,
        b"form-data" + b"; a" * 2600,
        b"form-data" + b'; a="' * 1600,
        b"form-data; " + b" " * 8000 + b"name",
        b"form-data; " + b"a" * 8000,
        b"form-data; a=" + b'"\\' * 4000,
    ],
)
def test_no_header_makes_the_reader_slow(head: bytes) -> None:
    async def soon() -> None:
        body = b"--%s\r\nContent-Disposition: %s\r\n\r\nv\r\n--%s--\r\n" % (BOUNDARY, head[:8100], BOUNDARY)
        started = asyncio.get_running_loop().time()
        with pytest.raises(Refused):
            await _read(_pieces(body, ()))
        # Quadratic matching of 8 KiB would take minutes; this is for a machine that is busy with other things.
        assert asyncio.get_running_loop().time() - started < 10

    asyncio.run(soon())
