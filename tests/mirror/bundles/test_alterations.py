"""No altered byte passes, wherever it is: each part is checked alone, and nothing is changed before all is checked."""

from __future__ import annotations

import hashlib
import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgindex_mirror.bundles.apply_bundle import (
    PREFIX,
    BundleRefused,
    _unpacked,
    gaps,
    path_problem,
    payload_problem,
    read_key,
    read_part,
    verify,
    written_short,
)
from tests.mirror.bundles.far_sides import FarSide, NearSide, forged, put
from tests.mirror.snapshots.mirrors import change


@pytest.fixture
def near(tmp_path: Path) -> NearSide:
    return NearSide(tmp_path)


@pytest.fixture
def begun(near: NearSide) -> tuple[FarSide, list[Path]]:
    """A far side with a bundle, and the parts of the second."""
    near.create()
    far = near.far()
    far.apply(near.out)
    change(near.mirror)
    return far, near.create("--part-size", "40KiB")


def flip(place: Path, at: int) -> None:
    data = bytearray(place.read_bytes())
    data[at] ^= 1
    place.write_bytes(data)


REGIONS: dict[str, tuple[int, str]] = {
    "the magic": (0, "is no part of a bundle"),
    "the length of the header": (11, "is not signed|is no part|damaged"),
    "the header": (40, "is not signed with the given key"),
    "the end of the header": (-2, "is not signed with the given key"),
    "the signature": (10, "is not signed with the given key"),
    "the padding": (PREFIX - 1, "are damaged"),
    "the manifest": (PREFIX + 20, "the content of part 1 of bundle 2 of mirror pypi is altered"),
    "a file": (PREFIX + 20_000, "the content of part 1 of bundle 2 of mirror pypi is altered"),
    "the last byte": (-1, "the content of part 1 of bundle 2 of mirror pypi is altered"),
}


@pytest.mark.parametrize("region", REGIONS)
def test_an_altered_byte_is_noticed_and_changes_nothing(
    begun: tuple[FarSide, list[Path]], near: NearSide, region: str
) -> None:
    far, parts = begun
    before = far.contents, far.state
    at, message = REGIONS[region]
    data = parts[0].read_bytes()
    header_end = 12 + int.from_bytes(data[8:12], "big")
    if region == "the end of the header":
        at += header_end
    if region == "the signature":
        at += header_end
    flip(parts[0], at % len(data))
    report = far.apply(*parts)
    assert report.applied == []
    assert any(re.search(message, line) for line in report.refused), report.refused
    assert (far.contents, far.state) == before
    checked = verify(parts, [read_key(near.public)], tempfile.TemporaryFile)
    assert checked.good == []
    assert checked.problems
    flip(parts[0], at % len(data))
    assert far.apply(*parts).refused == []
    assert far.contents == near.states[2]


@pytest.mark.parametrize("size", [0, 5, PREFIX - 1, PREFIX, PREFIX + 1, -1])
def test_a_truncated_part_is_noticed(begun: tuple[FarSide, list[Path]], size: int) -> None:
    far, parts = begun
    before = far.contents
    parts[1].write_bytes(parts[1].read_bytes()[:size])
    report = far.apply(*parts)
    assert report.applied == []
    assert any("truncated" in line or "is no part of a bundle" in line for line in report.refused)
    assert "bundle 2 of mirror pypi lacks part 2 of 2" in report.refused
    assert far.contents == before


def test_a_part_that_is_too_long_is_noticed(begun: tuple[FarSide, list[Path]]) -> None:
    far, parts = begun
    parts[1].write_bytes(parts[1].read_bytes() + b"x")
    assert "part 2 of bundle 2 of mirror pypi is too long" in far.apply(*parts).refused[0]


def test_a_bundle_that_somebody_else_signed_is_refused(begun: tuple[FarSide, list[Path]], tmp_path: Path) -> None:
    far, _ = begun
    (tmp_path / "stranger").mkdir()
    stranger = NearSide(tmp_path / "stranger")
    report = far.apply(*stranger.create())
    assert (report.applied, len(report.refused)) == ([], 1)
    assert "is not signed with the given key" in report.refused[0]


def test_parts_are_known_by_what_they_say(begun: tuple[FarSide, list[Path]], near: NearSide, tmp_path: Path) -> None:
    """Names of files do not count, and the order does not."""
    far, parts = begun
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, part in enumerate(reversed(parts)):
        part.rename(inbox / f"file-{number}.bundle")
    assert far.apply(inbox).refused == []
    assert far.contents == near.states[2]


