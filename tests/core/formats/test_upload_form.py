from __future__ import annotations

import base64
import hashlib

import pytest
from msgspec.structs import replace

from pkgindex_core.errors import Refused, RetiredAction
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_form import (
    UploadFacts,
    check_action,
    check_upload,
    expected_digests,
    field_values,
)
from pkgindex_core.formats.upload_rules import LENIENT, PYPI, UploadRules
from pkgindex_core.protocols import UploadForm
from pkgindex_core.testing.wheels import core_metadata

WHEEL = "foo_bar-1.0-py3-none-any.whl"
SDIST = "foo_bar-1.0.tar.gz"
FIELDS = {
    ":action": "file_upload",
    "protocol_version": "1",
    "name": "Foo.Bar",
    "version": "1.0",
    "metadata_version": "2.1",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
}


def form_of(*repeated: tuple[str, str], without: str = "", **changed: str) -> UploadForm:
    fields = {name: (value,) for name, value in {**FIELDS, **changed}.items() if name != without}
    for name, value in repeated:
        fields[name] = (*fields.get(name, ()), value)
    return UploadForm(fields=fields)


def inspection_of(metadata: bytes, *names: str) -> Inspection:
    return Inspection(
        metadata=metadata,
        names=frozenset(names),
        license_root="foo_bar-1.0.dist-info/licenses/",
        uncompressed_bytes=len(metadata),
    )


GOOD = inspection_of(core_metadata("Foo.Bar", "1.0", requires_python=">=3.8", requires_dist=["a"]))


def checked(
    form: UploadForm, filename: str = WHEEL, inspection: Inspection = GOOD, rules: UploadRules = PYPI
) -> UploadFacts:
    name = parse_upload_filename(filename, LENIENT)
    return check_upload(form, filename, name, inspection, rules)


def problems(form: UploadForm, filename: str = WHEEL, inspection: Inspection = GOOD, rules: UploadRules = PYPI) -> str:
    with pytest.raises(Refused) as refused:
        checked(form, filename, inspection, rules)
    return " | ".join(refused.value.problems)


def test_the_archive_is_believed() -> None:
    facts = checked(form_of())
    assert (facts.project, facts.display_name, facts.version) == ("foo-bar", "Foo.Bar", "1.0")
    assert (facts.requires_python, facts.metadata.requires_dist, facts.warnings) == (">=3.8", ("a",), ())


@pytest.mark.parametrize("action", ["submit_pkg_info"])
def test_up2_retired_actions_have_their_own_error(action: str) -> None:
    with pytest.raises(RetiredAction) as refused:
        check_action(form_of(**{":action": action}))
    assert refused.value.action == action
    assert refused.value.hint


def test_up2_action_and_protocol_version() -> None:
    assert check_action(form_of()) == "file_upload"
    assert check_action(form_of(**{":action": "doc_upload"})) == "doc_upload"
    assert check_action(form_of(**{":action": "submit"})) == "submit"
    check_action(form_of(without="protocol_version"))
    with pytest.raises(Refused, match="several values of :action"):
        check_action(UploadForm(fields={":action": ("file_upload", "doc_upload")}))
    with pytest.raises(Refused, match=r"Unknown protocol version\."):
        check_action(form_of(protocol_version="2"))
    with pytest.raises(Refused, match="action 'remove' not supported"):
        check_action(form_of(**{":action": "remove"}))
    with pytest.raises(Refused, match=":action field not found"):
        check_action(form_of(without=":action"))
    with pytest.raises(Refused) as refused:
        check_action(form_of(**{":action": "x", "protocol_version": "y"}))
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize("field", ["name", "version", "metadata_version", "filetype", "pyversion"])
def test_up4_required_fields(field: str) -> None:
    text = f"the form has no field {field}; twine and `uv publish` send all fields"
    assert problems(form_of(without=field)) == text
    assert problems(form_of(**{field: "UNKNOWN"})) == text  # UP-7
    assert checked(form_of(without=field), rules=LENIENT).warnings == (text,)


def test_up4_lenient_reads_from_the_archive_what_the_form_leaves_out() -> None:
    facts = checked(UploadForm(fields={":action": ("file_upload",)}), rules=LENIENT)
    assert (facts.project, facts.display_name, facts.version) == ("foo-bar", "Foo.Bar", "1.0")
    assert len(facts.warnings) == 1
    assert "no field name, version, metadata_version, filetype, pyversion" in facts.warnings[0]


def test_up4_pyversion_of_an_sdist_may_be_absent() -> None:
    sdist = {"filetype": "sdist"}
    assert checked(form_of(without="pyversion", **sdist), SDIST).project == "foo-bar"
    assert checked(form_of(pyversion="source", **sdist), SDIST).project == "foo-bar"
    assert "pyversion 'py3'" in problems(form_of(**sdist), SDIST)
    assert "pyversion 'source'" in problems(form_of(pyversion="source"))


def test_up4_filetype_must_be_the_file() -> None:
    assert "filetype 'sdist'" in problems(form_of(filetype="sdist"))
    assert "filetype 'bdist_egg'" in problems(form_of(filetype="bdist_egg"))
    assert "filetype 'bdist_wheel'" in problems(form_of(pyversion="source"), SDIST)


def test_up5_digests_are_read_in_any_case() -> None:
    raw = b"content"
    sha256, md5 = hashlib.sha256(raw).hexdigest(), hashlib.md5(raw).hexdigest()
    blake2 = hashlib.blake2b(raw, digest_size=32).hexdigest()
    form = form_of(sha256_digest=sha256.upper(), blake2_256_digest=blake2, md5_digest=md5)
    assert expected_digests(form) == {"sha256": sha256, "blake2b_256": blake2, "md5": md5}


