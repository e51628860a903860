"""Lists of packages in the form of dumb-pypi."""

from __future__ import annotations

import json

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.formats.package_lists import encode_line, package_line, read_package_list

FULL = {
    "filename": "demo-1.0-py3-none-any.whl",
    "hash": "sha256=" + "ab" * 32,
    "requires_dist": ["helper>=1"],
    "requires_python": ">=3.9",
    "core_metadata": "sha256=" + "cd" * 32,
    "upload_timestamp": 1_700_000_000,
    "uploaded_by": "anna",
    "yanked_reason": "broken",
}


def test_every_key_is_read() -> None:
    found = read_package_list(json.dumps(FULL).encode(), as_json=True)
    ((project, (listed,)),) = found.files.items()
    file = listed.file
    assert (project, file.version, file.filename) == ("demo", "1.0", FULL["filename"])
    assert (file.digests, file.metadata_sha256) == ({"sha256": "ab" * 32}, "cd" * 32)
    assert (file.upload_time, file.requires_python, file.yanked) == (1_700_000_000_000_000, ">=3.9", "broken")
    assert json.loads(encode_line(listed.line)) == FULL


def test_what_is_written_of_a_file_is_read_as_the_same_file() -> None:
    (listed,) = read_package_list(json.dumps(FULL).encode(), as_json=True).files["demo"]
    (again,) = read_package_list(package_line(listed.file), as_json=True).files["demo"]
    assert again.file == listed.file


def test_names_alone() -> None:
    found = read_package_list(b"demo-1.0.tar.gz\ndemo-1.1.tar.gz\nother_thing-2-py3-none-any.whl\n", as_json=False)
    assert {name: [each.file.version for each in files] for name, files in found.files.items()} == {
        "demo": ["1.0", "1.1"],
        "other-thing": ["2"],
    }


@pytest.mark.parametrize(
    "name",
    ["../demo-1.0.zip", "a/demo-1.0.zip", "demo 1.0.zip", "demo-1..0.zip", "<b>-1.0.zip", "", f"{'a' * 300}-1.0.zip"],
)
def test_unsafe_names_are_left_out_and_told(name: str) -> None:
    found = read_package_list(json.dumps({"filename": name}).encode(), as_json=True)
    assert not found.files
    assert len(found.left_out) == 1


def test_all_lines_that_are_wrong_are_told_at_once() -> None:
    data = b'{"filename":"demo-1.0.zip"}\n{"filename":1}\nno json\n{"filename":"x-1.zip","size":3}\n'
    with pytest.raises(Refused) as caught:
        read_package_list(data, as_json=True)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["line 2", "line 3", "line 4"]
    assert "size" in caught.value.problems[2]


@pytest.mark.parametrize("seconds", [1e30, 253_402_300_800, -1e12])
def test_a_time_beyond_the_calendar_is_a_wrong_line(seconds: float) -> None:
    line = json.dumps({"filename": "demo-1.0.zip", "upload_timestamp": seconds}).encode()
    with pytest.raises(Refused) as caught:
        read_package_list(line, as_json=True)
    assert "upload_timestamp" in caught.value.problems[0]


def test_a_core_metadata_without_digest_is_offered() -> None:
    (listed,) = read_package_list(b'{"filename":"demo-1.0.zip","core_metadata":"true"}', as_json=True).files["demo"]
    assert (listed.file.metadata_offered, listed.file.metadata_sha256) == (True, None)