def test_parts_of_two_bundles_do_not_mix(near: NearSide) -> None:
    first = near.create("--part-size", "40KiB")
    again = near.create("--again", 1, "--part-size", "50KiB", snapshot=False)
    for part in (first[0], again[-1]):
        part.unlink()
    report = near.far().apply(near.out)
    assert report.applied == []
    assert len(report.refused) == 2
    assert all("lacks part" in line for line in report.refused)


def test_of_two_copies_the_whole_one_counts(begun: tuple[FarSide, list[Path]], near: NearSide) -> None:
    """As on a diode that sends all twice."""
    far, parts = begun
    for part in parts:
        (near.out / f"copy-{part.name}").write_bytes(part.read_bytes())
    flip(parts[0], -1)
    flip(near.out / f"copy-{parts[1].name}", -1)
    assert len(far.apply(near.out).applied) == 1
    assert far.contents == near.states[2]


def test_each_part_is_checked_alone(near: NearSide) -> None:
    parts = near.create("--part-size", "4096")
    key = [read_key(near.public)]
    assert len(parts) > 20
    assert {part.stat().st_size for part in parts[:-1]} == {4096}
    for part in parts:
        assert payload_problem(read_part(part, key)) == ""
    far = near.far()
    assert far.apply(near.out).refused == []
    assert far.contents == near.states[1]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


