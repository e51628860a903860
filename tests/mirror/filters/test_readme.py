"""The documentation of the filters has every filter and every key, and its example runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from pkgindex_mirror.filters.bandersnatch.compatibility import DEVIATIONS
from pkgindex_mirror.filters.bandersnatch.platform_filter import platform_marks
from pkgindex_mirror.filters.bandersnatch.plugin_filters import SECTIONS, WORDS
from pkgindex_mirror.filters.explanations import explanation
from pkgindex_mirror.filters.making import own_filters
from pkgindex_mirror.filters.own.filter_settings import FilterSettings
from tests.mirror.filters.conftest import of_files

README = (Path(__file__).parents[3] / "pkgindex_mirror/filters/README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    (found,) = re.findall(rf"^##+ {title}\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(title: str) -> dict[str, list[str]]:
    """The rows of the table of a section, by the word in their first column."""
    cells = [line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("| `")]
    return {first.strip().strip("`"): [each.strip() for each in others] for first, *others in cells}


def test_each_plugin_has_a_row_in_its_order():
    assert tuple(rows("bandersnatch's plugins")) == WORDS


@pytest.mark.parametrize("word", WORDS)
def test_sections_and_keys_are_exact(word: str):
    place = rows("bandersnatch's plugins")[word][0].strip("`")
    expected = SECTIONS.get(word)
    assert place == (f"[{expected[0]}] {expected[1]}".strip() if expected else "")


def test_each_difference_has_a_row():
    assert set(rows("Differences")) == DEVIATIONS


def test_each_key_has_a_row_with_its_default():
    found = {key: json.loads(cells[0].strip("`")) for key, cells in rows("Other filters").items()}
    expected = {
        field.name: list(default) if isinstance(default := getattr(FilterSettings(), field.name), tuple) else default
        for field in fields(FilterSettings)
    }
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize("key", ["except_statuses", "kinds", "implementations", "platforms", "architectures"])
def test_the_words_of_lists_are_known(key: str):
    words = re.findall(r"`([\w.]+)`", rows("Other filters")[key][1].split(" also ")[0])
    assert len(words) >= 4
    assert own_filters({key: words}).words


@pytest.mark.parametrize("key", ["unknown_licence", "yanked", "prereleases", "sdists", "unknown_upload_time"])
def test_the_words_of_choices_are_known(key: str):
    words = re.findall(r"`([\w-]+)`", rows("Other filters")[key][1].partition(":")[0])
    assert len(words) >= 2
    for word in words:
        own_filters({key: word})


def test_the_words_of_platforms_are_known():
    words = re.findall(r"`([\w.]+)`", rows("bandersnatch's plugins")["exclude_platform"][1].partition("Source")[0])
    assert len(words) == 7
    for word in words:
        assert platform_marks([word], strict=True).marks


def test_the_example_runs():
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["filters"].words == ("exclude_platform", "fitting", "cooldown", "releases")
    assert explanation(of_files("demo-1.tar.gz"), names["filters"]).kept == 1
