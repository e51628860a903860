"""A migrated file is read as an equal configuration, and nothing about it is worth a word that was not before."""

from __future__ import annotations

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused
from pkgindex_mirror.bandersnatch.deviations import DEVIATIONS
from pkgindex_mirror.bandersnatch.migrating import migrated
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS, OWN_KEYS, SECTIONS
from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration, S3Settings
from tests.mirror.bandersnatch.files import examined, filtered, mirror, told
from tests.mirror.bandersnatch.test_reading import GUIDE, VALUES, TestS3


def again(place: Path, before: ExaminedConfiguration, **named: object) -> ExaminedConfiguration:
    """The configuration that the migrated file has."""
    return examined(place, migrated(before), name="pkgindex-mirror.toml", **named)  # type: ignore[arg-type]  # as `examined`


@pytest.mark.parametrize(("key", "text", "_value"), VALUES)
def test_each_key_survives(tmp_path: Path, key: str, text: str, _value: object) -> None:
    lines = ["[mirror]", *(["directory = /srv/pypi"] if key != "directory" else []), f"{key} = {text}"]
    before = examined(tmp_path, "\n".join(lines))
    after = again(tmp_path, before)
    assert after.configuration == before.configuration
    assert told(after, "warning") == []


_OWN = {"text": "3", "lines": "\n    a b, c\n    d"}
EVERYTHING = "\n".join(
    [
        "[mirror]",
        *(f"{key} = {text}" for key, text, _ in VALUES if (key, text) != ("global-timeout", "0")),
        "release-files = false",
        "download-mirror-no-fallback = true",
        "compat = raw-names pages",
        "storage-backend = s3",
        "[s3]",
        "region_name = eu",
        "aws_access_key_id = who",
        "aws_secret_access_key = a%%b\"\\'",
        "endpoint_url = https://minio.example",
        "signature_version = s3v4",
        "verify_concurrency = 7",
        "max_attempts = 2",
        "config_param_ServerSideEncryption = AES256",
        "[plugins]",
        "enabled =",
        *(f"    {name}" for name in reversed(FILTERS)),
        "[allowlist]",
        "packages =\n    demo>=1,<2\n    other",
        "requirements_path = /etc/reqs",
        "requirements =\n    a b.txt\n    c*.in",
        "[blocklist]",
        "packages =\n    bad\n    worse>1",
        "platforms =\n    windows\n    py2.7",
        "[filter_regex]",
        'packages =\n    a{1,2}.*\n    \\W\\"',
        "releases =\n    .+rc1$",
        "[filter_prerelease]",
        "packages =\n    demo",
        "[regex_project_metadata]",
        "search = true",
        "not-null:all:info.classifiers =\n    .*Python :: 3.*\n    MIT, or é \\d+",
        "[regex_release_file_metadata]",
        "search = false",
        "any:release_file.packagetype =\n    sdist",
        "[version_range_release_file_metadata]",
        "any:release_file.requires_python =\n    3.10\n    3.9",
        "[size_project_metadata]",
        "max_package_size = 1.5 GB",
        "[versions_count_project_metadata]",
        "min_versions = 2\nmax_versions = 100",
        "[latest_release]",
        "keep = 03\nsort_by = time",
        "[pkgindex]",
        *(f"{key} = {_OWN.get(kind, 'a')}" for key, kind in OWN_KEYS.items()),
        "[of others]",
        "a key = one\n    two %%",
        "empty =",
    ]
)


def test_the_file_with_everything_has_everything(tmp_path: Path) -> None:
    found = examined(tmp_path, EVERYTHING).configuration
    plain = MirrorConfiguration(directory="")
    same = {name for name in found.__struct_fields__ if getattr(found, name) == getattr(plain, name)}
    assert same == set()
    assert found.s3 is not None
    assert [
        name for name in S3Settings.__struct_fields__ if getattr(found.s3, name) == getattr(S3Settings(), name)
    ] == []
    settings = [
        (section, key)
        for section, keys in SECTIONS.items()
        for key in keys
        if key != ANY_KEY and not found.sections.text(section, key)
    ]
    assert settings == []


def test_everything_survives(tmp_path: Path) -> None:
    before = examined(tmp_path, EVERYTHING)
    assert before.errors == ()
    after = again(tmp_path, before)
    assert after.configuration == before.configuration
    assert again(tmp_path, after).configuration == before.configuration
    assert [notice.where for notice in after.notices if notice.level != "note"] == ["[of others]"]


