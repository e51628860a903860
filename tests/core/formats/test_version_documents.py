"""The JSON object that is kept of a version: devpi's keys, from the archive."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.upload_rules import LENIENT, Findings, UploadRules
from pkgindex_core.formats.version_documents import (
    KEYS,
    LISTS,
    bare,
    check_registration,
    encode_metadata,
    from_archive,
    from_form,
    from_sdist,
)
from pkgindex_core.protocols import UploadForm

FULL = b"""\
Metadata-Version: 2.4
Name: Foo.Bar
Version: 1.0
Summary: a summary
Home-page: https://example.org
Author: Ann
Author-email: ann@example.org
Maintainer: Ben
Maintainer-email: UNKNOWN
License: MIT
Keywords: one, two
Platform: any
Platform: UNKNOWN
Classifier: Private :: A
Classifier: Private :: B
Download-URL: https://example.org/d
Supported-Platform: any
Provides: p
Requires: r
Obsoletes: o
Project-URL: Source, https://example.org/s
Provides-Dist: pd
Obsoletes-Dist: od
Requires-Dist: other>=1
Requires-External: C
Requires-Python: >=3.8
Description-Content-Type: text/markdown
Provides-Extra: fast
Dynamic: requires-dist
License-Expression: MIT
License-File: LICENSE

The "description".
"""


def test_every_field_of_an_archive_has_its_key() -> None:
    said = json.loads(from_archive(read_metadata(FULL)))
    assert tuple(said) == KEYS
    assert said == {
        "name": "Foo.Bar",
        "version": "1.0",
        "metadata_version": "2.4",
        "summary": "a summary",
        "home_page": "https://example.org",
        "author": "Ann",
        "author_email": "ann@example.org",
        "maintainer": "Ben",
        "maintainer_email": "",
        "license": "MIT",
        "description": 'The "description".\n',
        "keywords": "one,two",
        "platform": ["any"],
        "classifiers": ["Private :: A", "Private :: B"],
        "download_url": "https://example.org/d",
        "supported_platform": ["any"],
        "comment": "",
        "provides": ["p"],
        "requires": ["r"],
        "obsoletes": ["o"],
        "project_urls": ["Source, https://example.org/s"],
        "provides_dist": ["pd"],
        "obsoletes_dist": ["od"],
        "requires_dist": ["other>=1"],
        "requires_external": ["C"],
        "requires_python": ">=3.8",
        "description_content_type": "text/markdown",
        "provides_extras": ["fast"],
        "dynamic": ["requires-dist"],
        "license_expression": "MIT",
        "license_file": ["LICENSE"],
    }


@given(
    st.dictionaries(
        st.sampled_from(KEYS) | st.text(max_size=5), st.none() | st.text() | st.integers() | st.lists(st.text())
    )
)
def test_every_key_is_there_in_its_form_whatever_is_given(values: dict[str, Any]) -> None:
    said = json.loads(encode_metadata(values))
    assert tuple(said) == KEYS
    for key, value in said.items():
        if key in LISTS:
            assert isinstance(value, list)
            assert all(isinstance(each, str) and each not in {"", "UNKNOWN"} for each in value)
        else:
            assert isinstance(value, str)
            assert value != "UNKNOWN"
    assert encode_metadata(said) == msgspec.json.encode(said)


def test_an_sdist_leaves_open_what_only_a_build_can_tell() -> None:
    wheel = from_archive(read_metadata(FULL))
    head = "Metadata-Version: {}\nName: foo-bar\nVersion: 1.0\n"
    for text, kept, gone in (
        (
            head.format("2.4") + "Dynamic: Requires-Dist\nDynamic: classifier\n",
            {"requires_dist", "classifiers"},
            {"summary", "license_file"},
        ),
        (head.format("2.1"), {"requires_dist", "summary", "license_file"}, set()),
        (head.format("2.2"), set(), {"requires_dist", "summary", "requires_python"}),
    ):
        said = json.loads(from_sdist(read_metadata(text.encode()), wheel))
        before = json.loads(wheel)
        assert said["name"] == "foo-bar"
        assert {key: said[key] for key in kept} == {key: before[key] for key in kept}
        assert not any(said[key] for key in gone)


def test_a_form_registers_what_it_says() -> None:
    form = UploadForm(
        fields={
            "name": ("Foo",),
            "version": ("1.0",),
            "author": ("UNKNOWN",),
            "classifiers": ("A :: B", "", "C :: D"),
            "project_url": ("Home, https://example.org",),
            "home_page": ("x", "y"),
            "odd": ("z",),
        }
    )
    said = json.loads(from_form(form))
    assert tuple(said) == KEYS
    assert (said["name"], said["author"], said["home_page"], said["comment"]) == ("Foo", "", "x", "")
    assert (said["classifiers"], said["project_urls"], said["platform"]) == (
        ["A :: B", "C :: D"],
        ["Home, https://example.org"],
        [],
    )
    assert judged(form).problems == ()


def judged(form: UploadForm, rules: UploadRules | None = None) -> Findings:
    findings = Findings(rules or UploadRules())
    check_registration(form, findings)
    return findings


def test_lenient_registers_versions_that_pep_440_does_not_know() -> None:
    form = UploadForm(fields={"name": ("pytz",), "version": ("2004d",)})
    assert (judged(form, LENIENT).problems, judged(form, LENIENT).warnings) == ((), judged(form).problems)
    assert judged(UploadForm(fields={"name": ("pytz",), "version": ("20/04",)}), LENIENT).problems


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"version": "1.0"}, 'invalid metadata: Missing required field "name"'),
        ({"name": "demo", "version": "UNKNOWN"}, 'invalid metadata: Missing required field "version"'),
        ({"name": "de/mo", "version": "1.0"}, "invalid metadata: 'de/mo' is not a project name"),
        ({"name": "demo", "version": "one"}, "invalid metadata: 'one' is not a version (PEP 440)"),
        ({"name": "demo", "version": "1", "protocol_version": "2"}, "Unknown protocol version."),
    ],
)
def test_what_cannot_be_registered(fields: dict[str, str], text: str) -> None:
    problems = judged(UploadForm(fields={name: (value,) for name, value in fields.items()})).problems
    assert [problem.partition(";")[0] for problem in problems] == [text]


def test_a_version_of_which_only_files_are_known() -> None:
    said = json.loads(bare("demo", "1.0", ">=3.9"))
    assert tuple(said) == KEYS
    assert {key: value for key, value in said.items() if value} == {
        "name": "demo",
        "version": "1.0",
        "requires_python": ">=3.9",
    }