HOSTILE: dict[str, Callable[[], tuple[list[bytes], bytes]]] = {
    "a way out": lambda: ([put("../escaped", b"x")], b"x"),
    "a way out, below": lambda: ([put("web/../../escaped", b"x")], b"x"),
    "an absolute path": lambda: ([put("/tmp/escaped", b"x")], b"x"),
    "the state": lambda: ([put(".pkgindex/bundles/state.json", b"x")], b"x"),
    "a hidden file": lambda: ([put("web/.htaccess", b"x")], b"x"),
    "an empty name": lambda: ([put("web//x", b"x")], b"x"),
    "NUL": lambda: ([put("web/a\0b", b"x")], b"x"),
    "a backslash": lambda: ([put("web\\..\\x", b"x")], b"x"),
    "a long name": lambda: ([put("web/" + "x" * 256, b"x")], b"x"),
    "no path": lambda: ([put("", b"x")], b"x"),
    "a removal outside": lambda: ([b"del ../escaped\n"], b""),
    "bytes outside": lambda: ([put("web/x", b"xy")], b"x"),
    "another operation": lambda: ([b"symlink web/x /etc\n"], b""),
    "no operation": lambda: ([b"\n"], b""),
    "a negative size": lambda: ([f"put {sha(b'x')} -1 r 0 1 web/x\n".encode()], b"x"),
    "odd digits": lambda: (["put {} ١ r 0 1 web/x\n".format(sha(b"x")).encode()], b"x"),
    "another coding": lambda: ([f"put {sha(b'x')} 1 q 0 1 web/x\n".encode()], b"x"),
    "no digest": lambda: ([b"put x 1 r 0 1 web/x\n"], b"x"),
    "no text": lambda: ([b"put \xff\n"], b""),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_manifest_that_is_signed_may_still_not_leave_the_tree(near: NearSide, tmp_path: Path, case: str) -> None:
    lines, payload = HOSTILE[case]()
    far = near.far()
    report = far.apply(forged(near.key, tmp_path / "x.bundle", [put("web/good", b"x"), *lines], payload))
    assert report.applied == []
    assert "the manifest of bundle 1" in report.refused[0]
    assert far.contents == {}
    assert not (far.root / ".pkgindex/bundles/state.json").exists()
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mirror": "../x"}, "makes no sense"),
        ({"part": 2}, "makes no sense"),
        ({"after": 3}, "makes no sense"),
        ({"puts": 7}, "is not whole"),
        ({"raw": 9}, "is not the one that its parts belong to"),
        ({"manifest_sha256": "0" * 64}, "is altered or damaged"),
        ({"manifest_size": 9}, "is altered or damaged"),
        ({"manifest_size": 10**9}, "makes no sense"),
        ({"offset": 1}, "makes no sense"),
        ({"total": 10**6}, "are not the whole of it"),
        ({"parts": 2}, "lacks part 2 of 2"),
        ({"bundle": "1"}, "is of another version"),
        ({"created": 5}, "is of another version"),
    ],
)
def test_headers_and_manifests_agree(near: NearSide, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    far = near.far()
    report = far.apply(forged(near.key, tmp_path / "x.bundle", [put("web/x", b"x")], b"x", **changes))
    assert report.applied == []
    assert message in report.refused[0], report.refused
    assert far.contents == {}


@pytest.mark.parametrize("paths", [("web/b", "web/a"), ("web/a", "web/a"), ("web/a.b", "web/a/b")])
def test_a_manifest_that_is_not_sorted_is_refused(near: NearSide, tmp_path: Path, paths: tuple[str, str]) -> None:
    far = near.far()
    lines = [put(path, b"x") for path in paths]
    assert "is not sorted at" in far.apply(forged(near.key, tmp_path / "x.bundle", lines, b"x")).refused[0]
    assert far.contents == {}
    many = forged(near.key, tmp_path / "y.bundle", [*lines[:1], *[b"then\n"] * 100, *lines[1:]], b"x")
    assert "is not sorted at" in far.apply(many).refused[0]
    lines.insert(1, b"then\n")
    assert far.apply(forged(near.key, tmp_path / "z.bundle", lines, b"x")).refused == []
    assert far.contents == dict.fromkeys(paths, b"x")


def test_a_file_that_is_not_the_one_of_the_manifest_is_refused(near: NearSide, tmp_path: Path) -> None:
    far = near.far()
    place = forged(near.key, tmp_path / "x.bundle", [put("web/x", b"x")], b"y")
    assert "web/x is not the file that the manifest names" in far.apply(place).refused[0]
    assert far.contents == {}
    checked = verify([place], [read_key(near.public)], tempfile.TemporaryFile)
    assert "web/x in bundle 1 of mirror pypi is not the file" in checked.problems[0]


def test_a_page_is_not_unpacked_beyond_its_size(near: NearSide, tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(50_000_000))
    assert sum(map(len, _unpacked(iter([bomb[:1000], bomb[1000:]]), 1))) == 2, (
        "one byte more, to tell that it is too long"
    )
    line = f"put {sha(b'x')} 1 z 0 {len(bomb)} web/x\n".encode()
    place = forged(near.key, tmp_path / "x.bundle", [line], bomb, raw=0, packed=len(bomb))
    far = near.far()
    assert "web/x is not the file that the manifest names" in far.apply(place).refused[0]
    rubbish = forged(
        near.key, tmp_path / "y.bundle", [line.replace(str(len(bomb)).encode(), b"5")], b"01234", raw=0, packed=5
    )
    assert "cannot be unpacked" in near.far("other").apply(rubbish).refused[0]
    assert "cannot be unpacked" in verify([rubbish], [read_key(near.public)], tempfile.TemporaryFile).problems[0]


def test_a_symlink_on_the_way_is_not_followed(near: NearSide, tmp_path: Path) -> None:
    near.create()
    far = near.far()
    far.apply(near.out)
    outside = tmp_path / "outside"
    (far.root / "web/packages").rename(outside)
    (far.root / "web/packages").symlink_to(outside)
    before = {place: place.read_bytes() for place in outside.rglob("*") if place.is_file()}
    change(near.mirror)
    report = far.apply(*near.create())
    assert "web/packages is a symlink" in report.refused[0]
    assert {place: place.read_bytes() for place in outside.rglob("*") if place.is_file()} == before


def test_a_symlink_in_the_place_of_a_file_is_replaced(near: NearSide, tmp_path: Path) -> None:
    near.create()
    far = near.far()
    far.apply(near.out)
    (tmp_path / "precious").write_text("x")
    page = far.root / "web/simple/demo/index.html"
    page.unlink()
    page.symlink_to(tmp_path / "precious")
    change(near.mirror)
    far.apply(*near.create())
    assert (tmp_path / "precious").read_text() == "x"
    assert far.contents == near.states[2]


def test_what_is_no_part_is_told(near: NearSide, tmp_path: Path) -> None:
    near.create()
    (near.out / "readme.bundle").write_text("hello")
    (near.out / "pipe.bundle").mkdir()
    (near.out / "notes.txt").write_text("hello")
    report = near.far().apply(near.out, tmp_path / "nowhere")
    assert len(report.applied) == 1
    assert [line.partition(" ")[0] for line in report.refused] == ["readme.bundle", str(tmp_path / "nowhere")]


@pytest.mark.parametrize("path", ["web/simple/demo/index.html", "a", "a b/ü+1!~.whl", "x" * 255])
def test_paths_of_trees_are_taken(path: str) -> None:
    assert path_problem(path) == ""


def test_numbers_are_written_short() -> None:
    assert written_short(gaps(1, 10, [4, 6, 5, 8, 99])) == "1-3, 7, 9-10"
    assert gaps(3, 2, []) == []


def test_a_private_key_is_no_key_of_the_far_side(near: NearSide) -> None:
    with pytest.raises(BundleRefused):
        read_key(near.key)
