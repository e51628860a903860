"""Large JSON read in place agrees with JSON read at once."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused
from pkgindex_core.formats.devpi.dump import DevpiDump, DumpVersion
from pkgindex_core.formats.json_spans import elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(
    document=st.dictionaries(st.text(), VALUES, max_size=5),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_members_are_those_of_the_object(document: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert {key: json.loads(text[start:stop]) for key, start, stop in members(text, 0)} == document


@given(document=st.lists(VALUES, max_size=5), indent=st.sampled_from([None, 2]))
def test_elements_are_those_of_the_array(document: list[Any], indent: int | None) -> None:
    text = json.dumps(document, indent=indent).encode()
    assert [json.loads(text[start:stop]) for start, stop in elements(text, 0)] == document


@pytest.mark.parametrize("text", ["", "[]", '{"a"', '{"a": [1, 2', '{"a": 1 "b": 2}', '{"a": "x', "{1: 2}", '{"a": }'])
def test_what_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not whole JSON"):
        list(members(text.encode(), 0))


@pytest.mark.parametrize("dumpversion", ["2", "3"])
def test_a_large_dump_is_read_in_little_memory(dumpversion: str) -> None:
    """Twenty megabytes of metadata, of which one version is in memory at a time."""
    metadata = {"name": "demo", "description": 'a line with "quotes"\n' * 1000}
    versions = {"1.0": metadata, "2.0": metadata}
    project = versions if dumpversion == "2" else {"config": {"name": "Demo"}, "versions": versions}
    projects = {f"p{number}": project for number in range(400)}
    index = {"indexconfig": {"type": "stage"}, "projects": projects, "files": []}
    text = json.dumps({"users": {}, "indexes": {"a/b": index}, "dumpversion": dumpversion}, indent=2).encode()
    assert len(text) > 15_000_000
    tracemalloc.start()
    try:
        dump = DevpiDump(text)
        names = 0
        for project in dump.projects(dump.indexes["a/b"]):
            names += sum(isinstance(one, DumpVersion) for one in dump.versions(project))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert names == 800
    assert peak < 1_000_000
