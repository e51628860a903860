"""Whatever an upstream sends: nothing is kept or answered completely that is not what its page announced.

Each case is an upstream that damages most of its answers at one or two places (`mutations`), a page, and clients that want its file,
a part of the file, and its metadata. `PKGINDEX_TEST_MUTATIONS` says how many damaged answers are made (400 unless told, see tests/README.md).
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import random
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from hashlib import new
from typing import Any
from urllib.parse import unquote

import pytest

from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.models import File
from pkgindex_core.protocols import Span
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream

from .conftest import SIZES, MakeMirror, Mirror
from .mutations import Mutated

ANSWERS = int(os.environ.get("PKGINDEX_TEST_MUTATIONS", "400"))
EACH = 100
"""Damaged answers of one test."""
SETTINGS: dict[str, Any] = {"attempts": 3, "read_timeout": 0.3, "breaker_failures": 1000, "file_wait": 20.0}
SMALL = build_wheel("demo", "1.0", description="word " * 300)
LARGE = build_wheel("demo", "1.0", files={"demo.bin": random.Random(1).randbytes(1_500_000)}, stored=True)
OTHER = build_wheel("demo", "2.0", description="sentence " * 300)
SWAPPED = (OTHER.data, OTHER.metadata, SMALL.data, b"{}", b"<html></html>", b"\0")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(0, ANSWERS, EACH))
async def test_no_unverified_byte_is_kept_or_answered(
    seed: int, make_mirror: MakeMirror, tally: Callable[[str, int], None]
) -> None:
    dice = random.Random(seed)
    damaged = complete = 0
    while damaged < EACH:
        case = dice.getrandbits(32)
        made, answered = await try_one(random.Random(case), make_mirror, f"seed {seed}, case {case}")
        damaged += made
        complete += answered
    tally("damaged answers of upstreams", damaged)
    tally("complete answers from damaged ones", complete)


async def try_one(dice: random.Random, make_mirror: MakeMirror, name: str) -> tuple[int, int]:
    """Try one upstream. Returns how many answers were damaged, and how many clients got all that they wanted."""
    built = LARGE if dice.random() < 0.2 else SMALL
    async with ScriptedUpstream(
        speaks=dice.choice(["json", "html"]),
        announces_sidecars=dice.random() < 0.5,
        has_sidecars=True,
        takes_ranges=dice.random() < 0.8,
        gives_validators=dice.random() < 0.8,
        algorithms=dice.choice([("sha256",), ("sha256",), ("md5",), ("md5", "sha256")]),
    ) as upstream:
        # Nothing can be said of a sidecar whose digest is not announced: then the wheel is read.
        upstream.has_sidecars = upstream.announces_sidecars
        upstream.add("demo", built)
        mutated = Mutated(dice, SWAPPED)
        places = dice.choice([("page",), ("file",), ("file",), ("sidecar",), ("sidecar", "file"), ("head", "file")])
        for place in places:
            upstream.script(place, mutated)
        mirror = await make_mirror(upstream.url, config=SIZES, **SETTINGS)
        with suppress(Unavailable):
            await mirror.refresh()
        await mirror.sized()
        shown = await mirror.files()
        if "page" in places:
            said_so(shown, mutated, name)
        else:
            assert list(shown) == [built.filename], name
        complete = 0
        for filename, file in shown.items():
            complete += await want_all(dice, mirror, filename, file, name)
        await mirror.settle()
        for sha256, (data, _) in mirror.blobs.blobs.items():
            assert new("sha256", data).hexdigest() == sha256, name
            # A damaged page may have a link without a digest.
            assert data in {built.data, built.metadata} or "page" in places, name
        if "page" not in places:
            # Once the upstream is well again, everything can be had.
            upstream.behave()
            mirror.clock.advance(11)
            await mirror.refresh()
            assert await mirror.download(built.filename) == built.data, name
            assert (await mirror.file(built.filename)).shown_size == built.size, name
            assert await mirror.sidecar(built.filename) == built.metadata, name
        return len(mutated.done), complete


async def want_all(dice: random.Random, mirror: Mirror, filename: str, file: File, name: str) -> int:
    """Ask for the file, a part of it and its metadata, at once. Complete answers match the digests of the page."""
    size = file.size or SMALL.size
    start = dice.randrange(size)
    span = Span(start, dice.randrange(start, size) + 1)

    async def part() -> bytes:
        return b"".join([data async for data in (await mirror.fetch(filename)).read(span)])

    whole, piece, metadata = await asyncio.gather(
        attempt(mirror.download(filename)), attempt(part()), attempt(mirror.sidecar(filename))
    )
    if not file.digests:  # a damaged page: nothing was announced
        return 0
    announced = [each for each in (SMALL, LARGE) if file.digests.items() <= digests(each.data, file.digests).items()]
    if whole is not None:
        assert whole in [each.data for each in announced], name
        assert file.size in {None, len(whole)}, name
    if piece is not None:
        assert piece in [each.data[span.start : span.stop] for each in announced], name
    if metadata is not None:
        assert metadata in {SMALL.metadata, LARGE.metadata}, name
    return sum(each is not None for each in (whole, piece, metadata))


def digests(data: bytes, algorithms: Iterable[str]) -> dict[str, str]:
    return {algorithm: new(algorithm, data).hexdigest() for algorithm in algorithms}


async def attempt(question: Coroutine[Any, Any, bytes]) -> bytes | None:
    try:
        return await question
    except (Missing, Unavailable):
        return None


def said_so(shown: dict[str, File], mutated: Mutated, name: str) -> None:
    """Every fact of a shown page is in one answer of the upstream, at the file that it is about."""
    for file in shown.values():
        assert any(says(body, file) for body in mutated.sent), (name, file, mutated.done)


def says(body: bytes, file: File) -> bool:
    facts: dict[str, Any] = {
        "filename": file.filename,
        "size": file.size,
        "requires-python": file.requires_python or None,
        **file.digests,
    }
    facts = {key: value for key, value in facts.items() if value is not None}
    try:
        pairs: list[list[tuple[str, Any]]] = []
        json.loads(body, object_pairs_hook=lambda found: pairs.append(found) or dict(found))
    except ValueError:
        # In a URL browsers read over line ends and tabs.
        text = "".join(html.unescape(unquote(body.decode("utf-8", "replace"))).casefold().split())
        return all("".join(str(value).casefold().split()) in text for value in facts.values())
    told = [(key, str(each).casefold()) for group in pairs for key, each in group]
    return all((key, str(value).casefold()) in told for key, value in facts.items())
