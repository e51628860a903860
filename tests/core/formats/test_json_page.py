"""The JSON simple API, row by row of the conformance table (JS), and parse(render(page)) = page."""

import json
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import File, PageHead, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import MergedPage, PageEntry, ProjectList

DEMO = ProjectName("demo")
HERE, THERE = "../../", "../../../../root/pypi/"

hexadecimal = st.binary(min_size=32, max_size=32).map(bytes.hex)
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
files = st.builds(
    File,
    filename=text,
    version=st.sampled_from(["", "1.0", "2.0rc1"]),
    digests=st.one_of(
        hexadecimal.map(lambda value: {"sha256": value}),
        st.just({}),
        st.just({"md5": "0" * 32}),
        hexadecimal.map(lambda value: {"sha256": value, "md5": "0" * 32}),
    ),
    size=st.none() | st.integers(0, 2**40),
    upload_time=st.none() | st.integers(0, 4 * 10**15).map(Timestamp),
    requires_python=st.just("") | text,
    yanked=st.booleans() | text,
    metadata_sha256=st.none() | hexadecimal.map(Sha256),
    metadata_offered=st.booleans(),
    provenance=st.sampled_from(["", "https://example.test/provenance?a=1&b=2"]),
    gpg_sig=st.none() | st.booleans(),
    url=st.sampled_from(["", "https://files.example.test/demo.zip"]),
)
heads = st.builds(
    PageHead,
    display_name=st.just("") | text,
    status=st.sampled_from(["", "active", "archived", "deprecated"]),
    status_reason=st.just("") | text,
)
entries = st.lists(
    st.builds(
        lambda prefix, file: PageEntry(prefix, IndexName("team/dev"), page_row(file)),
        st.sampled_from([HERE, THERE]),
        files,
    ),
    max_size=4,
)
pages = st.builds(
    MergedPage,
    project=st.just(DEMO),
    head=heads,
    versions=st.lists(st.sampled_from(["1.0", "2.0rc1", "3"]), unique=True).map(tuple),
    entries=entries,
    serial=st.integers(0, 2**53).map(Serial),
)


def page(*listed: tuple[str, File], **head: str) -> MergedPage:
    return MergedPage(
        project=DEMO,
        head=PageHead(**head),  # type: ignore[arg-type]  # only text fields are given here
        versions=("1.0",),
        entries=[PageEntry(prefix, IndexName("team/dev"), page_row(file)) for prefix, file in listed],
        serial=Serial(7),
    )


def rendered(merged: MergedPage) -> Any:
    return json.loads(JsonRenderer().page(merged))


FILE = File(filename="demo-1.0.zip", version="1.0", digests={"sha256": sha256_of(b"demo")}, size=4)


@given(merged=pages)
def test_parsing_gives_back_what_was_rendered(merged: MergedPage) -> None:
    document = rendered(merged)
    assert document["meta"] == {"api-version": "1.4", "_last-serial": merged.serial}
    assert document["name"] == merged.project
    assert document["versions"] == list(merged.versions)
    assert len(document["files"]) == len(merged.entries)
    for shown, entry in zip(document["files"], merged.entries, strict=True):
        file = msgspec.msgpack.decode(entry.row.body, type=File)
        assert shown["filename"] == file.filename
        assert shown["url"].startswith(entry.prefix + "+")
        assert unquote(shown["url"].rpartition("/")[2]) == file.filename
        assert shown["hashes"] == ({"sha256": file.sha256} if file.sha256 else dict(file.digests))
        assert shown.get("size") == file.size
        uploaded = shown.get("upload-time")
        assert (uploaded and from_rfc3339(uploaded)) == (file.upload_time if uploaded else None)
        assert (uploaded is None) == (file.upload_time is None)
        assert shown.get("requires-python", "") == file.requires_python
        assert shown.get("yanked", False) == file.yanked
        assert shown.get("provenance", "") == file.provenance
        assert shown.get("gpg-sig") == file.gpg_sig
        metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else file.metadata_offered
        assert shown.get("core-metadata", False) == metadata
        assert "dist-info-metadata" not in shown
    status = document.get("project-status", {})
    assert status.get("status", "") == merged.head.status
    assert status.get("reason", "") == (merged.head.status_reason if merged.head.status else "")


@given(merged=pages)
def test_js_15_nothing_is_ever_null(merged: MergedPage) -> None:
    def values(node: Any) -> list[Any]:
        if isinstance(node, dict):
            return [leaf for child in node.values() for leaf in values(child)]
        return [leaf for child in node for leaf in values(child)] if isinstance(node, list) else [node]

    assert None not in values(rendered(merged))


