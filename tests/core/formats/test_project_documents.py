"""devpi's documents of projects and versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.project_documents import DocumentWriter
from pkgindex_core.formats.project_outlines import OutlineLayer, OutlineVersion, Shown, hash_spec, outline
from pkgindex_core.formats.version_documents import KEYS, encode_metadata
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, Event, File, Page, PageHead, Release, Serial
from pkgindex_core.names import IndexName, ProjectName

ROOT = "https://index.example/base"
DEV, BASE, PYPI = IndexName("ann/dev"), IndexName("ann/base"), IndexName("root/pypi")
DEMO = ProjectName("demo")
NOON = Timestamp(1_700_000_000_000_000)


def file(name: str, version: str, digit: str = "a", **fields: Any) -> File:
    return File(filename=name, version=version, digests={"sha256": digit * 64}, size=1, **fields)


def layer(
    index: IndexName,
    *files: File,
    mirrored: bool = False,
    versions: tuple[str, ...] = (),
    releases: Sequence[Release] = (),
    **more: Any,
) -> Told:
    head = PageHead(display_name="Demo", versions=versions)
    page = Page(index=index, project=DEMO, stamp=Serial(1), head=head, rows=tuple(page_row(each) for each in files))
    released = [canonical_version(each.version) for each in releases]
    return Told(
        OutlineLayer(page=page, mirrored=mirrored, released=released, **more),
        dict(zip(released, releases, strict=True)),
    )


class Told(NamedTuple):
    """What one index has of a project, and what is stored of each version."""

    layer: OutlineLayer
    releases: Mapping[str, Release]


def everything(_index: IndexName, _file: File) -> bool:
    return True


def written(layers: Sequence[Told], shown: Shown = everything, only: str | None = None) -> bytes:
    stored = {(each.layer.index, version): release for each in layers for version, release in each.releases.items()}
    writer = DocumentWriter(DEMO, ROOT, alone=only is not None)
    found = outline([each.layer for each in layers], shown, only)
    pieces = [
        writer.part(record, stored.get((record.index, canonical_version(record.spelled))))
        if isinstance(record, OutlineVersion)
        else writer.link(record)
        for record in found.records()
    ]
    return b"".join([*pieces, writer.end()])


def document(*layers: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written(layers))
    return found


def release(version: str, **fields: Any) -> Release:
    return Release(version=version, metadata=encode_metadata({"name": "Demo", "version": version, **fields}))


def test_a_version_has_every_key_and_its_links() -> None:
    history = (Event(what="overwrite", at=NOON, count=2), Event(what="upload", at=NOON, who="ann", target=DEV))
    wheel = file("demo-1.0+x-py3-none-any.whl", "1.0+x", history=history)
    entry = document(layer(DEV, wheel, releases=[release("1.0+x", summary="one")]))["1.0+x"]
    assert set(entry) == {*KEYS, "+links"}
    assert (entry["name"], entry["summary"]) == ("Demo", "one")
    when = [2023, 11, 14, 22, 13, 20]
    assert entry["+links"] == [
        {
            "rel": "releasefile",
            "hash_spec": f"sha256={'a' * 64}",
            "hashes": {"sha256": "a" * 64},
            "href": f"{ROOT}/ann/dev/+f/aaa/{'a' * 13}/demo-1.0+x-py3-none-any.whl",
            "log": [
                {"what": "overwrite", "who": None, "when": when, "count": 2},
                {"what": "upload", "who": "ann", "when": when, "dst": "ann/dev"},
            ],
        }
    ]


def test_stored_metadata_is_spliced_and_not_looked_at() -> None:
    odd = b'{"description": "\\ud83d\\ude00  \\u0041", "of a plugin": [1,  2]}  '
    text = written([layer(DEV, releases=[Release(version="1.0", metadata=odd)])])
    assert b'"description": "\\ud83d\\ude00  \\u0041", "of a plugin": [1,  2],"+links":[]' in text
    empty = written([layer(DEV, releases=[Release(version="1.0")])])
    assert json.loads(empty) == {"1.0": {"+links": []}}


def test_documentation_and_results_hang_at_their_version() -> None:
    wheel, sdist = file("demo-1.0-py3-none-any.whl", "1.0"), file("demo-1.0.0.tar.gz", "1.0.0", "b")
    digest = Sha256("c" * 64)
    docs = Attachment(kind="doczip", filename="demo-1.0.doc.zip", version="1", sha256=digest, size=1, added=NOON)
    result = Attachment(
        kind="toxresult",
        filename="demo-1.0.0.tar.gz.toxresult-20260101000000-0",
        version="1.0",
        about="demo-1.0.0.tar.gz",
        sha256=digest,
        size=1,
        added=NOON,
        history=(Event(what="upload", at=NOON, target=DEV),),
    )
    orphan = Attachment(kind="toxresult", filename="x", version="1.0", about="gone", sha256=digest, size=1, added=NOON)
    links = document(layer(DEV, wheel, sdist, attachments=[docs, result, orphan]))["1.0"]["+links"]
    assert [link["rel"] for link in links] == ["releasefile", "releasefile", "doczip", "toxresult"]
    assert links[2]["href"] == f"{ROOT}/ann/dev/+f/ccc/{'c' * 13}/demo-1.0.doc.zip"
    assert links[3]["for_href"] == links[1]["href"] == f"{ROOT}/ann/dev/+f/bbb/{'b' * 13}/demo-1.0.0.tar.gz"
    assert links[3]["href"] == f"{links[1]['href']}.toxresult-20260101000000-0"
    assert [("for_href" in link) for link in links] == [False, False, False, True]


def test_the_first_layer_tells_and_later_ones_stand_in_its_shadow() -> None:
    own = layer(DEV, file("demo-1.0.tar.gz", "1.0"), releases=[release("1.0", summary="own")])
    base = layer(BASE, file("demo-1.0.0.tar.gz", "1.0.0", "b"), releases=[release("1.0.0", summary="base")])
    mirror = layer(PYPI, file("demo-1.tar.gz", "1", "c"), file("demo-0.9.tar.gz", "0.9", "d"), mirrored=True)
    found = document(own, base, mirror)
    assert list(found) == ["0.9", "1.0"]
    entry = found["1.0"]
    assert (entry["summary"], entry["+links"][0]["href"].startswith(f"{ROOT}/ann/dev/")) == ("own", True)
    shadows = entry["+shadowing"]
    assert [each["version"] for each in shadows] == ["1.0.0", "1"]
    assert [each["+links"][0]["href"].split("/+f")[0] for each in shadows] == [f"{ROOT}/ann/base", f"{ROOT}/root/pypi"]
    assert "+shadowing" not in found["0.9"]
    for spelling in ("1", "1.0", "v1.0.0"):
        assert json.loads(written([own, base, mirror], only=spelling)) == entry
    assert not outline([own.layer, base.layer, mirror.layer], everything, "2.0").chunks


def test_a_mirror_tells_what_its_page_says() -> None:
    files = [
        File(
            filename="demo-1.0.zip",
            version="1.0",
            digests={"md5": "e" * 32},
            url="https://files.example/demo-1.0.zip",
            requires_python=">=3.9",
            yanked="broken",
        ),
        File(filename="odd", version=""),
    ]
    found = document(layer(PYPI, *files, mirrored=True))
    assert list(found) == ["1.0"]
    assert set(found["1.0"]) == {"name", "version", "requires_python", "yanked", "+links"}
    assert (found["1.0"]["requires_python"], found["1.0"]["yanked"]) == (">=3.9", "broken")
    (link,) = found["1.0"]["+links"]
    assert set(link) == {"rel", "hash_spec", "hashes", "href"}
    assert (link["hash_spec"], link["hashes"]) == (f"md5={'e' * 32}", {"md5": "e" * 32})
    assert "files.example" not in json.dumps(found)


def test_versions_without_files_and_files_without_metadata() -> None:
    found = document(layer(DEV, file("demo-2.0.tar.gz", "2.0", requires_python=">=3.9"), versions=("1.0",)))
    assert list(found) == ["1.0", "2.0"]
    assert set(found["1.0"]) == set(found["2.0"]) == {*KEYS, "+links"}
    assert (found["1.0"]["+links"], found["2.0"]["requires_python"]) == ([], ">=3.9")
    assert document() == {}


def test_what_is_hidden_is_linked_nowhere() -> None:
    files = [file("demo-1.0.tar.gz", "1.0"), file("demo-2.0.tar.gz", "2.0"), file("demo-2.0-py3-none-any.whl", "2.0")]
    result = Attachment(
        kind="toxresult",
        filename="r",
        version="2.0",
        about="demo-2.0.tar.gz",
        sha256=Sha256("c" * 64),
        size=1,
        added=NOON,
    )
    own = layer(DEV, *files, releases=[release("1.0"), release("2.0"), release("3.0")], attachments=[result])
    found = json.loads(written([own], lambda _, each: not each.filename.endswith(".tar.gz")))
    assert list(found) == ["2.0", "3.0"]
    assert [link["href"].rpartition("/")[2] for link in found["2.0"]["+links"]] == ["demo-2.0-py3-none-any.whl"]


def test_the_best_digest() -> None:
    assert hash_spec({}) == ""
    assert hash_spec({"md5": "1", "sha256": "2"}) == "sha256=2"
    assert hash_spec({"md5": "1", "sha1": "2"}) == "sha1=2"


def test_an_outline_has_no_metadata_and_what_is_stored_no_more_is_told_bare() -> None:
    described = release("1.0", description="x" * 50_000)
    told = layer(DEV, *(file(f"demo-1.{n}.tar.gz", f"1.{n}") for n in range(500)), releases=[described])
    found = outline([told.layer], everything)
    assert found.size < 10_000
    assert len(document(told)) == 500
    entry = json.loads(written([Told(told.layer, {})], only="1.0"))
    assert set(entry) == {*KEYS, "+links"}
    assert (entry["version"], entry["description"], len(entry["+links"])) == ("1.0", "", 1)
