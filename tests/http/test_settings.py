"""Settings come from one file, variables and flags; a flag beats a variable, a variable beats the file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.config import Settings, default_data_directory, shown
from pkgindex_core.errors import Refused
from pkgindex_core.options import Option, options_of
from pkgindex_http.settings import ServerSettings, load_settings

OPTIONS = {one.key: one for one in options_of(ServerSettings)}


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        file = tmp_path / "pkgindex.toml"
        file.write_text(text)
        return file

    return write


def problems(file: Path | None = None, environ: dict[str, str] | None = None, **flags: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        load_settings(file=file, environ=environ or {}, flags=flags)
    return [problem.removeprefix(f"{file}: ") for problem in refused.value.problems]


class TestPrecedence:
    FILE = "port = 1\nthreads = 1\nhost = 'file'\n[mirror]\nexpiry = 1\n"

    def test_defaults_stand_where_nothing_is_said(self):
        settings = load_settings(environ={})
        assert (settings.host, settings.port, settings.mirror.expiry) == ("127.0.0.1", 3141, 1800)
        assert settings.default_index == "root/dev"
        assert settings.upstream == "https://pypi.org/simple/"

    def test_the_file_beats_defaults(self, written):
        settings = load_settings(file=written(self.FILE), environ={})
        assert (settings.port, settings.threads, settings.host, settings.mirror.expiry) == (1, 1, "file", 1)

    def test_variables_beat_the_file(self, written):
        environ = {"PKGINDEX_PORT": "2", "PKGINDEX_MIRROR_EXPIRY": "2"}
        settings = load_settings(file=written(self.FILE), environ=environ)
        assert (settings.port, settings.threads, settings.mirror.expiry) == (2, 1, 2)

    def test_flags_beat_variables(self, written):
        environ = {"PKGINDEX_PORT": "2", "PKGINDEX_THREADS": "2"}
        flags = {"port": "3", "mirror.expiry": 3, "threads": None}
        settings = load_settings(file=written(self.FILE), environ=environ, flags=flags)
        assert (settings.port, settings.threads, settings.mirror.expiry) == (3, 2, 3)

    def test_a_variable_names_the_file(self, written):
        assert load_settings(environ={"PKGINDEX_CONFIG": str(written(self.FILE))}).host == "file"

    def test_the_file_of_the_flag_beats_that_of_the_variable(self, written):
        settings = load_settings(file=written(self.FILE), environ={"PKGINDEX_CONFIG": "no such file"})
        assert settings.host == "file"

    @pytest.mark.parametrize("text", [".", "./"])
    def test_the_current_directory_may_hold_the_data(self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pkgindex.toml").write_text(f"data = '{text}'\n")
        for settings in (
            load_settings(environ={}, flags={"data": text}),
            load_settings(environ={"PKGINDEX_DATA": text}),
            load_settings(environ={}, file=Path("pkgindex.toml")),
        ):
            assert settings.data.absolute() == tmp_path
            assert settings.blobs == f"{tmp_path.as_uri()}/blobs"

    @pytest.mark.parametrize("key", [key for key, one in OPTIONS.items() if not one.is_open_table])
    def test_every_option_can_be_given_in_all_three_ways(self, key: str, written):
        texts = {"data": "/d", "store": "memory://", "blobs": "memory://", "outside_url": "https://h/p"}
        texts |= {
            "upstream": "https://h/",
            "follow": "https://h/",
            "default_index": "a/b",
            "trusted_proxies": "10.0.0.0/8",
            "log_format": "text",
            "object_downloads": "redirect",
            "max_user_option_bytes": "65536",
        }
        texts |= {
            "log_level": "error",
            "access_log": "false",
            "open_registration": "true",
            "open_metrics": "true",
            "audit_reads": "true",
            "audit_reads_required": "true",
            "port": "80",
            "threads": "3",
            "workers": "4",
        }
        text = texts.get(key, "8192" if isinstance(OPTIONS[key].default, (int, float)) else "some")
        literal = (
            text
            if text.isdigit() or text in {"false", "true"}
            else f"[{text!r}]"
            if ", " in text or "list" in OPTIONS[key].kind
            else repr(text)
        )
        table, _, name = key.rpartition(".")
        from_file = load_settings(
            file=written(f"[{table}]\n{name} = {literal}" if table else f"{name} = {literal}"), environ={}
        )
        from_variable = load_settings(environ={OPTIONS[key].variable: text})
        from_flag = load_settings(environ={}, flags={key: text})
        assert shown(from_file)[key] == shown(from_variable)[key] == shown(from_flag)[key]
        assert shown(from_file)[key] != shown(load_settings(environ={}))[key]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("prot = 1", "unknown option 'prot'; did you mean 'port'?"),
            ("outside-url = 'x'", "unknown option 'outside-url'; did you mean 'outside_url'?"),
            ("expiry = 1", "unknown option 'expiry'; did you mean 'mirror.expiry'?"),
            ("[mirror]\nport = 1", "unknown option 'mirror.port'; did you mean 'port'?"),
            ("[miror]\nexpiry = 1", "unknown option 'miror'; did you mean 'mirror'?"),
            ("zzzzzz = 1", "unknown option 'zzzzzz'; the documentation of the server lists every option"),
            ("mirror = 1", "'mirror' is a table; write [mirror] with its options below it"),
            ("port = '80'", "port: a whole number from 0 to 65535 is expected, not '80'"),
            ("port = 70000", "port: a whole number from 0 to 65535 is expected, not 70000"),
            ("access_log = 1", "access_log: true or false is expected, not 1"),
            ("log_format = 'xml'", "log_format: `auto` or `json` or `text` is expected, not 'xml'"),
            ("trusted_proxies = ['::1', 'lan', 7]", "trusted_proxies: a list of texts is expected, not ['::1', 'lan', 7]"),
            ("trusted_proxies = ['::1', 'lan']", "trusted_proxies: 'lan' is not a network; write an address or a network, such as 10.0.0.0/8 or ::1"),
            ("default_index = 'dev'", "default_index: invalid index name 'dev'"),
            ("outside_url = 'ftp://h'", "outside_url: write a scheme, a host and optionally a path, such as https://packages.example.com/pypi"),
            ("outside_url = 'https://h?q'", "outside_url: write a scheme, a host and optionally a path, such as https://packages.example.com/pypi"),
            ("upstream = 'file:///etc'", "upstream: the URL names no host"),
            ("realm = 'a\"b'", 'realm: a realm must be printable ASCII without " and \\'),
            ("data = ''", "data: a path is expected, not ''"),
            ("[plugins]\nmirror = 1", "plugins: a table for each name is expected"),
        ],
    )  # fmt: skip
    def test_the_file_is_wrong(self, written, text: str, problem: str):
        assert problems(written(text)) == [problem]

    def test_a_file_that_is_no_toml_says_where(self, written):
        (problem,) = problems(written("port = \n"))
        assert "line 1" in problem

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path):
        assert problems(tmp_path / "absent.toml") == ["No such file or directory"]

    def test_unknown_variables_name_the_nearest(self):
        assert problems(environ={"PKGINDEX_OUTSIDE": "x"}) == [
            "unknown variable PKGINDEX_OUTSIDE; did you mean 'PKGINDEX_OUTSIDE_URL'?"
        ]

    def test_everything_of_all_sources_is_told_at_once(self, written):
        found = problems(written("prot = 1"), {"PKGINDEX_THREADS": "many"}, port="none")
        assert [problem.partition(":")[0] for problem in found] == ["unknown option 'prot'; did you mean 'port'?", "PKGINDEX_THREADS", "--port"]  # fmt: skip

    def test_a_secret_is_not_repeated(self, written):
        for text in ("store = ['hush']", "upstream = 'https://u:hush@h:port/'", "[plugins]\nldap = 'hush'"):
            assert "hush" not in "".join(problems(written(text)))

    def test_variables_of_other_programs_and_of_service_links_are_left_alone(self):
        links = {
            "PKGINDEX_PORT": "tcp://10.0.0.1:3141",
            "PKGINDEX_PORT_3141_TCP": "tcp://10.0.0.1:3141",
            "PKGINDEX_PORT_3141_TCP_ADDR": "10.0.0.1",
            "PKGINDEX_SERVICE_HOST": "10.0.0.1",
            "PKGINDEX_SERVICE_PORT_HTTP": "3141",
        }
        others = {"HOME": "/root", "PKGINDEX_FAILPOINTS": "x", "MY_PKGINDEX_PORT": "1"}
        assert load_settings(environ=links | others).port == 3141


class TestValues:
    @pytest.mark.parametrize(
        ("text", "count"), [("5", 5), ("1KiB", 1024), ("1.5 GiB", 3 * 2**29), ("2MB", 2_000_000), ("7 tib", 7 * 2**40)]
    )
    def test_bytes_may_carry_a_unit(self, text: str, count: int):
        assert load_settings(environ={"PKGINDEX_MAX_UPLOAD_BYTES": text}).max_upload_bytes == count

    @pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("2min", 120), ("1 h", 3600), ("1d", 86400)])
    def test_seconds_may_carry_a_unit(self, text: str, seconds: int):
        assert load_settings(environ={"PKGINDEX_MIRROR_EXPIRY": text}).mirror.expiry == seconds

    def test_a_unit_works_in_the_file_too(self, written):
        assert load_settings(file=written("max_upload_bytes = '3 GiB'"), environ={}).max_upload_bytes == 3 * 2**30

    def test_a_unit_of_another_kind_is_refused(self):
        assert problems(environ={"PKGINDEX_MAX_UPLOAD_BYTES": "3min"}) == [
            "PKGINDEX_MAX_UPLOAD_BYTES: a whole number of bytes of at least 1 is expected, not '3min'"
        ]

    @given(st.lists(st.ip_addresses().map(str), max_size=5))
    def test_networks_are_read_from_a_list_with_commas(self, addresses: list[str]):
        settings = load_settings(environ={"PKGINDEX_TRUSTED_PROXIES": ", ".join(addresses)})
        assert [network.partition("/")[0] for network in settings.trusted_proxies] == addresses

    @given(
        st.sampled_from([*OPTIONS.values()]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    )
    def test_any_text_is_a_setting_or_a_refusal(self, one: Option, text: str):
        with suppress(Refused):
            assert one.key in shown(load_settings(environ={one.variable: text}))

    def test_an_outside_url_ends_without_a_slash(self):
        assert load_settings(environ={"PKGINDEX_OUTSIDE_URL": "https://h/pypi/"}).outside_url == "https://h/pypi"

    def test_relative_paths_in_the_file_count_from_the_file(self, written):
        file = written("data = 'here'")
        assert load_settings(file=file, environ={}).data == file.parent / "here"

    def test_relative_paths_elsewhere_count_from_where_the_program_runs(self):
        assert load_settings(environ={"PKGINDEX_DATA": "here"}).data == Path("here")

    def test_the_home_directory_is_known_by_its_sign(self):
        assert load_settings(environ={"PKGINDEX_DATA": "~/index"}).data == Path.home() / "index"


class TestStores:
    def test_stores_lie_in_the_data_directory_unless_said_otherwise(self):
        settings = Settings(data=Path("/srv/the index"))
        assert settings.store == "sqlite:///srv/the%20index/index.sqlite"
        assert settings.blobs == "file:///srv/the%20index/blobs"

    def test_a_relative_data_directory_gives_absolute_urls(self):
        assert Settings(data=Path("here")).store == f"sqlite://{Path.cwd().as_posix()}/here/index.sqlite"

    def test_what_is_said_stands(self):
        settings = Settings(data=Path("/srv"), store="memory://", blobs="s3://bucket")
        assert (settings.store, settings.blobs) == ("memory://", "s3://bucket")


class TestDataDirectory:
    @pytest.mark.parametrize(
        ("platform", "environ", "expected"),
        [
            ("linux", {}, "~/.local/share/pkgindex"),
            ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/pkgindex"),
            ("linux", {"XDG_DATA_HOME": "relative"}, "~/.local/share/pkgindex"),
            ("darwin", {"XDG_DATA_HOME": "/xdg"}, "~/Library/Application Support/pkgindex"),
            ("win32", {"LOCALAPPDATA": "/local"}, "/local/pkgindex"),
        ],
    )
    def test_is_where_a_persons_data_belong(self, platform: str, environ: dict[str, str], expected: str):
        assert default_data_directory(environ, platform=platform) == Path(expected).expanduser()

    def test_is_the_default(self):
        assert load_settings(environ={"XDG_DATA_HOME": "/xdg"}).data.parts[-1] == "pkgindex"


class TestPluginTables:
    def test_are_handed_on_as_they_are(self, written):
        file = written("[plugins.mirror]\nallow_networks = ['10.0.0.0/8']\n[plugins.'text/html']\nx = 1\n")
        assert load_settings(file=file, environ={}).plugins == {
            "mirror": {"allow_networks": ["10.0.0.0/8"]},
            "text/html": {"x": 1},
        }

    def test_variables_beat_single_entries_and_are_toml_or_text(self, written):
        file = written("[plugins.mirror]\nwait = 1\nattempts = 1\n")
        environ = {
            "PKGINDEX_PLUGINS__MIRROR__WAIT": "2.5",
            "PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS": '["10.0.0.0/8"]',
            "PKGINDEX_PLUGINS__LDAP__PASSWORD": "hush, it's = secret",
        }
        assert load_settings(file=file, environ=environ).plugins == {
            "mirror": {"wait": 2.5, "attempts": 1, "allow_networks": ["10.0.0.0/8"]},
            "ldap": {"password": "hush, it's = secret"},
        }

    @pytest.mark.parametrize("variable", ["PKGINDEX_PLUGINS__MIRROR", "PKGINDEX_PLUGINS____X"])
    def test_a_variable_without_plugin_or_option_is_refused(self, variable: str):
        assert problems(environ={variable: "1"}) == [
            f"unknown variable {variable}; write PKGINDEX_PLUGINS__NAME__OPTION"
        ]

    def test_text_that_holds_more_than_one_toml_value_stays_text(self):
        settings = load_settings(environ={"PKGINDEX_PLUGINS__A__B": "1\nother = 2"})
        assert settings.plugins == {"a": {"b": "1\nother = 2"}}


class TestShowing:
    SECRET = Settings(
        data=Path("/srv"),
        store="postgresql://me:hush@db/index?sslmode=require&password=hush2",
        blobs="s3://hush3@bucket/prefix",
        upstream="https://me:hush%2F4@host/simple/",
        follow="https://me:hush6@host/",
        follow_token="hush7",
        plugins={"ldap": {"password": "hush5"}},
    )

    def test_no_secret_is_in_a_repr(self):
        assert "hush" not in repr(self.SECRET)
        assert "hush" not in str(shown(self.SECRET))

    def test_the_rest_of_a_url_is_shown(self):
        assert shown(self.SECRET)["store"] == "postgresql://***@db/index?sslmode=require&password=***"
        assert shown(self.SECRET)["upstream"] == "https://***@host/simple/"
        assert shown(self.SECRET)["plugins"] == "<ldap>"


class TestDeclarations:
    @pytest.mark.parametrize("one", OPTIONS.values(), ids=lambda one: one.key)
    def test_every_option_is_explained_in_a_sentence(self, one: Option):
        assert one.text[0].isupper() or one.text[0] == "`"
        assert one.text.endswith(".")
        assert one.kind

    @pytest.mark.parametrize("one", OPTIONS.values(), ids=lambda one: one.key)
    def test_every_default_passes_its_own_checks(self, one: Option):
        if one.check is not None and one.default:
            assert one.check(one.default) == one.default

    def test_names_a_unit_where_a_number_has_one(self):
        assert OPTIONS["mirror.expiry"].kind == "a whole number of seconds of at least 0"
        assert (OPTIONS["mirror.expiry"].flag, OPTIONS["mirror.expiry"].variable) == (
            "--mirror-expiry",
            "PKGINDEX_MIRROR_EXPIRY",
        )

    def test_no_two_options_share_a_variable_or_a_flag(self):
        assert (
            len({one.variable for one in OPTIONS.values()})
            == len({one.flag for one in OPTIONS.values()})
            == len(OPTIONS)
        )
