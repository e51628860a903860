from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import (
    CANDIDATE_LIMIT,
    candidate_projects,
    kind_of,
    leads_to,
    likeliest_project,
    parse_upload_filename,
    version_in,
)
from pkgindex_core.formats.upload_rules import LENIENT, PYPI
from pkgindex_core.names import ProjectName, normalized_or_none


def problems(filename: str) -> str:
    with pytest.raises(Refused) as refused:
        parse_upload_filename(filename)
    return " | ".join(refused.value.problems)


def test_va28_a_wheel_name_is_taken_apart() -> None:
    name = parse_upload_filename("foo_bar-1!2.0+cu121-1abc-cp310.cp39-abi3-manylinux_2_17_x86_64.whl")
    assert (name.project, name.name_part, name.version, name.kind) == ("foo-bar", "foo_bar", "1!2.0+cu121", "wheel")
    assert (name.python_tag, name.build, name.stem) == ("cp310.cp39", "1abc", "foo_bar-1!2.0+cu121")
    assert name.tags == {"cp310-abi3-manylinux_2_17_x86_64", "cp39-abi3-manylinux_2_17_x86_64"}


def test_va27_an_sdist_name_is_taken_apart() -> None:
    name = parse_upload_filename("foo_bar-1.0.0.tar.gz")
    assert (name.project, name.version, name.kind, name.python_tag) == ("foo-bar", "1.0.0", "sdist", "source")


@pytest.mark.parametrize("platform", ["linux_x86_64", "win_amd64", "macosx_99_0_arm64", "plan9_mips", "any"])
def test_va28_every_platform_tag_is_taken(platform: str) -> None:
    assert parse_upload_filename(f"a-1-cp311-cp311-{platform}.whl").tags == {f"cp311-cp311-{platform}"}


def test_va28_older_spellings_of_the_name_are_taken() -> None:
    assert parse_upload_filename("Foo.Bar-1.0-py3-none-any.whl").project == "foo-bar"


def test_va5_local_versions_are_taken() -> None:
    assert parse_upload_filename("torch-2.5.0+cu121-cp311-cp311-linux_x86_64.whl").version == "2.5.0+cu121"


@pytest.mark.parametrize(
    ("filename", "because"),
    [
        ("", "no name"),
        ("a-1\n.tar.gz", "control characters"),
        ("a-1\x7f.tar.gz", "control characters"),
        ("a-1\0.whl", "control characters"),
        ("../a-1.tar.gz", "path separators"),
        ("x\\a-1.tar.gz", "path separators"),
        ("a-1.zip", "PEP 625"),
        ("a-1.tar.bz2", "PEP 625"),
        ("a-1.TAR.GZ", "PEP 625"),
        ("a-1-py3-none-any.WHL", "lower case"),
        ("a-1-py3.11.egg", "PEP 715"),
        ("a-1.win32.exe", "PEP 527"),
        ("a-1.msi", "PEP 527"),
        ("a-1-1.noarch.rpm", "PEP 527"),
        ("a_1_all.deb", "PEP 527"),
        ("a-1.dmg", "PEP 527"),
        ("a-1.linux-x86_64.tar.gz", "PEP 527"),
        ("a-1.whl.metadata", "neither a wheel"),
        ("a-1.tar.gz.asc", "neither a wheel"),
        ("a-1.tar.gz ", "neither a wheel"),
        ("\uff41-1.tar.gz", "outside ASCII"),
        ("a" * 250 + "-1.tar.gz", "longer than 255"),
    ],
)
def test_va13_what_is_no_wheel_and_no_sdist_is_refused_with_help(filename: str, because: str) -> None:
    assert because in problems(filename)


def test_va13_every_problem_is_named_at_once() -> None:
    text = problems("x/a\n\uff41-1.egg")
    assert all(part in text for part in ("control characters", "path separators", "outside ASCII", "PEP 715"))


