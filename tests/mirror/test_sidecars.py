"""A wheel's METADATA, exact, from wherever it can be had."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core import failpoints
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import BadUpstream, Missing, Unavailable
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.documents.zip_parts import Odd
from pkgindex_mirror.readthrough.files.sidecars import describes, metadata_in
from pkgindex_mirror.testing import Answer, Behaviour, ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.upstream_answers import Failed

from .conftest import DEMO, MakeMirror, Mirror

WHEEL = build_wheel("demo", "1.0", description="café\r\n" * 20)
OTHER = build_wheel("demo", "3.0")
BIG = build_wheel("demo", "2.0", files={"demo.bin": bytes(range(256)) * 4000}, stored=True)


def files_asked(upstream: ScriptedUpstream) -> list[str]:
    return [asked.headers.get("Range", "all") for asked in upstream.asked if asked.place == "file"]


async def test_an_announced_sidecar_is_taken(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata
    assert (upstream.count("sidecar"), upstream.count("file")) == (1, 0)
    assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata
    assert upstream.count("sidecar") == 1


async def test_many_clients_cause_one_request(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    found = await asyncio.gather(*(mirror.sidecar(WHEEL.filename) for _ in range(20)))
    assert set(found) == {WHEEL.metadata}
    assert upstream.count("sidecar") == 1


@pytest.mark.parametrize("wheel", [WHEEL, BIG], ids=["small", "big"])
async def test_without_sidecar_it_is_read_from_the_wheels_end(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, wheel: BuiltFile
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.add("demo", wheel)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(wheel.filename) == wheel.metadata
    assert files_asked(upstream) == ["bytes=-65536"]
    file = await mirror.file(wheel.filename)
    assert (file.metadata_sha256, file.metadata_offered) == (sha256_of(wheel.metadata), False)
    # What was learned survives an upstream that still announces nothing.
    mirror.clock.advance(10_000)
    upstream.gives_validators = False
    head = await mirror.store.head()
    await mirror.refresh()
    assert await mirror.store.head() == head


async def test_a_host_without_sidecars_is_not_asked_for_each(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.add("demo", WHEEL, BIG)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    await mirror.sidecar(WHEEL.filename)
    await mirror.sidecar(BIG.filename)
    assert upstream.count("sidecar") == 1


async def test_an_unannounced_sidecar_is_taken_if_it_is_one(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = False
    upstream.add("demo", WHEEL, BIG)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata
    assert upstream.count("file") == 0
    upstream.script("sidecar", behaviours.says("text/plain", b"welcome"))
    assert await mirror.sidecar(BIG.filename) == BIG.metadata
    assert upstream.count("file") == 1


async def test_without_ranges_the_whole_wheel_is_fetched_and_kept(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = upstream.takes_ranges = False
    upstream.add("demo", BIG)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(BIG.filename) == BIG.metadata
    assert set(mirror.blobs.blobs) == {BIG.sha256, sha256_of(BIG.metadata)}


async def test_a_wheel_that_is_stored_is_read_and_not_asked_for(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = False
    upstream.add("demo", BIG)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    await mirror.download(BIG.filename)
    asked = len(upstream.asked)
    assert await mirror.sidecar(BIG.filename) == BIG.metadata
    assert len(upstream.asked) == asked


@pytest.mark.parametrize("served", [True, False], ids=["with a sidecar", "without one"])
async def test_a_wrong_announced_digest_is_corrected_from_the_verified_wheel(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, served: bool
) -> None:
    """Installers compare: with the wrong digest no version of the wheel could ever be installed."""
    upstream.add("demo", WHEEL, core_metadata={"sha256": "0" * 64})
    if not served:
        upstream.script("sidecar", behaviours.status(404))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata
    corrected = await mirror.file(WHEEL.filename)
    assert corrected.metadata_sha256 == sha256_of(WHEEL.metadata)
    # It stays so while the upstream announces the same, whatever else changes.
    upstream.add("demo", OTHER)
    mirror.clock.advance(10_000)
    assert (await mirror.refresh()).state == "fresh"
    assert len(await mirror.files()) == 2
    assert await mirror.file(WHEEL.filename) == corrected
    # What it announces later is believed again.
    upstream.projects["demo"].clear()
    upstream.add("demo", WHEEL, core_metadata={"sha256": "1" * 64})
    mirror.clock.advance(10_000)
    await mirror.refresh()
    assert (await mirror.file(WHEEL.filename)).metadata_sha256 == "1" * 64


async def test_a_sidecar_is_not_corrected_from_bytes_that_nothing_verified(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """What ranges gave is compared with the announcement alone: the whole wheel and its digest decide."""
    wheel = build_wheel("demo", "1.0", stored=True)
    upstream.add("demo", wheel, core_metadata={"sha256": "0" * 64})
    upstream.script("sidecar", behaviours.status(404))
    upstream.script("file", behaviours.with_body(lambda body: body.replace(b"Version: 1.0", b"Version: 6.6")))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    with pytest.raises(BadUpstream, match="do not match the sha256"):
        await mirror.sidecar(WHEEL.filename)
    assert (await mirror.file(WHEEL.filename)).metadata_sha256 == "0" * 64
    assert not mirror.blobs.blobs


async def test_metadata_of_bytes_that_nobody_vouched_for_is_that_of_the_kept_wheel(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """The upstream has replaced a file of which no digest was known, between the request for its metadata and the one for it."""
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.algorithms, upstream.speaks = (), "html"
    first, second = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", requires_dist=("six",))
    upstream.add("demo", first)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(first.filename) == first.metadata
    upstream.projects["demo"].clear()
    upstream.add("demo", second)
    assert await mirror.download(second.filename) == second.data
    await mirror.settle()
    file = await mirror.file(second.filename)
    assert (file.sha256, file.metadata_sha256) == (second.sha256, sha256_of(second.metadata))
    assert await mirror.sidecar(second.filename) == second.metadata


RIGHT = build_wheel("demo", "1.0", requires_dist=("six",), stored=True)
WRONG = build_wheel("demo", "1.0", requires_dist=("zip",), stored=True)
"""A sound wheel of the same size with other metadata."""
BARE = BuiltFile(
    filename=RIGHT.filename,
    data=build_wheel("other", "1.0").data,
    metadata=b"",
    sha256=build_wheel("other", "1.0").sha256,
)


def end_of(wheel: BuiltFile) -> Behaviour:
    """Answer a request for the end of a wheel with that of another one."""
    size = len(wheel.data)
    headers = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
    return lambda _asked, _answer: Answer(status=206, headers=headers, body=wheel.data)


async def with_metadata_from_ranges(upstream: ScriptedUpstream, make_mirror: MakeMirror, **says: object) -> Mirror:
    """A mirror that has read the metadata of `WRONG` by ranges, in the place of that of `RIGHT`."""
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.add("demo", RIGHT, **says)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    upstream.script("file", end_of(WRONG), times=1)
    assert await mirror.sidecar(RIGHT.filename) == WRONG.metadata
    file = await mirror.file(RIGHT.filename)
    assert (file.metadata_sha256, file.metadata_from_ranges) == (sha256_of(WRONG.metadata), True)
    return mirror


async def test_metadata_from_ranges_is_replaced_by_that_of_the_verified_wheel(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(RIGHT.data) == len(WRONG.data)
    mirror = await with_metadata_from_ranges(upstream, make_mirror)
    assert await mirror.download(RIGHT.filename) == RIGHT.data
    await mirror.settle()
    corrected = await mirror.file(RIGHT.filename)
    assert (corrected.metadata_sha256, corrected.metadata_from_ranges) == (sha256_of(RIGHT.metadata), False)
    assert sha256_of(RIGHT.metadata) in mirror.blobs.blobs
    assert f"{RIGHT.filename}.metadata: the ranges of the wheel had other metadata; it is corrected" in caplog.text
    # It stays so, and the upstream is asked for nothing more.
    asked = len(upstream.asked)
    assert await mirror.sidecar(RIGHT.filename) == RIGHT.metadata
    assert len(upstream.asked) == asked
    upstream.add("demo", OTHER)
    mirror.clock.advance(10_000)
    assert (await mirror.refresh()).state == "fresh"
    assert await mirror.file(RIGHT.filename) == corrected


async def test_a_page_does_not_change_when_the_ranges_were_right(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    """Each change of a page is another page for all clients."""
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.add("demo", RIGHT)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.sidecar(RIGHT.filename) == RIGHT.metadata
    head = await mirror.store.head()
    assert await mirror.download(RIGHT.filename) == RIGHT.data
    await mirror.settle()
    assert await mirror.store.head() == head
    assert await mirror.sidecar(RIGHT.filename) == RIGHT.metadata
    assert not caplog.records


async def test_metadata_from_ranges_is_announced_no_more_if_the_verified_wheel_has_none(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = False
    small = archive({"x": b""})
    data = archive({"x": b""}, comment=b"c" * (len(WRONG.data) - len(small)))
    upstream.add("demo", BuiltFile(filename=WRONG.filename, data=data, metadata=b"", sha256=sha256_of(data)))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    upstream.script("file", end_of(WRONG), times=1)
    assert await mirror.sidecar(WRONG.filename) == WRONG.metadata
    assert await mirror.download(WRONG.filename) == data
    await mirror.settle()
    told = await mirror.file(WRONG.filename)
    assert (told.metadata_sha256, told.metadata_offered, told.metadata_from_ranges) == (None, False, False)
    assert "the wheel has none; it is not announced any more" in caplog.text


async def test_a_digest_that_the_upstream_announces_later_vouches_for_metadata_from_ranges(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await with_metadata_from_ranges(upstream, make_mirror)
    mirror.clock.advance(10_000)
    upstream.add("demo", OTHER)
    await mirror.refresh()
    assert (await mirror.file(RIGHT.filename)).metadata_from_ranges
    upstream.projects["demo"].clear()
    upstream.add("demo", RIGHT, core_metadata={"sha256": sha256_of(WRONG.metadata)})
    mirror.clock.advance(10_000)
    await mirror.refresh()
    file = await mirror.file(RIGHT.filename)
    assert (file.metadata_sha256, file.metadata_from_ranges) == (sha256_of(WRONG.metadata), False)


async def test_a_wheel_that_comes_while_its_ranges_are_read_is_compared_too(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = False
    upstream.add("demo", RIGHT)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    answered, downloaded = asyncio.Event(), asyncio.Event()
    learn = mirror.behind.learn

    async def learn_later(data: bytes) -> Blob:
        if data == WRONG.metadata:
            answered.set()
            await downloaded.wait()
        return await learn(data)

    monkeypatch.setattr(mirror.behind, "learn", learn_later)
    upstream.script("file", end_of(WRONG), times=1)
    reading = asyncio.ensure_future(mirror.sidecar(RIGHT.filename))
    await answered.wait()
    assert await mirror.download(RIGHT.filename) == RIGHT.data
    downloaded.set()
    assert await reading == RIGHT.metadata
    assert (await mirror.file(RIGHT.filename)).metadata_sha256 == sha256_of(RIGHT.metadata)


async def test_a_wheel_that_another_index_has_fetched_corrects_metadata_from_ranges(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await with_metadata_from_ranges(upstream, make_mirror)
    other = await make_mirror(upstream.url, of=mirror, config={"name": IndexName("root/other")})
    await other.refresh()
    assert await other.download(RIGHT.filename) == RIGHT.data
    await mirror.settle()
    assert await mirror.sidecar(RIGHT.filename) == RIGHT.metadata
    assert (await mirror.file(RIGHT.filename)).metadata_sha256 == sha256_of(RIGHT.metadata)


@pytest.mark.parametrize("policy", ["on-demand", "streamed"])
@pytest.mark.parametrize("announced", [True, {"sha256": "0" * 64}], ids=["without a digest", "with a digest"])
async def test_a_wheel_that_arrives_corrects_a_page_that_announces_what_it_does_not_have(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, announced: bool | dict[str, str], policy: str
) -> None:
    """The next client reads the page before it asks for the sidecar, and takes an announced one that is missing for an error."""
    upstream.has_sidecars = False
    upstream.add("demo", BARE, core_metadata=announced)
    mirror = await make_mirror(upstream.url, config={"mirror_file_policies": [f"* {policy}"]})
    await mirror.refresh()
    assert await mirror.arrive(BARE.filename) == BARE.data
    told = await mirror.file(BARE.filename)
    assert (told.metadata_sha256, told.metadata_offered) == (None, False)
    assert upstream.count("sidecar") == 1  # it may have what it announces


async def test_a_wheel_that_arrives_corrects_a_page_with_a_wrong_digest(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.has_sidecars = False
    upstream.add("demo", RIGHT, core_metadata={"sha256": "0" * 64})
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.arrive(RIGHT.filename) == RIGHT.data
    assert (await mirror.file(RIGHT.filename)).metadata_sha256 == sha256_of(RIGHT.metadata)
    assert sha256_of(RIGHT.metadata) in mirror.blobs.blobs


@pytest.mark.parametrize("wheel", [RIGHT, BARE], ids=["other metadata", "no metadata"])
@pytest.mark.parametrize("digest", [True, False], ids=["with a digest", "without one"])
async def test_an_announced_sidecar_that_the_upstream_has_stays(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, wheel: BuiltFile, digest: bool
) -> None:
    """The sidecar of the upstream wins over the metadata in the wheel, so clients get the same before and after the wheel is stored."""
    upstream.add("demo", wheel, core_metadata={"sha256": sha256_of(WRONG.metadata)} if digest else True)
    upstream.script("sidecar", behaviours.says("text/plain", WRONG.metadata))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert await mirror.arrive(wheel.filename) == wheel.data
    file = await mirror.file(wheel.filename)
    assert file.metadata_offered or file.metadata_sha256 == sha256_of(WRONG.metadata)
    if digest or wheel is BARE:
        assert await mirror.sidecar(wheel.filename) == WRONG.metadata


async def test_a_wheel_with_the_announced_metadata_causes_no_question(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", RIGHT)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    head = await mirror.store.head()
    assert await mirror.arrive(RIGHT.filename) == RIGHT.data
    assert (upstream.count("sidecar"), await mirror.store.head()) == (0, head)


async def test_a_wheel_without_metadata_is_missing_its_sidecar(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = False
    other = build_wheel("other", "1.0")
    upstream.add("demo", BuiltFile(filename=WHEEL.filename, data=other.data, metadata=b"", sha256=other.sha256))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    with pytest.raises(Missing):
        await mirror.sidecar(WHEEL.filename)


@pytest.mark.parametrize("announced", [True, {"sha256": "0" * 64}], ids=["without a digest", "with a digest"])
async def test_a_sidecar_that_is_announced_and_not_there_is_announced_no_more(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, announced: bool | dict[str, str]
) -> None:
    """Installers take an announced sidecar that is missing for an error, and do not look into the wheel."""
    other = build_wheel("other", "1.0")
    bare = BuiltFile(filename=WHEEL.filename, data=other.data, metadata=b"", sha256=other.sha256)
    upstream.add("demo", bare, core_metadata=announced)
    upstream.script("sidecar", behaviours.status(404))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    with pytest.raises(Missing):
        await mirror.sidecar(WHEEL.filename)
    told = await mirror.file(WHEEL.filename)
    assert (told.metadata_sha256, told.metadata_offered) == (None, False)
    # It stays so while the upstream announces the same, whatever else changes.
    upstream.add("demo", OTHER)
    mirror.clock.advance(10_000)
    assert (await mirror.refresh()).state == "fresh"
    assert len(await mirror.files()) == 2
    assert await mirror.file(WHEEL.filename) == told
    # A digest that it announces later is believed again.
    upstream.projects["demo"].clear()
    upstream.add("demo", bare, core_metadata={"sha256": "1" * 64})
    mirror.clock.advance(10_000)
    await mirror.refresh()
    assert (await mirror.file(WHEEL.filename)).metadata_sha256 == "1" * 64


async def test_a_sidecar_that_cannot_be_asked_for_stays_announced(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    other = build_wheel("other", "1.0")
    bare = BuiltFile(filename=WHEEL.filename, data=other.data, metadata=b"", sha256=other.sha256)
    upstream.add("demo", bare, core_metadata=True)
    upstream.script("sidecar", behaviours.status(503))
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    with pytest.raises((Unavailable, BadUpstream)):
        await mirror.sidecar(WHEEL.filename)
    assert (await mirror.file(WHEEL.filename)).metadata_offered


@pytest.mark.parametrize("point", ["sidecar.read", "sidecar.learned", "behind.blob_learned"])
async def test_a_sidecar_that_fails_at_any_step_can_be_had_later(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, point: str
) -> None:
    upstream.announces_sidecars = False
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    failpoints.arm(f"{point}=raise:ENOSPC")
    try:
        with pytest.raises(Unavailable):
            await mirror.sidecar(WHEEL.filename)
        assert failpoints.hits[point] == 1
    finally:
        failpoints.disarm()
    assert (await mirror.file(WHEEL.filename)).metadata_sha256 is None
    assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata


@pytest.mark.parametrize("announced", [True, False])
async def test_a_sidecar_that_was_waited_for_in_vain_counts_against_its_host(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, announced: bool
) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = announced
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, file_wait=0.2, read_timeout=20.0)
    await mirror.refresh()
    upstream.script("sidecar" if announced else "file", behaviours.silent())
    with pytest.raises(Unavailable, match="not arrived yet"):
        await mirror.sidecar(WHEEL.filename)
    assert mirror.readthrough._client.hosts.patience(upstream.url, 10.0, least=1.0) == pytest.approx(9.8)


async def test_a_slow_sidecar_is_not_waited_for_for_ever(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, file_wait=0.02)
    await mirror.refresh()
    upstream.script("sidecar", behaviours.dripping_body(0.001, size=10))
    with pytest.raises(Unavailable, match="not arrived yet"):
        await mirror.sidecar(WHEEL.filename)


class InMemory:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    async def read(self, start: int, stop: int) -> bytes | Failed:
        assert 0 <= start <= stop <= self.size
        return self.data[start:stop]


def archive(members: dict[str, bytes], *, comment: bytes = b"", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, data in members.items():
            target.writestr(name, data)
        target.comment = comment
    return out.getvalue()


META = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


@pytest.mark.parametrize(
    ("members", "comment"),
    [
        ({"demo-1.0.dist-info/METADATA": META}, b""),
        ({"demo-1.0.dist-info/METADATA": META, "x": bytes(300_000)}, b"c" * 65_535),
        ({"demo-1.0.dist-info/METADATA": META}, b"PK\x05\x06 in a comment"),
        ({"Demo-1.0_abc.dist-info/METADATA": META}, b""),
        ({"demo-1.0.dist-info/METADATA": META, "other-1.0.dist-info/METADATA": b"no"}, b""),
        ({"demo-1.0.dist-info/METADATA": META, "demo/vendor/demo-1.0.dist-info/METADATA": b"no"}, b""),
    ],
    ids=["alone", "long comment", "misleading comment", "other spelling", "beside another", "vendored copy"],
)
async def test_metadata_is_found(members: dict[str, bytes], comment: bytes) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        assert await metadata_in(InMemory(archive(members, comment=comment, method=method)), DEMO) == META


async def test_metadata_of_a_name_with_dashes_is_found() -> None:
    data = archive({"a-b.c-1.0.dist-info/METADATA": META})
    assert await metadata_in(InMemory(data), ProjectName("a-b-c")) == META


async def test_metadata_in_a_zip64_archive_is_found() -> None:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as target,
        target.open("demo-1.0.dist-info/METADATA", "w", force_zip64=True) as member,
    ):
        member.write(META)
    plain = out.getvalue()
    # Rewrite the end as ZIP64, as writers of very large archives do.
    place = plain.rfind(b"PK\x05\x06")
    entries, length, start = struct.unpack_from("<8xHH", plain, place)[1], *struct.unpack_from("<LL", plain, place + 12)
    large = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, length, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0)
    assert await metadata_in(InMemory(plain[:place] + large + locator + end), DEMO) == META


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"no archive at all" * 10,
        archive({"x": b""}),
        archive({"other-1.0.dist-info/METADATA": META}),
        archive({"demo-1.0.dist-info/METADATA": META, "Demo-2.0.dist-info/METADATA": META}),
        archive({"demo-1.0.dist-info/METADATA": META}, method=zipfile.ZIP_BZIP2),
        archive({"demo-1.0.dist-info/METADATA": META})[:-30],
        build_sdist("demo", "1.0").data,
    ],
    ids=["empty", "short", "text", "no metadata", "another's", "two", "bzip2", "cut off", "no zip"],
)
async def test_odd_archives_are_called_odd(data: bytes) -> None:
    assert isinstance(await metadata_in(InMemory(data), DEMO), Odd)


@given(st.data())
def test_no_bytes_make_the_reader_fail_otherwise(data: st.DataObject) -> None:
    """A wheel with a few bytes changed: the right METADATA, or odd; never an exception, never other bytes."""
    changed = bytearray(WHEEL.data)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    for attempt in (bytes(changed), bytes(changed[:cut])):
        found = asyncio.run(metadata_in(InMemory(attempt), DEMO))
        assert found == WHEEL.metadata or isinstance(found, Odd)


@pytest.mark.parametrize(
    ("data", "belongs"),
    [
        (META, True),
        (META.replace(b"demo", b"Demo"), True),
        (META.replace(b"demo", b"other"), False),
        (b"Name: demo\n", False),
        (b"<html>", False),
        (b"", False),
    ],
)
def test_what_describes_a_project(data: bytes, belongs: bool) -> None:
    assert describes(data, DEMO) is belongs