def test_js_16_pages_are_compact_utf8() -> None:
    raw = JsonRenderer().page(page((HERE, FILE), (THERE, FILE), status="archived", status_reason="käse 🧀"))
    assert raw.decode() == json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":"))


@given(merged=pages)
def test_no_key_is_written_twice(merged: MergedPage) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    json.loads(JsonRenderer().page(merged), object_pairs_hook=unique)


def test_cn_17_the_content_type_is_exact() -> None:
    assert JsonRenderer().media_type == "application/vnd.pypi.simple.v1+json"


def test_js_01_the_version_is_text_and_private_keys_begin_with_an_underscore() -> None:
    assert rendered(page())["meta"] == {"api-version": "1.4", "_last-serial": 7}


def row(name: str, display: str, serial: int) -> ProjectRow:
    return ProjectRow(ProjectName(name), display, Serial(serial))


def test_js_02_a_list_names_projects_with_the_serials_that_mirrors_go_by() -> None:
    renderer = JsonRenderer()
    raw = (
        renderer.list_start(Serial(9))
        + renderer.list_part(ProjectList(names=[row("a-b", "A.B", 9), row("c", "", 2)]), first=True)
        + renderer.list_part(ProjectList(names=[row("demo", "demo", 3)]), first=False)
        + renderer.list_part(ProjectList(names=[]), first=False)
        + renderer.list_end(Serial(9))
    )
    assert json.loads(raw) == {
        "meta": {"api-version": "1.4", "_last-serial": 9},
        "projects": [
            {"name": "A.B", "_last-serial": 9},
            {"name": "c", "_last-serial": 2},
            {"name": "demo", "_last-serial": 3},
        ],
    }


@pytest.mark.parametrize("parts", [[], [0], [0, 0], [0, 2, 0, 1], [3]])
def test_a_list_is_whole_however_it_is_cut(parts: list[int]) -> None:
    renderer, raw, first = JsonRenderer(), [], True
    names: list[str] = []
    for size in parts:
        part = [row(f"p{len(names) + number}", "", 0) for number in range(size)]
        names += [each.name for each in part]
        raw.append(renderer.list_part(ProjectList(names=part), first=first))
        first = first and not part
    document = json.loads(renderer.list_start(Serial(1)) + b"".join(raw) + renderer.list_end(Serial(1)))
    assert [project["name"] for project in document["projects"]] == names


def test_js_03_the_keys_of_a_page() -> None:
    assert list(rendered(page((HERE, FILE)))) == ["meta", "name", "versions", "files"]
    assert list(rendered(page(status="archived"))) == ["meta", "name", "project-status", "versions", "files"]


def test_js_05_a_file_has_its_mandatory_keys() -> None:
    (shown,) = rendered(page((HERE, FILE)))["files"]
    digest = FILE.sha256
    assert digest is not None
    assert shown == {
        "url": f"../../+f/{digest[:3]}/{digest[3:16]}/demo-1.0.zip",
        "filename": "demo-1.0.zip",
        "hashes": {"sha256": digest},
        "size": 4,
    }


def test_js_05_hashes_are_there_even_when_nobody_knows_one() -> None:
    (shown,) = rendered(page((HERE, File(filename="demo-1.0.zip", url="https://example.test/demo-1.0.zip"))))["files"]
    assert shown["hashes"] == {}


def test_js_06_one_strong_hash_is_shown() -> None:
    both = File(filename="a.zip", digests={"sha256": "a" * 64, "md5": "b" * 32})
    assert rendered(page((HERE, both)))["files"][0]["hashes"] == {"sha256": "a" * 64}


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({"md5": "0" * 32}, {"md5": "0" * 32}),
        ({"sha1": "1" * 40, "md5": "0" * 32}, {"sha1": "1" * 40, "md5": "0" * 32}),
        ({"blake2b": "2" * 128}, {}),
        ({"blake2b_256": "2" * 64, "sha512": "3" * 128}, {"sha512": "3" * 128}),
    ],
)
def test_js_06_no_installer_refuses_the_page_for_a_digest(known: dict[str, str], shown: dict[str, str]) -> None:
    file = File(filename="a.zip", digests=known, url="https://example.test/a.zip")
    assert rendered(page((HERE, file)))["files"][0]["hashes"] == shown


def test_js_07_requires_python_is_omitted_when_there_is_none() -> None:
    shown = rendered(page((HERE, FILE), (HERE, msgspec.structs.replace(FILE, requires_python=">=3.8,<4"))))["files"]
    assert "requires-python" not in shown[0]
    assert shown[1]["requires-python"] == ">=3.8,<4"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (FILE, None),
        (msgspec.structs.replace(FILE, metadata_offered=True), True),
        (msgspec.structs.replace(FILE, metadata_sha256=Sha256("c" * 64)), {"sha256": "c" * 64}),
    ],
)
def test_js_08_js_09_metadata_under_both_names(file: File, expected: object) -> None:
    (shown,) = rendered(page((HERE, file)))["files"]
    assert shown.get("core-metadata") == expected
    assert "dist-info-metadata" not in shown  # pip 22.3 to 23.0 crash on it
    assert "data-dist-info-metadata" not in shown