@pytest.mark.parametrize(
    ("filename", "because"),
    [
        ("Foo-1.0.tar.gz", "'foo-1.0.tar.gz'"),
        ("foo-bar-1.0.tar.gz", "'foo_bar-1.0.tar.gz'"),
        ("foo.bar-1.0.tar.gz", "'foo_bar-1.0.tar.gz'"),
        ("foo-1.0-beta.tar.gz", "'foo-1.0b0.tar.gz'"),
        ("foo-1.0-final.tar.gz", "not a version"),
        ("foo-v1.0.tar.gz", "'foo-1.0.tar.gz'"),
        ("foo-1.0RC1.tar.gz", "'foo-1.0rc1.tar.gz'"),
        ("foo.tar.gz", "has no version"),
        ("-1.0.tar.gz", "not a project name"),
        ("foo- 1.0.tar.gz", "not a version"),
    ],
)
def test_va27_sdist_names_follow_pep_625(filename: str, because: str) -> None:
    assert because in problems(filename)


LENIENTLY = [
    ("Foo-1.0.tar.gz", "foo", "1.0", "'foo-1.0.tar.gz'"),
    ("foo-bar-1.0.tar.gz", "foo-bar", "1.0", "'foo_bar-1.0.tar.gz'"),
    ("foo.bar-1.0RC1.tar.gz", "foo-bar", "1.0RC1", "'foo_bar-1.0rc1.tar.gz'"),
    ("foo-1.0-1.tar.gz", "foo", "1.0-1", "'foo-1.0.post1.tar.gz'"),
    ("my-package-1.0.zip", "my-package", "1.0", "'my_package-1.0.tar.gz'"),
    ("pytz-2004d.tar.bz2", "pytz", "2004d", "not a .tar.gz"),
    ("pytz-2004d.tar.gz", "pytz", "2004d", "not a version"),
    ("my-package-2004d.tgz", "my-package", "2004d", "not a version"),
    ("a-1.tar.xz", "a", "1", "'a-1.tar.gz'"),
    ("a-1.tar.Z", "a", "1", "'a-1.tar.gz'"),
    ("a-1.TAR.GZ", "a", "1", "'a-1.tar.gz'"),
    ("Foo_Bar-1.0_final-py2.7.egg", "foo-bar", "1.0-final", "an egg"),
    ("numpy-1.6.0.win32-py2.7.exe", "numpy", "1.6.0", "Windows installer"),
    ("foo-1.0.win32.msi", "foo", "1.0", "Windows installer"),
    ("foo-bar-1.0-1.noarch.rpm", "foo-bar", "1.0", "RPM"),
    ("python-foo_1.0-1_all.deb", "python-foo", "1.0", "Debian"),
    ("foo-1.0.linux-x86_64.tar.gz", "foo", "1.0", "dumb"),
    ("foo-1.0_1-py3-none-any.whl", "foo", "1.0-1", "'1.0.post1'"),
    ("foo-2004d-py2-none-any.whl", "foo", "2004d", "not a version"),
    ("foo__bar-1.0-py2-none-any.whl", "foo-bar", "1.0", "'foo_bar'"),
]


@pytest.mark.parametrize(("filename", "project", "version", "because"), LENIENTLY)
def test_va13_va27_lenient_takes_files_of_every_age_and_pypi_names_the_modern_form(
    filename: str, project: str, version: str, because: str
) -> None:
    name = parse_upload_filename(filename, LENIENT)
    assert (name.filename, name.project, name.version) == (filename, project, version)
    assert because in " | ".join(name.warnings)
    assert problems(filename) == " | ".join(name.warnings)


@pytest.mark.parametrize(
    "filename",
    ["../a-1.tar.gz", "a-1\n.zip", "x\\a-1.egg", "\uff41-1.zip", "a-1.tar.gz.asc", "a-1.zst", "a-1.tar.zst", "a.zip",
     "-1.exe", "a-1 final.zip", "a-1-py2.7-<b>.egg", 'a-1-py2.7-".egg', "a-1.win32 (1).exe", "a-1-py3-none-any.WHL", "a-1-b1-py3-none-any.whl", "a" * 250 + "-1.zip"],
)  # fmt: skip
def test_va13_what_is_dangerous_or_no_package_is_refused_by_all_rules(filename: str) -> None:
    for rules in (LENIENT, PYPI):
        with pytest.raises(Refused):
            parse_upload_filename(filename, rules)


