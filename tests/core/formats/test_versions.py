from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from pkgindex_core.formats.versions import canonical_version, is_pep440, version_key

_numbers = st.integers(0, 12).map(str)
_pep440 = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "v", "1!"]),
        st.lists(_numbers, min_size=1, max_size=4).map(".".join),
        st.sampled_from(["", "", "a1", "b2", "rc1", "-alpha", ".c0", "_pre3"]),
        st.sampled_from(["", "", ".post1", "-2", ".rev0", "post"]),
        st.sampled_from(["", "", ".dev0", "dev3", "-dev"]),
        st.sampled_from(["", "", "+local", "+1", "+1.a", "+1.2", "+a-1", "+ubuntu.20.04"]),
    ),
)


@given(_pep440, _pep440)
def test_keys_order_versions_as_pep_440_does(one: str, other: str) -> None:
    left, right = Version(one), Version(other)
    assert (version_key(one) < version_key(other)) == (left < right)
    assert (version_key(one) == version_key(other)) == (left == right)


@given(_pep440, _pep440)
def test_si15_canonical_versions_are_equal_exactly_when_versions_are(one: str, other: str) -> None:
    assert (canonical_version(one) == canonical_version(other)) == (Version(one) == Version(other))


def test_si15_one_version_in_its_spellings() -> None:
    assert {canonical_version(spelling) for spelling in ("1.0", "1.0.0", "v1", "1", " 1.0 ")} == {"1"}
    assert canonical_version("1.0.0", strip_zeros=False) == "1.0.0"


@given(st.lists(st.one_of(_pep440, st.text(max_size=12), st.sampled_from(["2004d", "1.0-beta-final", "", "1" * 6000]))))
def test_si16_any_strings_can_be_sorted_and_legacy_comes_first(versions: list[str]) -> None:
    ordered = sorted(versions, key=version_key)
    kinds = [is_pep440(version) for version in ordered]
    assert kinds == sorted(kinds)


def test_legacy_versions_sort_by_their_numbers() -> None:
    assert sorted(["2004x", "2004d", "999x", "10x", "9x"], key=version_key) == ["9x", "10x", "999x", "2004d", "2004x"]


def test_an_endless_number_is_no_version_and_no_failure() -> None:
    assert not is_pep440("1." + "9" * 5000)
    assert canonical_version("9" * 5000) == "9" * 5000
    assert version_key("9" * 5000) < version_key("0.dev0")