def test_js_10_gpg_sig_is_a_boolean() -> None:
    assert rendered(page((HERE, msgspec.structs.replace(FILE, gpg_sig=False))))["files"][0]["gpg-sig"] is False


@pytest.mark.parametrize("yanked", [True, "broken", "false"])
def test_js_11_fi_09_yanked_is_true_or_a_reason(yanked: bool | str) -> None:
    assert rendered(page((HERE, msgspec.structs.replace(FILE, yanked=yanked))))["files"][0]["yanked"] == yanked


def test_js_11_what_is_not_yanked_does_not_say_so_with_an_empty_text() -> None:
    assert "yanked" not in rendered(page((HERE, FILE)))["files"][0]
    assert "yanked" not in rendered(page((HERE, msgspec.structs.replace(FILE, yanked=""))))["files"][0]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_600_000_000_000_000, "2020-09-13T12:26:40Z"),
        (1_600_000_000_000_001, "2020-09-13T12:26:40.000001Z"),
    ],
)
def test_js_12_upload_times_are_utc_with_a_z(moment: int, expected: str) -> None:
    file = msgspec.structs.replace(FILE, upload_time=Timestamp(moment))
    assert rendered(page((HERE, file)))["files"][0]["upload-time"] == expected


def test_js_13_provenance_is_an_absolute_url_or_not_there() -> None:
    file = msgspec.structs.replace(FILE, provenance="https://example.test/p")
    assert rendered(page((HERE, file)))["files"][0]["provenance"] == "https://example.test/p"
    assert "provenance" not in rendered(page((HERE, FILE)))["files"][0]


def test_js_14_the_status_is_an_object_at_the_top() -> None:
    assert rendered(page(status="archived"))["project-status"] == {"status": "archived"}
    assert rendered(page(status="deprecated", status_reason='use "other"'))["project-status"] == {
        "status": "deprecated",
        "reason": 'use "other"',
    }
    assert "project-status" not in rendered(page(status_reason="of nothing"))


def test_js_17_files_keep_the_order_of_the_page() -> None:
    listed = [(HERE, File(filename=f"demo-{number}.zip")) for number in (2, 10, 1)]
    names = [shown["filename"] for shown in rendered(page(*listed))["files"]]
    assert names == ["demo-2.zip", "demo-10.zip", "demo-1.zip"]


def test_si_07_a_project_without_files_is_a_page() -> None:
    document = rendered(page())
    assert document["files"] == []
    assert document["versions"] == ["1.0"]


def test_si_08_si_09_links_are_relative_and_name_the_source() -> None:
    shown = rendered(page((HERE, FILE), (THERE, msgspec.structs.replace(FILE, filename="demo-2.zip"))))["files"]
    assert [entry["url"].partition("+f/")[0] for entry in shown] == [HERE, THERE]


@pytest.mark.parametrize(
    ("filename", "last"),
    [
        ("demo-1.0+cu121-py3-none-any.whl", "demo-1.0+cu121-py3-none-any.whl"),
        ("demo-1!2.0.tar.gz", "demo-1!2.0.tar.gz"),
        ("a b~%41#?.zip", "a%20b~%2541%23%3F.zip"),
        ("sub/../x.zip", "sub%2F..%2Fx.zip"),
    ],
)
def test_si_10_si_11_the_last_segment_is_the_filename_percent_encoded(filename: str, last: str) -> None:
    (shown,) = rendered(page((HERE, msgspec.structs.replace(FILE, filename=filename))))["files"]
    assert shown["url"].rpartition("/")[2] == last
    assert unquote(last) == filename


def test_si_12_no_url_has_a_query() -> None:
    mirrored = File(filename="demo-1.zip", url="https://example.test/demo-1.zip?token=secret#x")
    raw = JsonRenderer().page(page((HERE, mirrored)))
    assert b"?" not in raw
    assert b"secret" not in raw


def test_bodies_are_not_decoded() -> None:
    entry = PageEntry(HERE, IndexName("team/dev"), page_row(FILE))
    broken = msgspec.structs.replace(entry.row, body=b"not msgpack")
    merged = msgspec.structs.replace(page(), entries=[PageEntry(HERE, entry.origin, broken)])
    assert JsonRenderer().page(merged) == JsonRenderer().page(page((HERE, FILE)))