@pytest.mark.parametrize("text", [GUIDE, TestS3.S3, "[mirror]\ndirectory = /x\nstorage-backend = s3\n"])
def test_other_files_survive(tmp_path: Path, text: str) -> None:
    before = examined(tmp_path, text)
    assert again(tmp_path, before).configuration == before.configuration


def test_each_deviation_survives(tmp_path: Path) -> None:
    for word in [*DEVIATIONS, "strict"]:
        before = mirror(tmp_path, f"compat = {word}")
        assert before.configuration.compat
        assert again(tmp_path, before).configuration == before.configuration


def test_the_clearer_form(tmp_path: Path) -> None:
    before = filtered(
        tmp_path,
        "allowlist_project",
        "latest_release",
        rest="[allowlist]\npackages = a b\n[latest_release]\nkeep = 3\n",
    )
    document = tomllib.loads(migrated(before))
    assert document == {
        "mirror": {"directory": "/srv/pypi"},
        "filters": {
            "enabled": ["allowlist_project", "latest_release"],
            "allowlist": {"packages": ["a", "b"]},
            "latest_release": {"keep": 3},
        },
    }


def test_a_proxy_of_the_environment_stays_there(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://user:secret@proxy:1"}
    before = mirror(tmp_path, environ=environ)
    assert "secret" not in migrated(before)
    assert again(tmp_path, before, environ=environ).configuration == before.configuration


def test_a_reference_that_was_filled_is_not_filled_again(tmp_path: Path) -> None:
    before = mirror(tmp_path, "diff-file = {{a_b}}/{{mirror_directory}}")
    assert before.configuration.diff_file == "{{a_b}}//srv/pypi"
    assert again(tmp_path, before).configuration == before.configuration


def test_a_configuration_with_errors_is_not_migrated(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"line 3, \[mirror\] workers"):
        migrated(mirror(tmp_path, "workers = x"))


def test_a_section_without_a_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"the section \[enabled\] has no place in a TOML file"):
        migrated(mirror(tmp_path, rest="[enabled]\na = b\n"))


class TestToml:
    """What is wrong with a file in TOML."""

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[mirror", "this is no TOML: "),
            ("[miror]", "there is no table [miror]: did you mean 'mirror'?"),
            ("mirror = 1", "mirror is a table: write [mirror]"),
            ("[filters]\nallowlist = 1", "[filters] allowlist is a table: write [filters.allowlist]"),
            ("[mirror]\nworkers = {}", "[mirror] workers is a text, a number, true, false or a list of texts"),
            ("[filters]\nenabled = [1]", "[filters] enabled is a list of texts of one line each"),
            (
                '[filters.allowlist]\npackages = ["a\\nb"]',
                "[filters.allowlist] packages is a list of texts of one line each",
            ),
            ('[mirror]\ndirectory = "a\\u0000"', "[mirror] directory has a NUL"),
        ],
    )
    def test_another_form_is_refused(self, tmp_path: Path, text: str, problem: str) -> None:
        with pytest.raises(Refused) as caught:
            examined(tmp_path, text, name="x.toml")
        assert problem in caught.value.problems[0]

    def test_an_unknown_key_is_an_error(self, tmp_path: Path) -> None:
        found = examined(tmp_path, '[mirror]\ndirectory = "/x"\nworker = 1\n', name="x.toml")
        assert told(found, "error") == ["[mirror] worker: there is no such key; it has no effect"]
        assert found.errors[0].advice == "did you mean 'workers'?"

    def test_a_percent_sign_is_itself(self, tmp_path: Path) -> None:
        found = examined(tmp_path, '[mirror]\ndirectory = "/a%b"\n', name="x.toml")
        assert found.configuration.directory == "/a%b"


def _texts(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.text(alphabet, max_size=12)


_ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n")
_KEYS = st.text(st.characters(categories=["L", "Nd"], include_characters="._: -[\"'"), min_size=1, max_size=8)


@st.composite
def _sections(draw: st.DrawFn) -> str:
    lines = []
    for name in draw(
        st.lists(
            st.text(st.characters(categories=["L"], include_characters=" .-'"), min_size=1, max_size=8),
            unique=True,
            max_size=3,
        )
    ):
        lines.append(f"[x{name}]")
        keys = {key.strip() for key in draw(st.lists(_KEYS, max_size=3))}
        lines += [
            f"k{key} = {draw(_texts(_ANY)).replace('%', '%%')}\n    {draw(_texts(_ANY)).replace('%', '%%')}"
            for key in keys
        ]
    return "\n".join(lines)


@given(_sections())
def test_sections_of_others_survive_letter_by_letter(text: str) -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        try:
            before = mirror(place, rest=text)
        except Refused:  # two keys or sections of one name
            return
        assert again(place, before).configuration == before.configuration
