"""What is read in one pass is what the lenient reader reads, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pkgindex_core.digests import sha256_of
from pkgindex_core.formats import kept_pages
from pkgindex_core.formats.kept_pages import MOST_FILES, keep
from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents.differences import versions_without_files
from pkgindex_mirror.documents.pages import PageListing, read_page
from pkgindex_mirror.documents.plain_pages import KEPT_BYTES, ReadPage, read_leniently, read_plain

DEMO = ProjectName("demo-more")
JSON = "application/vnd.pypi.simple.v1+json"
URL = "https://index.example.org/simple/demo-more/"
A, B = sha256_of(b"a"), sha256_of(b"b")


def usual(filename: str, **says: Any) -> dict[str, Any]:
    """An entry as PyPI writes it."""
    metadata = {"sha256": B} if filename.endswith(".whl") else False
    entry: dict[str, Any] = {
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "filename": filename,
        "hashes": {"sha256": A},
        "provenance": None,
        "requires-python": ">=3.8",
        "size": 12345,
        "upload-time": "2024-02-29T10:11:12.345678Z",
        "url": f"https://files.example.org/packages/aa/bb/cc/{filename}",
        "yanked": False,
    }
    return entry | {name.replace("_", "-"): value for name, value in says.items()}


def page(*entries: Any, **says: Any) -> bytes:
    document = {"meta": {"api-version": "1.4"}, "name": "Demo.More", "files": list(entries), "versions": []} | says
    return json.dumps(document).encode()


def leniently(body: bytes) -> PageListing:
    listing = read_page(body, JSON, URL, DEMO)
    assert isinstance(listing, PageListing)
    return listing


def same(body: bytes) -> bool:
    """Whether a page is plain; what is plain must be read alike."""
    plain = read_plain(body, JSON, URL, DEMO)
    if plain is None:
        return False
    listing, rows = plain.listing, plain.rows
    assert rows is not None
    expected = leniently(body)
    assert rows.kept == keep(DEMO, expected.files).kept
    spelled = {file.version for file in expected.files}
    assert listing.versions == versions_without_files(expected.versions, spelled)
    for field in ("display_name", "status", "status_reason", "notes"):
        assert getattr(listing, field) == getattr(expected, field)
    return True


FILENAMES = st.sampled_from(
    [
        *("demo_more-1.0-py3-none-any.whl", "demo_more-1.0.tar.gz", "Demo.More-2.0-1-cp311-abi3-linux_x86_64.whl"),
        *("demo-more-1.0.tar.gz", "demo-more-1.0.zip", "demo_more-1.0.0.tar.gz", "demo_more-2.0rc1.post2.dev3.tar.gz"),
        *(
            "demo_more-1.0.win32.tar.gz",
            "demo_more-1.0.linux-x86_64.tar.gz",
            "demo_more-1.0.win-amd64.exe",
            "other.egg",
        ),
        *("demo_more--py3-none-any.whl", "demo_more-1-2-3-4-5-6.whl", "demo_more-1.whl", "demo_more-2004d.tar.gz"),
        *(
            "demo_more-1.0+local.1.tar.gz",
            "demo_more-1!2.0.tar.gz",
            "demo_more-1.0.TAR.GZ",
            "demo_more-1.0-py3-none-any.WHL",
        ),
        *(
            "",
            ".demo",
            "demo more-1.0.tar.gz",
            "démo-1.0.tar.gz",
            "a/b.tar.gz",
            "demo_more-1.0~1.tar.gz",
            "x" * 256,
            "-",
        ),
        *(
            "other-1.0-py3-none-any.whl",
            "demo_more",
            "demo_more-.tar.gz",
            "demo_more-٣.tar.gz",
            "demo_more-1.0.tar.gz\n",
        ),
    ]
)
_DIGESTS = st.sampled_from([{"sha256": A}, {"sha256": B}, {"sha256": A.upper()}, {"sha256": A, "md5": "0" * 32}])
_TIMES = st.sampled_from(
    [
        *(
            "2024-02-29T10:11:12.345678Z",
            "2023-02-29T10:11:12.345678Z",
            "2024-01-02T03:04:05Z",
            "2024-01-02T03:04:05.000000Z",
        ),
        *(
            "2024-01-02T03:04:05.5Z",
            "2024-01-02T03:04:05+00:00",
            "2024-01-02T03:04:05.123456789Z",
            "2024-01-02",
            "soon",
            "",
        ),
        *(
            "9999-12-31T00:00:00Z",
            "0999-01-01T00:00:00Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T23:59:60Z",
            "٢٠٢٤-01-02T03:04:05Z",
        ),
    ]
)
_URLS = st.sampled_from(
    [
        *(
            "https://files.example.org/packages/a.whl",
            "../../packages/a.whl",
            "a.whl",
            "https://u:p@files.example.org/a.whl",
        ),
        *(
            "https://files.example.org/a.whl#sha256=1",
            "ftp://example.org/a",
            "https://FILES.example.org:443/ä b.whl",
            "",
            "\t",
        ),
        "https://files.example.org/" + "a" * 5000,
    ]
)
_TEXTS = st.sampled_from(["", ">=3.8", " >=3.8 ", "a\nb", "ü", "x" * 5000, "\ud800", '{"url":"'])
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 3, 1.0, 2.5, -1, 2**63, 2**70, [], {}, "false", {"a": 1}]
)
_SIDECARS = st.sampled_from([{"sha256": B}, {"sha256": "short"}, {"sha256": B, "md5": "0"}, {}])
ENTRIES = st.one_of(
    st.builds(usual, FILENAMES),
    st.fixed_dictionaries(
        {},
        optional={
            "core_metadata": _ODD | _SIDECARS,
            "data_dist_info_metadata": _ODD | _SIDECARS,
            "hashes": _ODD | _DIGESTS,
            "provenance": _ODD | st.sampled_from(["https://example.org/p", "http://example.org/p", "no URL"]),
            "requires_python": _ODD | _TEXTS,
            "size": _ODD | st.sampled_from([0, 2**63 - 1]),
            "upload_time": _ODD | _TIMES,
            "url": _ODD | _URLS,
            "yanked": _ODD | _TEXTS,
            "gpg_sig": _ODD,
        },
    ).flatmap(lambda says: FILENAMES.map(lambda filename: usual(filename, **says))),
    # What is plain except for one thing is what tells the two readers apart.
    st.builds(lambda name, time: usual(name, upload_time=time), FILENAMES, _TIMES),
    st.builds(lambda name, url: usual(name, url=url), FILENAMES, _URLS),
    st.builds(lambda name, said: usual(name, yanked=said), FILENAMES, _TEXTS),
    st.builds(lambda name, said: usual(name, requires_python=said), FILENAMES, _TEXTS),
    st.builds(lambda name: {key: value for key, value in usual(name).items() if key != "core-metadata"}, FILENAMES),
)
_HEADS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["demo-more", "Demo_More", "other", None, 3]),
        "versions": st.sampled_from([["1.0", "3.0", "1.0.0"], ["2.0.0", "x" * 300, 3], None, "1.0"]),
        "meta": st.sampled_from([{"api-version": "1.9"}, {"api-version": "2.0"}, {"api-version": 1}, None]),
        "project_status": st.sampled_from([{"status": "archived", "reason": "old"}, {"status": "odd"}, "archived"]),
    },
).map(lambda says: {name.replace("_", "-"): value for name, value in says.items()})


@given(st.lists(ENTRIES, max_size=4), _HEADS)
@example([usual("demo_more-1.0.tar.gz"), usual("demo_more-1.0.tar.gz")], {})
def test_both_readers_read_the_same(entries: list[dict[str, Any]], head: dict[str, Any]) -> None:
    body = page(*entries, **head)
    if not isinstance(read_page(body, JSON, URL, DEMO), PageListing):
        assert read_plain(body, JSON, URL, DEMO) is None
        return
    same(body)


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
def test_a_page_as_pypi_writes_it_is_plain(prefix: bytes) -> None:
    names = ["demo_more-1.0-py3-none-any.whl", "demo_more-1.0.tar.gz", "demo_more-0.9-cp311-cp311-win_amd64.whl"]
    other = usual(
        "demo_more-0.8.tar.gz", yanked="broken", requires_python=None, upload_time="2024-01-02T03:04:05.000000Z"
    )
    signed = usual("demo-more-0.7.zip", provenance="https://example.org/integrity", gpg_sig=True, size=None)
    body = page(*map(usual, names), other, signed, versions=["1.0", "0.9", "0.8", "0.7", "0.1"], name="demo-more")
    assert same(prefix + body)


@pytest.mark.parametrize(
    "says",
    [
        {"hashes": {"sha256": A.upper()}},
        {"hashes": {"sha256": A, "md5": "0" * 32}},
        {"hashes": {"sha256": "g" * 64}},
        {"core_metadata": {"sha256": B.upper()}},
        {"upload_time": "2024-01-02T03:04:05+01:00"},
        {"upload_time": "2023-02-29T03:04:05Z"},
        {"upload_time": "9999-12-31T00:00:00Z"},
        {"url": "ftp://example.org/a"},
        {"size": -1},
        {"filename": "demo more-1.0.tar.gz"},
        {"filename": ".demo"},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_the_lenient_reader(says: dict[str, Any]) -> None:
    entry = usual("demo_more-1.0.tar.gz") | {name.replace("_", "-"): value for name, value in says.items()}
    assert read_plain(page(entry), JSON, URL, DEMO) is None


def test_a_page_without_sidecars_and_fractions_is_plain() -> None:
    """As other indexes than PyPI write it."""
    entries = [
        usual(name, upload_time="2024-01-02T03:04:05Z")
        for name in ("demo_more-1.0-py3-none-any.whl", "demo_more-1.0.tar.gz")
    ]
    for entry in entries:
        del entry["core-metadata"], entry["data-dist-info-metadata"]
    assert same(page(*entries))


def test_a_sidecar_under_its_older_name_is_left_to_the_lenient_reader() -> None:
    entry = usual("demo_more-1.0-py3-none-any.whl")
    del entry["core-metadata"]
    assert read_plain(page(entry), JSON, URL, DEMO) is None
    assert leniently(page(entry)).files


def test_an_ordinary_page_comes_in_one_piece_although_it_is_not_plain() -> None:
    for body in (page(usual("demo_more-1.0.tar.gz")), page(usual("demo_more-1.0.tar.gz", hashes={}))):
        found = read_leniently(body, JSON, URL, DEMO)
        assert isinstance(found, ReadPage)
        assert found.rows is not None
        assert found.rows.kept == keep(DEMO, leniently(body).files).kept


def test_a_page_whose_own_json_is_long_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    body = page(usual("demo_more-1.0.tar.gz"))
    listed = read_plain(body, JSON, URL, DEMO)
    assert listed is not None
    assert listed.rows is not None
    monkeypatch.setattr(kept_pages, "MOST_BYTES", listed.rows.json_size - 1)
    assert read_plain(body, JSON, URL, DEMO) is None
    found = read_leniently(body, JSON, URL, DEMO)
    assert isinstance(found, ReadPage)
    assert found.rows is None


@pytest.mark.parametrize(
    "entries",
    [
        [{"filename": f"demo_more-{number}.tar.gz", "url": "a", "hashes": {}} for number in range(MOST_FILES + 1)],
        [usual(f"demo_more-{number}.tar.gz", requires_python=" " * (KEPT_BYTES // 8)) for number in range(8)],
    ],
    ids=["files", "bytes"],
)
def test_a_long_page_does_not(entries: list[dict[str, Any]]) -> None:
    assert read_plain(page(*entries), JSON, URL, DEMO) is None
    found = read_leniently(page(*entries), JSON, URL, DEMO)
    assert isinstance(found, ReadPage)
    assert found.rows is None