def test_old_names_are_cut_as_somebody_says() -> None:
    def cut(filename: str, project: str = "", version: str = "") -> tuple[str, str]:
        name = parse_upload_filename(filename, LENIENT, project=project, version=version)
        return name.project, name.version

    assert cut("foo-1-2.tar.gz") == ("foo", "1-2")
    assert cut("foo-1-2.tar.gz", "foo-1") == ("foo-1", "2")
    assert cut("foo-one-two.zip") == ("foo", "one-two")
    assert cut("foo-one-two.zip", "Foo_One") == ("foo-one", "two")
    assert cut("foo-one-two.zip", version="two") == ("foo-one", "two")
    assert cut("foo-1.0.tar.gz", "other", "9") == ("foo", "1.0")


@pytest.mark.parametrize(
    ("filename", "because"),
    [
        ("a-1-py3-none.whl", "4 parts"),
        ("a-b-1-py3-none-any.whl", "'b'"),
        ("a-1-1-2-py3-none-any.whl", "7 parts"),
        ("a b-1-py3-none-any.whl", "not a project name"),
        ("_a-1-py3-none-any.whl", "not a project name"),
        ("a__b-1-py3-none-any.whl", "not a project name"),
        ("a-one-py3-none-any.whl", "not a version"),
        ("a- 1-py3-none-any.whl", "not a version"),
        ("a-1-b1-py3-none-any.whl", "build number"),
        ("a-1-py3-none-.whl", "malformed tags"),
        ("a-1-py3..py2-none-any.whl", "malformed tags"),
        ("a-1-py3-none-a!y.whl", "malformed tags"),
        (
            f"a-1-{'.'.join('abcdefghijklmnopqrst')}-{'.'.join('abcdefghijklmnopqrst')}-{'.'.join('abcdefg')}.whl",
            "2800",
        ),
    ],
)
def test_va28_malformed_wheel_names_are_refused(filename: str, because: str) -> None:
    assert because in problems(filename)


@given(st.text(max_size=60) | st.from_regex(r"[a-c_.-]{1,6}-[0-9.a+!-]{1,6}-py3-none-any\.whl", fullmatch=True))
def test_what_is_taken_is_what_installers_take(filename: str) -> None:
    """A wheel name that we take means the same to `packaging`, which pip asks."""
    try:
        name = parse_upload_filename(filename)
    except Refused:
        return
    assert normalized_or_none(name.project) == name.project
    if name.kind == "wheel":
        try:
            project, version, _, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename as error:
            pytest.fail(f"packaging refuses what we take: {error}")
        assert str(project) == str(name.project)
        assert {str(tag) for tag in tags} == {tag.lower() for tag in name.tags}
        assert str(version) != ""


LEGACY = [
    ("numpy-1.6.0.win32-py2.7.exe", "numpy", "1.6.0", "wininst"),
    ("pywin32-214.win-amd64-py2.6.exe", "pywin32", "214", "wininst"),
    ("numpy-1.6.0-py2.7-macosx10.3.egg", "numpy", "1.6.0", "egg"),
    ("setuptools-0.6c11-py2.7.egg", "setuptools", "0.6c11", "egg"),
    ("foo-1.0.win32.msi", "foo", "1.0", "msi"),
    ("foo-1.0-1.noarch.rpm", "foo", "1.0", "rpm"),
    ("foo-bar-1.0-1.src.rpm", "foo-bar", "1.0", "rpm"),
    ("foo-1.0.linux-x86_64.tar.gz", "foo", "1.0", "dumb"),
    ("foo-1.0.macosx-10.9-x86_64.zip", "foo", "1.0", "dumb"),
    ("foo-1.0-py2.5-macosx10.4.dmg", "foo", "1.0", "dmg"),
    ("python-foo_1.0-1_all.deb", "python-foo", "1.0", "deb"),
    ("pytz-2004d.tar.bz2", "pytz", "2004d", "sdist"),
    ("foo-1.0.tgz", "foo", "1.0", "sdist"),
    ("foo-1.0.tar.Z", "foo", "1.0", "sdist"),
    ("foo-1.0.tar", "foo", "1.0", "sdist"),
    ("foo-1.0.zip", "foo", "1.0", "sdist"),
    ("a-b-1-2.tar.gz", "a-b", "1-2", "sdist"),
    ("a-b-1-2.tar.gz", "a-b-1", "2", "sdist"),
    ("my-linux-tools-1.0.tar.gz", "my-linux-tools", "1.0", "sdist"),
    ("Foo.Bar-1.0b1.tar.gz", "foo-bar", "1.0b1", "sdist"),
    ("foo_bar-1.0_1-py3-none-any.whl", "foo-bar", "1.0_1", "wheel"),
    ("Foo-1.0-beta-final.zip", "foo", "1.0-beta-final", "sdist"),
]


