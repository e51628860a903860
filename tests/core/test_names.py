"""Names: one normalisation, ASCII only, nothing that two readers could take for two things."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused
from pkgindex_core.names import PROJECT_NAME_LIMIT, normalized_or_none, normalized_or_unknown, parse_project_name

# The name-normalisation specification, word for word, but anchored with \Z.
LEGAL = re.compile(r"\A([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])\Z", re.IGNORECASE | re.ASCII)


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("A.b_-C", "a-b-c"),
        ("demo", "demo"),
        ("Foo.Bar", "foo-bar"),
        ("foo--bar", "foo-bar"),
        ("x", "x"),
        ("0", "0"),
        ("a" * PROJECT_NAME_LIMIT, "a" * PROJECT_NAME_LIMIT),
    ],
)
def test_si_01_names_are_normalised(raw: str, normal: str) -> None:
    assert parse_project_name(raw) == normalized_or_none(raw) == normal


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "foo\n",
        "-foo",
        "foo-",
        ".",
        "_",
        "föö",
        "foo bar",
        "foo/bar",
        "foo\x00",
        "\u212a",
        "\u017f",
        "..",
        "a" * 215,
    ],
)
def test_si_01_what_is_no_name_is_refused(raw: str) -> None:
    assert normalized_or_none(raw) is None
    with pytest.raises(Refused):
        parse_project_name(raw)


@given(raw=st.text(st.sampled_from("abAB09._- \né"), max_size=12) | st.text(max_size=12))
def test_si_01_is_the_specification(raw: str) -> None:
    expected = re.sub(r"[-_.]+", "-", raw).lower() if LEGAL.match(raw) else None
    assert normalized_or_none(raw) == expected


@given(raw=st.text(st.sampled_from("abAB09._-"), min_size=1, max_size=12))
def test_normalising_twice_changes_nothing(raw: str) -> None:
    once = normalized_or_none(raw)
    assert once is None or normalized_or_none(once) == once


@given(st.lists(st.text("aZ0.-_\n? é", max_size=5), max_size=4))
def test_many_names_together_are_normalised_as_each_of_them(raws: list[str]) -> None:
    together = normalized_or_unknown(raws)
    each = [normalized_or_none(raw) for raw in raws]
    assert together == (None if None in each or not raws else each)


def test_a_name_that_is_too_long_is_not_normalised_with_others() -> None:
    assert normalized_or_unknown(["a" * PROJECT_NAME_LIMIT]) is not None
    assert normalized_or_unknown(["demo", "a" * (PROJECT_NAME_LIMIT + 1)]) is None
