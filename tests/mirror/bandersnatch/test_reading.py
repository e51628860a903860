"""bandersnatch.conf is read as bandersnatch reads it; the cases were seen with bandersnatch 6.8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.errors import Missing, Refused
from pkgindex_mirror.bandersnatch.options import MIRROR_KEYS, MIRROR_OPTIONS
from pkgindex_mirror.bandersnatch.reading import read_configuration
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration, S3Settings
from tests.mirror.bandersnatch.files import examined, filtered, mirror, sound, told, written

GUIDE = """\
    [mirror]
    directory = /srv/pypi
    master = https://pypi.org
    workers = 3
    hash-index = false
    stop-on-error = false

    [plugins]
    enabled =
        allowlist_project

    [allowlist]
    packages =
        requests
        numpy
        pandas
"""
"""The configuration of a guide from which many begin."""


def test_the_configuration_of_the_guide_needs_no_word(tmp_path: Path) -> None:
    configuration = sound(examined(tmp_path, GUIDE))
    assert configuration.plugins == ("allowlist_project",)
    assert configuration.sections.lines("allowlist", "packages") == ("requests", "numpy", "pandas")
    assert configuration.url == "file:///srv/pypi"


def test_the_guides_list_on_one_line_is_a_list_with_a_warning(tmp_path: Path) -> None:
    found = filtered(tmp_path, "allowlist_project", rest="[allowlist]\npackages = requests numpy pandas")
    assert found.configuration.sections.lines("allowlist", "packages") == ("requests", "numpy", "pandas")
    assert told(found, "warning") == [
        "line 7, [allowlist] packages: 'requests numpy pandas' is read as several entries; bandersnatch takes it for one"
    ]
    assert not found.errors


def test_the_defaults_are_those_of_the_value(tmp_path: Path) -> None:
    assert sound(mirror(tmp_path)) == MirrorConfiguration(directory="/srv/pypi")


VALUES: list[tuple[str, str, Any]] = [
    ("directory", "/a b", "/a b"),
    ("storage-filesystem-manage-permissions", "no", False),
    ("master", "https://mirror.example/pypi/", "https://mirror.example/pypi"),
    ("allow-non-https", "on", True),
    ("proxy", "socks5://localhost:1080", "socks5://localhost:1080"),
    ("timeout", "2.5", 2.5),
    ("global-timeout", "60", 60.0),
    ("global-timeout", "0", 18_000.0),
    ("workers", "7", 7),
    ("verifiers", "1", 1),
    ("download-mirror", "https://near.example", "https://near.example"),
    ("json", "1", True),
    ("core-metadata", "FALSE", False),
    ("root_uri", "https://files.example/", "https://files.example"),
    ("simple-format", "json", "JSON"),
    ("hash-index", "Yes", True),
    ("keep_index_versions", "4", 4),
    ("cleanup", "true", True),
    ("compare-method", "stat", "stat"),
    ("digest_name", "MD5", "md5"),
    ("stop-on-error", "true", True),
    ("diff-file", "/srv/list", "/srv/list"),
    ("diff-append-epoch", "true", True),
    ("log-config", "/etc/log.conf", "/etc/log.conf"),
    ("closure", "wanted.json", "wanted.json"),
    ("removed", "hide", "hide"),
    ("removed-after-days", "30", 30.0),
    ("shrink-limit", "25", 25.0),
    ("file-policies", "Nvidia_* on-demand", ("nvidia-* on-demand",)),
]


@pytest.mark.parametrize(("key", "text", "value"), VALUES)
def test_each_key_has_its_value(tmp_path: Path, key: str, text: str, value: Any) -> None:
    lines = ["[mirror]", *(["directory = /srv/pypi"] if key != "directory" else []), f"{key} = {text}"]
    found = examined(tmp_path, "\n".join(lines))
    assert getattr(sound(found), MIRROR_KEYS[key].field) == value
    assert found.origins[MIRROR_KEYS[key].field] == f"line {len(lines)}"


def test_the_cases_are_about_all_keys() -> None:
    elsewhere = {"storage-backend", "release-files", "download-mirror-no-fallback"}
    assert {key for key, _, _ in VALUES} | elsewhere == {option.key for option in MIRROR_OPTIONS}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("workers = 0", "0 is less than 1"),
        ("workers = many", "'many' is no whole number"),
        ("timeout = -1", "-1 is no size of time"),
        ("timeout = nan", "nan is no size of time"),
        ("json = perhaps", "'perhaps' is neither true nor false"),
        ("json =", "'' is neither true nor false"),
        ("master = pypi.org", "this is no URL that begins with http:// or https://"),
        ("master =", "this is no URL that begins with http:// or https://"),
        ("download-mirror = near", "this is no URL that begins with http:// or https://"),
        ("simple-format = XML", "'XML' is none of ALL, HTML, JSON"),
        ("compare-method = size", "'size' is none of hash, stat"),
        ("storage-backend = swift", "'swift' is none of filesystem, s3"),
        ("digest_name = crc", "'crc' is none of sha256, sha512, sha384, sha224, sha1, md5"),
        ("shrink-limit = 101", "101 is not from 0 to 100"),
        ("file-policies = torch", "'torch' is no pattern with one of the policies immediate, on-demand and streamed"),
        (
            "file-policies = torch later",
            "'torch later' is no pattern with one of the policies immediate, on-demand and streamed",
        ),
        ("log-config = a\n  b", "this is one text, and has several lines"),
        ("log-config = 100%", "a single % is the beginning of a reference such as %(key)s"),
        ("log-config = %(there)s", "%(there)s stands for a key that is not in this section"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    found = mirror(tmp_path, line)
    key = line.partition(" ")[0]
    assert told(found, "error") == [f"line 3, [mirror] {key}: {problem}"]
    with pytest.raises(Refused, match=r"bandersnatch.conf: line 3"):
        read_configuration(found.path, {})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[mirror]\ndirectory =\n", "line 2, [mirror] directory: there is no directory"),
        ("[mirror]\nDirectory = /srv\n", "[mirror] directory: there is no directory"),
        ("", "[mirror]: there is no such section"),
    ],
)
def test_without_a_directory_nothing_is_mirrored(tmp_path: Path, text: str, place: str) -> None:
    assert told(examined(tmp_path, text), "error") == [place]


class TestSyntax:
    """Only `=` separates, keys have a case, `%` refers, comments have lines of their own."""

    def test_references_and_defaults_of_all_sections(self, tmp_path: Path) -> None:
        found = examined(
            tmp_path,
            """\
            [DEFAULT]
            base = /srv
            keep_index_versions = 2
            json = true
            other = 100%
            [mirror]
            directory = %(base)s/pypi
            download-mirror = %(master)s/near
            """,
        )
        assert sound(found).directory == "/srv/pypi"
        assert found.configuration.download_mirror == "https://pypi.org/near"
        assert found.configuration.keep_index_versions == 2
        assert found.origins["keep_index_versions"] == "[DEFAULT]"
        assert not found.configuration.json, "a default of [mirror] counts more"

    def test_a_percent_sign_is_written_twice(self, tmp_path: Path) -> None:
        found = filtered(tmp_path, "regex_project", rest="[filter_regex]\npackages =\n    a%%b.*\n")
        assert sound(found).sections["filter_regex"] == {"packages": "a%b.*"}

    def test_a_percent_sign_where_nobody_reads_it_is_no_error(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "unknown = 5%")
        assert not found.errors

    def test_comments_have_lines_of_their_own(self, tmp_path: Path) -> None:
        found = mirror(
            tmp_path,
            "; one",
            "# another",
            "log-config = /a;b",
            rest="[plugins]\nenabled =\n    allowlist_project\n[allowlist]\npackages =\n    a\n    # not b\n    ; nor c\n    d  # the last\n",
        )
        configuration = sound(found)
        assert configuration.log_config == "/a;b"
        assert configuration.sections.lines("allowlist", "packages") == ("a", "d")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("directory = /x\n", "line 1 stands before the first [section]"),
            ("[mirror]\ndirectory: /x\n", "line 2 has no '=': only = separates a key from its value"),
            ("[mirror]\ndirectory\n", "line 2 has no '='"),
            ("[mirror]\njson = a\njson = b\n", "line 3: [mirror] has the key json twice"),
            ("[mirror]\n[mirror]\n", "line 2: the section [mirror] is there twice"),
            ("[mirror]\n\0", "line 2 has a NUL"),
        ],
    )
    def test_a_file_of_another_form_is_refused_with_the_line(self, tmp_path: Path, text: str, problem: str) -> None:
        with pytest.raises(Refused) as caught:
            examined(tmp_path, text)
        assert caught.value.problems == (f"{tmp_path}/bandersnatch.conf: {problem}",)

    def test_keys_have_a_case(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "JSON = true")
        assert not found.configuration.json
        assert told(found, "warning") == ["line 3, [mirror] JSON: there is no such key; it has no effect"]

    def test_another_encoding_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bandersnatch.conf"
        path.write_bytes(b"[mirror]\n# caf\xe9\n")
        with pytest.raises(Refused, match="line 2 is not UTF-8"):
            read_configuration(path, {})

    def test_a_byte_order_mark_is_no_part_of_the_text(self, tmp_path: Path) -> None:
        assert sound(examined(tmp_path, "\ufeff[mirror]\ndirectory = /x\n")).directory == "/x"


class TestFiles:
    def test_a_missing_file_is_missing_and_the_hint_is_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(Missing) as caught:
            read_configuration(tmp_path / "none.conf", {})
        assert caught.value.message == f"there is no file {tmp_path}/none.conf"
        example = caught.value.hint.partition("\n\n")[2]
        assert sound(examined(tmp_path, example)).plugins == ("allowlist_project",)

    def test_a_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="cannot be read"):
            read_configuration(tmp_path, {})

    def test_the_path_of_morgan_is_recognised(self, tmp_path: Path) -> None:
        found = examined(tmp_path, "[env.a]\npython_version = 3.12\n[requirements]\nrequests = >=2\n")
        assert told(found, "error") == [
            "line 3, [requirements]: this is a configuration of morgan, and not of bandersnatch"
        ]

    def test_all_errors_are_told_together(self, tmp_path: Path) -> None:
        path = written(tmp_path, "[mirror]\nworkers = x\njson = y\n")
        with pytest.raises(Refused) as caught:
            read_configuration(path, {})
        assert len(caught.value.problems) == 3


class TestDependents:
    def test_an_http_upstream_must_be_allowed(self, tmp_path: Path) -> None:
        for master in ("http://localhost", "HTTP://localhost"):
            assert told(mirror(tmp_path, f"master = {master}"), "error") == [
                "line 3, [mirror] master: the upstream is http, and anybody on the way could replace what it sends"
            ]
            assert not mirror(tmp_path, f"master = {master}", "allow-non-https = true").errors
        assert not mirror(tmp_path, "master = HTTP://localhost", "compat = url-case").errors

    def test_more_workers_than_bandersnatch_takes_are_noted(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "workers = 50")
        assert found.configuration.workers == 50
        assert told(found, "note") == [
            "line 3, [mirror] workers: bandersnatch refuses more than 10 workers; here they are accepted"
        ]
        assert not mirror(tmp_path, "workers = 10").notices

    def test_no_fallback_without_a_mirror_has_no_effect(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "download-mirror-no-fallback = true")
        assert not found.configuration.download_mirror_no_fallback
        assert len(told(found, "warning")) == 1
        both = mirror(tmp_path, "download-mirror-no-fallback = true", "download-mirror = https://near.example")
        assert sound(both).download_mirror_no_fallback

    def test_links_lead_abroad_when_no_files_are_mirrored(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "release-files = false")
        assert found.configuration.root_uri == "https://files.pythonhosted.org"
        assert found.origins["root_uri"] == "because of release-files"
        assert len(told(found, "warning")) == 1
        told_so = mirror(tmp_path, "release-files = false", "root_uri = https://files.example")
        assert sound(told_so).root_uri == "https://files.example"

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("{{mirror_directory}}/new", "/srv/pypi/new"),
            ("/a/{{ mirror _ log-config }}", "/a//logs"),
            ("{{mirror_storage-backend}}", "filesystem"),
            ("{{mirror_directory}", "{{mirror_directory}"),
            ("/plain_path", "/plain_path"),
            ("{{a_b}}/{{mirror_directory}}", "{{a_b}}//srv/pypi"),
        ],
    )
    def test_the_reference_of_the_diff_file_is_filled_once(self, tmp_path: Path, written: str, meant: str) -> None:
        found = mirror(tmp_path, "log-config = /logs", f"diff-file = {written}")
        assert sound(found).diff_file == meant

    @pytest.mark.parametrize("reference", ["{{some_thing}}", "{{b_a}}", "{{mirror_x}}"])
    def test_a_reference_to_nothing_falls_back_to_the_root(self, tmp_path: Path, reference: str) -> None:
        found = mirror(tmp_path, f"diff-file = {reference}/x", rest="[b]\na = 1\n")
        assert found.configuration.diff_file == "/srv/pypi/mirrored-files"
        assert "line 3, [mirror] diff-file: " in told(found, "warning")[0]

    @pytest.mark.parametrize(
        ("lines", "kept", "words"),
        [
            (("keep-index-versions = 3",), 3, "it is read here"),
            (("keep-index-versions = 3", "keep_index_versions = 5"), 5, "it has no effect"),
            (("keep-index-versions = 3", "compat = keep-index-versions"), 0, "it has no effect"),
        ],
    )
    def test_both_spellings_of_keep_index_versions(
        self, tmp_path: Path, lines: tuple[str, ...], kept: int, words: str
    ) -> None:
        found = mirror(tmp_path, *lines)
        assert found.configuration.keep_index_versions == kept
        (warning,) = told(found, "warning")
        assert words in warning

    @pytest.mark.parametrize(
        ("lines", "removed"),
        [
            (("delete_missing_packages = true",), "delete"),
            (("delete_missing_packages = false", "cleanup_todo = true"), "keep"),
            (("delete_missing_packages = true", "removed = hide"), "hide"),
        ],
    )
    def test_missing_packages_are_deleted_by_policy(self, tmp_path: Path, lines: tuple[str, ...], removed: str) -> None:
        assert sound(mirror(tmp_path, *lines)).removed == removed

    @pytest.mark.parametrize("key", ["delete_missing_packages", "cleanup_todo", "keep-index-versions"])
    def test_other_spellings_have_values_too(self, tmp_path: Path, key: str) -> None:
        (error,) = told(mirror(tmp_path, f"{key} = maybe"), "error")
        assert error.startswith(f"line 3, [mirror] {key}: 'maybe' is n")


class TestProxies:
    @pytest.mark.parametrize(
        ("environ", "proxy", "variable"),
        [
            ({"HTTP_PROXY": "http://h:1", "HTTPS_PROXY": "http://s:1"}, "http://s:1", "HTTPS_PROXY"),
            ({"ALL_PROXY": "http://a:1", "SOCKS_PROXY": "socks5://s:1"}, "socks5://s:1", "SOCKS_PROXY"),
            ({"SOCKS4_PROXY": "socks4://4:1", "SOCKS5_PROXY": "socks5://5:1"}, "socks5://5:1", "SOCKS5_PROXY"),
            ({"HTTP_PROXY": "http://h:1", "http_proxy": "http://small:1"}, "http://small:1", "http_proxy"),
            ({"HTTP_PROXY": "http://h:1", "http_proxy": "", "ALL_PROXY": "http://a:1"}, "http://a:1", "ALL_PROXY"),
            ({"HTTP_PROXY": "http://h:1", "REQUEST_METHOD": "GET"}, "", ""),
            ({"https_proxy": "http://s:1"}, "http://s:1", "https_proxy"),
        ],
    )
    def test_the_environment_has_an_order(
        self, tmp_path: Path, environ: dict[str, str], proxy: str, variable: str
    ) -> None:
        found = mirror(tmp_path, environ=environ)
        assert sound(found).proxy == proxy
        assert found.origins["proxy"] == (f"environment variable {variable}" if variable else "default")

    def test_the_file_comes_before_the_environment(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "proxy = http://file:1", environ={"HTTPS_PROXY": "http://s:1"})
        assert sound(found).proxy == "http://file:1"

    def test_a_text_that_is_no_url_is_ignored_with_a_warning(self, tmp_path: Path) -> None:
        for found in (
            mirror(tmp_path, environ={"HTTPS_PROXY": "s:1"}),
            mirror(tmp_path, "proxy = s:1", environ={"HTTPS_PROXY": "http://s:1"}),
        ):
            assert found.configuration.proxy == ""
            assert found.origins["proxy"] == "default"
            (warning,) = told(found, "warning")
            assert "is ignored, as in bandersnatch" in warning


class TestS3:
    S3 = """\
        [mirror]
        directory = /bucket/some/prefix
        storage-backend = s3
        [s3]
        region_name = eu
        endpoint_url = https://minio.example
        aws_secret_access_key = a%%b
        config_param_ServerSideEncryption = AES256
        verify_concurrency = 5
    """

    def test_the_section(self, tmp_path: Path) -> None:
        configuration = sound(examined(tmp_path, self.S3))
        assert configuration.url == "s3://bucket/some/prefix"
        assert configuration.s3 == S3Settings(
            region_name="eu",
            endpoint_url="https://minio.example",
            aws_secret_access_key="a%b",
            verify_concurrency=5,
            parameters={"ServerSideEncryption": "AES256"},
        )
        assert "a%b" not in repr(configuration.s3)
        assert "a%b" not in repr(configuration)

    def test_without_a_section_the_environment_counts(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "storage-backend = s3")
        assert found.configuration.s3 == S3Settings()
        assert len(told(found, "note")) == 1

    def test_a_bucket_is_needed(self, tmp_path: Path) -> None:
        found = examined(tmp_path, "[mirror]\ndirectory = /\nstorage-backend = s3\n[s3]\n")
        assert told(found, "error") == ["line 2, [mirror] directory: there is no bucket"]

    def test_the_section_of_another_backend_has_no_effect(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest="[s3]\nregion_nam = eu\n")
        assert found.configuration.s3 is None
        assert told(found, "warning") == [
            "line 3, [s3]: this has no effect with another storage-backend than s3",
            "line 4, [s3] region_nam: there is no such key; it has no effect",
        ]

    def test_a_refusal_does_not_repeat_a_secret(self, tmp_path: Path) -> None:
        found = examined(tmp_path, self.S3.replace("a%%b", "one\n            two"))
        assert told(found, "error") == ["line 7, [s3] aws_secret_access_key: this is refused"]


def test_these_tests_do_not_stand_in_the_place_of_bandersnatch() -> None:
    assert __name__ == "tests.mirror.bandersnatch.test_reading"