def test_up5_md5_may_be_urlsafe_base64() -> None:
    raw = hashlib.md5(b"\xfb\xff>>??").digest()
    for encoded in (base64.urlsafe_b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
        assert expected_digests(form_of(md5_digest=encoded)) == {"md5": raw.hex()}


def test_up5_digests_may_be_absent() -> None:
    assert expected_digests(form_of(sha256_digest="", md5_digest="UNKNOWN")) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256_digest", "abc"),
        ("sha256_digest", "g" * 64),
        ("sha256_digest", "0" * 63),
        ("sha256_digest", "\uff10" * 64),
        ("blake2_256_digest", "0" * 128),
        ("md5_digest", "0" * 31),
        ("md5_digest", "!" * 24),
        ("md5_digest", "A" * 24),
        ("md5_digest", "=" * 24),
        ("md5_digest", "é" * 22),
    ],
)
def test_up5_malformed_digests_are_refused(field: str, value: str) -> None:
    with pytest.raises(Refused, match=field):
        expected_digests(form_of(**{field: value}))


def test_up6_fields_have_several_names() -> None:
    form = form_of(("import_name", "a"), ("import_names", "b"), ("import_names", "UNKNOWN"), ("classifiers", " c "))
    assert field_values(form, "import_name", "import_names") == ("a", "b")
    assert field_values(form, "classifiers", "classifier") == ("c",)


def test_va31_name_and_version_must_agree() -> None:
    assert "does not match project name 'other'" in problems(form_of(name="other"))
    assert "does not contain version '2.0'" in problems(form_of(version="2.0"))
    assert checked(form_of(name="foo_BAR", version="1.0.0")).version == "1.0"


def test_va28_filename_and_metadata_must_agree() -> None:
    other = inspection_of(core_metadata("other", "2.0"))
    text = problems(form_of(), inspection=other)
    assert "the filename is of the project foo-bar, the metadata inside of other" in text
    assert "the filename is of version 1.0, the metadata inside of 2.0" in text
    name = replace(parse_upload_filename(WHEEL), filename="else.whl")
    with pytest.raises(Refused, match="the file is called"):
        check_upload(form_of(), WHEEL, name, GOOD)


def test_va28_versions_agree_by_pep_440() -> None:
    assert checked(form_of(), inspection=inspection_of(core_metadata("foo-bar", "1.0.0"))).version == "1.0"


def test_va31_details_are_warned_about_and_the_archive_counts() -> None:
    facts = checked(
        form_of(("requires_dist", "a"), ("requires_dist", "b"), ("import_names", "z"), requires_python=">=2.7")
    )
    assert facts.requires_python == ">=3.8"
    assert [warning.split(";")[0] for warning in facts.warnings] == [
        "the form says requires-python '>=2.7', the file '>=3.8'",
        "the form has 2 requirements, the file 1",
        "the form names other imports than the file",
    ]


@pytest.mark.parametrize("said", ["", ">=3.8", ">= 3.8", "UNKNOWN"])
def test_up7_an_empty_requires_python_says_nothing(said: str) -> None:
    assert checked(form_of(requires_python=said)).warnings == ()


def test_requires_python_may_be_spelled_in_another_order() -> None:
    metadata = inspection_of(core_metadata("foo-bar", "1.0", requires_python=">=3.8,<4"))
    assert checked(form_of(requires_python="<4, >=3.8"), inspection=metadata).warnings == ()


def test_a_field_with_two_values_is_refused() -> None:
    assert "several values of name" in problems(form_of(("name", "evil")))
    assert checked(form_of(("name", "Foo.Bar"))).project == "foo-bar"


def test_va1_every_problem_is_told_at_once() -> None:
    bad = inspection_of(b"Metadata-Version: 9\nName: other\nVersion: x\nHome-Page: ftp://a\n")
    text = problems(form_of(name="third", filetype="sdist", without="version"), inspection=bad)
    for part in (
        "metadata-version",
        "'x' is not a version",
        "home-page",
        "inside of other",
        "'third'",
        "filetype",
        "no field version",
    ):
        assert part in text


def test_va11_licence_files_must_be_in_the_archive() -> None:
    metadata = core_metadata("foo-bar", "1.0", metadata_version="2.4", metadata_extra="License-File: LICENSE")
    assert "expected 'foo_bar-1.0.dist-info/licenses/LICENSE'" in problems(
        form_of(), inspection=inspection_of(metadata)
    )
    checked(form_of(), inspection=inspection_of(metadata, "foo_bar-1.0.dist-info/licenses/LICENSE"))
    older = core_metadata("foo-bar", "1.0", metadata_version="2.1", metadata_extra="License-File: LICENSE")
    checked(form_of(), inspection=inspection_of(older))


def test_va5_and_va9_are_switches() -> None:
    metadata = inspection_of(core_metadata("foo-bar", "1.0+cu121", requires_dist=["a @ https://example.org/a.whl"]))
    filename = "foo_bar-1.0+cu121-py3-none-any.whl"
    form = form_of(version="1.0+cu121")
    assert checked(form, filename, metadata).version == "1.0+cu121"
    strict = UploadRules(direct_urls=False, local_versions=False)
    text = problems(form, filename, metadata, strict)
    assert "local part" in text
    assert "direct URL" in text


def test_va7_and_va12_are_warnings() -> None:
    text = "Classifier: nonsense\nClassifier: Private :: Do Not Upload"
    metadata = inspection_of(core_metadata("foo-bar", "1.0", metadata_extra=text, description="# Title\n\ntext\n"))
    warnings = checked(form_of(), inspection=metadata).warnings
    assert warnings[0] == "'nonsense' does not look like a classifier"
    assert "looks like Markdown" in warnings[1]
    assert len(warnings) == 2
