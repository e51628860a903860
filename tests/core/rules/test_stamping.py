"""ETags: equal exactly when everything that decides the bytes is equal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import File, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Build, Ruling
from pkgindex_core.rules.admission import MirrorWhitelist
from pkgindex_core.rules.filtering import Fingerprints, fingerprints
from pkgindex_core.rules.negotiation import HTML_V1, TEXT_HTML
from pkgindex_core.rules.stamping import coded, etag, matches, recipe

small = st.integers(0, 3).map(Serial)
names = st.sampled_from(["a/b", "a/bc", "ab/c"]).map(IndexName)
layers = st.lists(st.tuples(names, st.sampled_from(["../", "../../"]), small), max_size=3)
inputs = st.fixed_dictionaries(
    {
        "tree": small,
        "start": names,
        "project": st.none() | st.sampled_from(["demo", "demo2"]).map(ProjectName),
        "layers": layers,
        "recipe": st.sampled_from(["x", "y"]),
        "moment": st.none() | st.integers(0, 2).map(Timestamp),
    }
)


@given(one=inputs, other=inputs)
def test_tags_are_equal_iff_the_inputs_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (etag(**one) == etag(**other)) == (one == other)


@given(one=inputs, change=st.sampled_from(["tree", "start", "project", "layers", "recipe", "moment"]), other=inputs)
def test_changing_any_one_input_changes_the_tag(one: dict[str, Any], change: str, other: dict[str, Any]) -> None:
    changed = {**one, change: other[change]}
    assert (etag(**one) == etag(**changed)) == (one == changed)


EXAMPLE: dict[str, Any] = {
    "tree": Serial(4),
    "start": IndexName("team/dev"),
    "project": ProjectName("demo"),
    "layers": [
        (IndexName("team/dev"), "../../", Serial(9)),
        (IndexName("root/pypi"), "../../../../root/pypi/", Serial(7)),
    ],
    "recipe": "r",
}


def test_two_orders_give_two_tags() -> None:
    assert etag(**EXAMPLE) != etag(**{**EXAMPLE, "layers": EXAMPLE["layers"][::-1]})


def test_a_tag_is_strong_and_quoted_and_the_same_in_every_process() -> None:
    assert etag(**EXAMPLE) == '"826e6e21676e4c00af79af20dbc022bf"'


def test_cn_13_every_coding_has_its_own_strong_tag() -> None:
    assert [coded('"abc"', coding) for coding in ("identity", "gzip", "zstd")] == ['"abc"', '"abc.gz"', '"abc.zst"']


def test_cn_13_every_media_type_has_its_own_tag() -> None:
    renderers = (JsonRenderer(), HtmlRenderer(HTML_V1), HtmlRenderer(TEXT_HTML))
    tags = {etag(**{**EXAMPLE, "recipe": recipe(renderer, MirrorWhitelist())}) for renderer in renderers}
    assert len(tags) == 3


class Filter(Struct, frozen=True):
    fingerprint: str
    rounding: int = 0
    by_release: bool = False

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        step = self.rounding * 1_000_000
        return Timestamp(moment - moment % step if step else 0)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        return True

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return None


class OtherAdmission(MirrorWhitelist):
    @property
    def fingerprint(self) -> str:
        return "other"


class OtherJson(JsonRenderer):
    @property
    def fingerprint(self) -> str:
        return "other"


def decided(at: int = 10_000_000, /, **filters: Filter) -> Fingerprints:
    return fingerprints(filters, Tree(serial=Serial(1), indexes={}), IndexName("team/dev"), Timestamp(at))


def test_a_recipe_has_every_fingerprint_in_it() -> None:
    json, admission = JsonRenderer(), MirrorWhitelist()
    plain = decided(a=Filter("1"))
    recipes = [
        recipe(json, admission, plain),
        recipe(OtherJson(), admission, plain),
        recipe(json, OtherAdmission(), plain),
        recipe(json, admission),
        recipe(json, admission, decided(a=Filter("2"))),
        recipe(json, admission, decided(b=Filter("1"))),
        recipe(json, admission, decided(a=Filter("1"), b=Filter("1"))),
        recipe(json, admission, decided(a=Filter("1", rounding=2))),
    ]
    assert len(set(recipes)) == len(recipes)


def test_time_is_in_a_recipe_as_coarsely_as_a_filter_looks_at_it() -> None:
    def at(seconds: float, rounding: int) -> str:
        decisions = decided(int(seconds * 1_000_000), a=Filter("1", rounding=rounding))
        return recipe(JsonRenderer(), MirrorWhitelist(), decisions)

    assert at(10, 0) == at(99, 0)
    assert at(10, 10) == at(19.9, 10)
    assert at(10, 10) != at(20, 10)


TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        ('"abc"', True),
        ('W/"abc"', True),
        ("*", True),
        (" * ", True),
        ('"x", "abc"', True),
        ('"x","y",W/"abc"', True),
        (', ,"x",, "abc"', True),
        ('"a,b", "abc"', True),
        ('"x, "abc"', False),
        ("abc", False),
        ('"abc', False),
        ('"ABC"', False),
        ('w/"abc"', False),
        ('"abcd"', False),
        ('"abc.gz"', False),
        ('"x" "abc"', False),
        ('"x", *', False),
        ('"x' + "," * 9000 + '", "abc"', False),
    ],
)
def test_if_none_match(header: str | None, expected: bool) -> None:
    assert matches(header, TAG) is expected


@given(header=st.text(st.sampled_from('"abcW/,* \t\x00é'), max_size=40) | st.text(max_size=40))
def test_no_if_none_match_crashes(header: str) -> None:
    assert matches(header, TAG) in {True, False}


opaque = st.text(st.characters(exclude_characters='"\x7f', min_codepoint=0x21), max_size=8)


@given(tags=st.lists(opaque.map(lambda text: f'"{text}"')))
def test_a_list_matches_iff_it_has_the_tag(tags: list[str]) -> None:
    assert matches(", ".join(tags), TAG) == (TAG in tags)
    assert matches(", ".join([*tags, TAG]), TAG)