@pytest.mark.parametrize(("filename", "project", "version", "kind"), LEGACY)
def test_trap27_files_of_every_age_have_a_kind_and_a_version(
    filename: str, project: str, version: str, kind: str
) -> None:
    assert version_in(filename, ProjectName(project)) == version
    assert kind_of(filename) == kind
    assert project in candidate_projects(filename)


@pytest.mark.parametrize(
    "filename", ["", "-", "foo", "foo.tar.gz", "other-1.0.tar.gz", "foo-.zip", "-1.0.tar.gz", "\0-1.whl"]
)
def test_a_version_that_cannot_be_told_is_empty(filename: str) -> None:
    assert version_in(filename, ProjectName("foo")) == ""


@given(st.text(max_size=80) | st.text("-_.ab10", max_size=400), st.sampled_from(["a", "a-b", "b-1"]))
def test_reading_names_never_fails(filename: str, project: str) -> None:
    kind_of(filename)
    assert isinstance(version_in(filename, ProjectName(project)), str)
    candidates = candidate_projects(filename)
    assert len(candidates) == len(set(candidates)) <= CANDIDATE_LIMIT
    assert all(normalized_or_none(name) == name for name in candidates)


_projects = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,4}", fullmatch=True), min_size=1, max_size=4)
_versions = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(a[0-9])?(\.post[0-9])?", fullmatch=True)


@given(
    _projects,
    _versions,
    st.sampled_from("-_."),
    st.sampled_from([".tar.gz", ".zip", ".tgz", "-py2.7.egg", "-py3-none-any.whl"]),
)
def test_a_file_is_found_by_its_project_and_has_its_version(
    parts: list[str], version: str, separator: str, ending: str
) -> None:
    """The law that reading a directory of files relies on: the true project is among the candidates."""
    if ending.endswith(".whl"):
        separator = "_"
    filename = f"{separator.join(parts)}-{version}{ending}"
    project = ProjectName("-".join(parts))
    assert project in candidate_projects(filename)
    assert version_in(filename, project) == version


def test_the_likeliest_project_comes_first() -> None:
    assert candidate_projects("foo_bar-1.0.tar.gz")[0] == "foo-bar"
    assert candidate_projects("foo-bar-1.0.tar.gz")[0] == "foo-bar"
    assert candidate_projects("foo-1.0-1.tar.gz")[0] == "foo"
    assert candidate_projects("foo_bar-1.0-py3-none-any.whl")[0] == "foo-bar"


def test_hundreds_of_dashes_are_quick() -> None:
    assert len(candidate_projects("a-" * 2000 + "1.0.tar.gz")) <= CANDIDATE_LIMIT


_PARTS = st.sampled_from(
    ["demo", "Demo", "de_mo", "1", "1.0", "1.0rc1", "2.0.post1", "py3", "none", "any", "x" * 130, "", "1+a"]
)
_NAMES = st.lists(_PARTS, min_size=1, max_size=16).map("-".join)


@given(
    _NAMES,
    st.sampled_from([".whl", ".tar.gz", ".zip", ".win32.tar.gz", ".WHL", ""]),
    st.sampled_from(["demo", "de-mo", "demo-1"]),
)
def test_what_leads_to_a_project_is_what_has_it_among_its_candidates(stem: str, ending: str, project: str) -> None:
    filename = stem + ending
    assert leads_to(filename, ProjectName(project)) is (project in candidate_projects(filename))


@given(
    st.text(max_size=60) | st.from_regex(r"[a-c_.-]{1,6}-[0-9.a+!-]{1,6}(-1)?-py3-none-any\.(whl|WHL)", fullmatch=True)
)
def test_the_likeliest_project_is_the_first_candidate(filename: str) -> None:
    assert likeliest_project(filename) == next(iter(candidate_projects(filename)), None)
