"""A bare name in a list is read without packaging, with the same result."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement

from pkgindex_core.names import normalized_or_none
from pkgindex_mirror.bandersnatch.entries import is_requirement
from pkgindex_mirror.filters.bandersnatch.package_lists import allowed_packages

TEXTS = st.text("aZ0.-_ ;<=[]#@\n", max_size=8)


@given(TEXTS)
def test_a_requirement_is_one_for_packaging(text: str):
    try:
        Requirement(text)
    except InvalidRequirement:
        assert not is_requirement(text)
    else:
        assert is_requirement(text)


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True))
def test_a_bare_name_permits_all_versions(name: str):
    (package,) = allowed_packages({"allowlist": {"packages": name}})
    requirement = Requirement(name)
    assert package.project == normalized_or_none(requirement.name)
    assert package.specifier == requirement.specifier
    assert package.bare
    assert package.has("1.0rc1")
