"""pypiserver's command line: what each option becomes, and what is said of those that mean nothing any more."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.errors import Refused
from pkgindex_http.cli import main
from pkgindex_http.commands import starting
from pkgindex_http.commands.directories import DirectoryOptions, remarks
from pkgindex_http.commands.logs import configure_logging
from pkgindex_http.pypiserver.settings import PypiserverSettings, place_of_data, read_settings
from pkgindex_http.settings import ServerSettings


class Started:
    """The server that a command line asks for. It is not started."""

    settings: ServerSettings | None = None
    result: Result

    @property
    def table(self) -> PypiserverSettings:
        assert self.settings is not None, self.result.output
        return read_settings(self.settings.plugins["pypiserver"])


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Type a command line in a directory that has `packages` and `.htpasswd`; nothing is started."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / ".htpasswd").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def typed(*words: str) -> Started:
        started = Started()

        def keep(settings: ServerSettings, *_: object, **__: object) -> None:
            started.settings = settings

        monkeypatch.setattr(starting, "run_server", keep)
        started.result = CliRunner().invoke(main, [*words])
        return started

    return typed


def test_the_line_of_the_guide(start: Any, tmp_path: Path) -> None:
    started = start("run", "-p", "8081", "-P", ".htpasswd", "-a", "update,download,list", "-o", "packages", "more")
    settings = started.settings
    assert settings.port == 8081
    assert settings.host == "127.0.0.1", "other machines are let in by -i 0.0.0.0"
    assert settings.default_index == "root/packages"
    assert settings.plugins["htpasswd"] == {"path": str(tmp_path / ".htpasswd")}
    assert started.table == PypiserverSettings(
        roots=(str(tmp_path / "packages"), str(tmp_path / "more")),
        authenticate=("download", "list", "update"),
        overwrite=True,
    )


@pytest.mark.parametrize(
    "words", [("packages",), ("-p", "8080", "packages"), ("run", "packages"), ("./packages",), ("-v", "packages")]
)
def test_the_word_run_may_be_missing(start: Any, words: tuple[str, ...]) -> None:
    started = start(*words)
    assert started.table.roots[0].endswith("/packages")
    assert started.table.authenticate == ("update",)
    assert started.settings.port == 8080


@pytest.mark.parametrize(
    "ahead", [("-v",), ("-vv",), ("--backend", "simple-dir"), ("--backend=auto", "-v", "--log-stream", "none")]
)
def test_what_both_commands_have_may_come_before_them(start: Any, ahead: tuple[str, ...]) -> None:
    assert start(*ahead, "run", "-p", "8081", "packages").settings.port == 8081
    ran = start(*ahead, "update", "packages").result
    assert (ran.exit_code, ran.output.strip()) == (0, "checking 0 packages for newer version")


@pytest.mark.parametrize(
    "words",
    [
        ("-v",),
        ("--log-file", "x"),
        ("--log-stream", "none"),
        ("--log-frmt", "%s"),
        ("--hash-algo", "md5"),
        ("--backend", "auto"),
    ],
)
def test_update_takes_what_each_command_of_pypiserver_takes(start: Any, words: tuple[str, ...]) -> None:
    for line in (("update", *words, "packages"), ("-U", *words, "packages")):
        assert start(*line).result.exit_code == 0


@pytest.mark.parametrize("word", ["run", "update"])
def test_each_command_tells_the_version(start: Any, word: str) -> None:
    assert start(word, "--version").result.output == start("--version").result.output


def test_the_port_of_a_container(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPISERVER_PORT", "8090")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 4")
    started = start("run", "packages")
    assert started.settings.port == 8090
    assert "GUNICORN_CMD_ARGS: not used, since gunicorn does not run this server" in started.result.output
    assert start("run", "-p", "8091", "packages").settings.port == 8091
    assert start("run").settings.port == 3141, "only directories are served as pypiserver does"
    monkeypatch.setenv("PKGINDEX_PORT", "8092")
    assert start("run", "packages").settings.port == 8092
    monkeypatch.setenv("PYPISERVER_PORT", "http")
    refused = start("run", "packages").result
    assert refused.exit_code == 1
    assert "PYPISERVER_PORT" in refused.output


def test_without_a_directory_everything_is_as_ever(start: Any, tmp_path: Path) -> None:
    started = start("run")
    assert started.settings.port == 3141
    assert started.settings.default_index == "root/dev"
    assert started.settings.data == tmp_path / ".local/share/pkgindex"
    assert "pypiserver" not in started.settings.plugins


def test_an_option_of_directories_without_one_is_refused(start: Any) -> None:
    started = start("run", "-P", ".htpasswd", "-a", "update")
    assert started.result.exit_code == 1
    assert "--authenticate, --passwords: no directory is named" in started.result.output
    assert "--cache-control: no directory is named" in start("run", "--cache-control", "0").result.output


@pytest.mark.parametrize("flag", ["-i", "-H", "--interface", "--host"])
def test_the_address_has_four_names(start: Any, flag: str) -> None:
    assert start("run", flag, "0.0.0.0", "packages").settings.host == "0.0.0.0"


def test_the_data_lie_elsewhere_and_each_directory_has_its_own(start: Any, tmp_path: Path) -> None:
    first = start("run", "packages").settings.data
    assert first.is_relative_to(tmp_path / ".local/share/pkgindex/directories")
    assert first.name.startswith("packages-")
    assert start("run", str(tmp_path / "packages"), "more").settings.data == first
    assert start("run", "more").settings.data != first
    assert start("run", "packages", "--data", "here").settings.data.name == "here"


def test_the_place_does_not_depend_on_how_the_directory_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert place_of_data(tmp_path, str(tmp_path / "link")) == place_of_data(tmp_path, f"{tmp_path}/a/../a/")


@pytest.mark.parametrize(
    "words",
    [("-a", "."), ("-P", "."), ("-a", ".", "-P", ".htpasswd"), ("-a", "everything"), ("-a", ""), ("-a", ".,list")],
)
def test_opening_the_index_takes_both_options(start: Any, words: tuple[str, ...]) -> None:
    started = start("run", *words, "packages")
    assert started.result.exit_code == 1
    assert started.settings is None


def test_an_open_index_is_warned_of(start: Any) -> None:
    started = start("run", "-a", ".", "-P", ".", "packages")
    assert started.table.authenticate == ()
    assert "htpasswd" not in started.settings.plugins
    assert "everybody who reaches this server may upload and delete" in started.result.output
    assert "everybody" in start("run", "-a", "list", "-P", ".htpasswd", "packages").result.output
    assert "everybody" not in start("run", "packages").result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--hash-algo", "md5"), "--hash-algo md5"),
        (("--hash-algo", "no"), "--hash-algo no"),
        (("--backend", "cached-dir"), "--backend cached-dir"),
        (("--server", "gunicorn"), "--server gunicorn"),
        (("--log-stream", "stdout"), "--log-stream stdout"),
        (("--log-frmt", "%(message)s", "--log-err-frmt", "x"), "--log-frmt, --log-err-frmt"),
        (("--log-req-frmt", "x"), "--log-req-frmt"),
        (("--log-res-frmt", "x"), "--log-res-frmt"),
    ],
)
def test_what_means_nothing_any_more_is_taken_and_said_in_a_line(start: Any, words: tuple[str, ...], said: str) -> None:
    started = start("run", *words, "packages")
    assert started.settings is not None
    assert [line for line in started.result.output.splitlines() if line.startswith(said)]
    assert len(started.result.output.splitlines()) == 2, "and that uploads are for root"


@pytest.mark.parametrize("words", [("--hash-algo", "sha256"), ("--backend", "auto"), ("--server", "auto")])
def test_defaults_that_are_spelled_out_say_nothing(words: tuple[str, str]) -> None:
    options = DirectoryOptions(**{words[0][2:].replace("-", "_"): words[1]})
    assert list(remarks(options, ServerSettings(data=Path("x")))) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--hash-algo", "sha"),
        ("--backend", "other"),
        ("--cache-control", "x"),
        ("nowhere",),
        (".htpasswd",),
    ],
)
def test_what_pypiserver_refuses_is_refused_with_its_status(start: Any, words: tuple[str, ...]) -> None:
    assert start("run", *words, "packages").result.exit_code == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--health-endpoint", "health"), "health endpoint"),
        (("--health-endpoint", "/simple/x"), "among the URLs of packages"),
        (("--fallback-url", "ftp://example.org"), "fallback URL"),
        (("--fallback-url", "example"), "fallback URL"),
        (("--fallback-url", "https://me:secret@example.org/simple"), "shows to everybody"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(start: Any, words: tuple[str, ...], problem: str) -> None:
    started = start("run", *words, "packages")
    assert started.result.exit_code == 1
    assert problem in started.result.output


def test_two_tables_that_make_the_default_index_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(f"[plugins.pypiserver]\nroots = ['{tmp_path}']\n")
    Path("index.toml").write_text("[routes.'{project}']\nsource = 'path'\nto = 'packages'\n")
    words = ("--config", "config.toml", "--routes", "index.toml", "--data", "data", "--port", "0")
    result = CliRunner().invoke(main, ["run", *words])
    assert result.exit_code == 1
    assert "[plugins.pypiserver] and [plugins.routes] exclude each other" in result.output
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("no where", "mkdir -p 'no where'"),
        (".htpasswd", "is no directory"),
        ("closed", "may not be listed by this user"),
    ],
)
def test_a_word_that_is_no_directory_is_said_to_be_so(
    start: Any, word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr("os.access", lambda path, _: path != "closed")  # tests may run as the system's root
    started = start("run", word)
    assert started.result.exit_code == 2
    assert said in " ".join(started.result.output.split())


def test_fallbacks(start: Any) -> None:
    assert start("run", "packages").table.fallback_url == ""
    url = "https://example.org/simple/"
    assert start("run", "--fallback-url", url, "packages").table.fallback_url == url
    assert start("run", "--proxy-fallback", "packages").table.proxy_fallback
    private = "https://me:secret@example.org/simple/"
    assert start("run", "--proxy-fallback", "--fallback-url", private, "packages").table.fallback_url == private
    off = start("run", "--fallback-url", url, "--proxy-fallback", "--disable-fallback", "packages").table
    assert (off.fallback_url, off.proxy_fallback) == ("", False)


def test_the_rest(start: Any, tmp_path: Path) -> None:
    words = ("--cache-control", "60", "--health-endpoint", "/up", "--welcome", "page.html", "--server-base-url", "/x/")
    started = start("run", *words, "packages", "s3://bucket/wheels")
    assert started.table.cache_control == 60
    assert started.table.health_endpoint == "/up"
    assert started.table.welcome == str(tmp_path / "page.html")
    assert started.table.roots[1] == "s3://bucket/wheels"
    assert started.settings.mount == "/x"


@pytest.mark.parametrize(
    ("words", "level"), [((), "info"), (("-v",), "info"), (("-vv",), "debug"), (("-v", "-v"), "debug")]
)
def test_verbosity(start: Any, words: tuple[str, ...], level: str) -> None:
    assert start("run", *words, "packages").settings.log_level == level


def test_file_and_variables_count_as_ever(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server.toml").write_text('host = "::1"\n[plugins.directory]\npoll_seconds = 1.0\n')
    monkeypatch.setenv("PKGINDEX_PORT", "9000")
    settings = start("run", "--config", "server.toml", "packages").settings
    assert (settings.host, settings.port) == ("::1", 9000)
    assert settings.plugins["directory"] == {"poll_seconds": 1.0}


def test_the_table_in_a_file_is_known_to_every_command(start: Any, tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(f'data = "data"\n[plugins.pypiserver]\nroots = ["{tmp_path}/packages"]\n')
    started = start("run", "--config", "server.toml")
    assert started.table.roots == (f"{tmp_path}/packages",)
    said = start("user", "list", "--config", "server.toml").result.output
    assert "there is no store" in said


@pytest.mark.parametrize(("table", "missing"), [("pypiserver", "roots"), ("htpasswd", "path"), ("ldap", "url")])
def test_a_table_without_settings_is_refused(table: str, missing: str, tmp_path: Path) -> None:
    """It is not the same as no table: people would log in by it."""
    (tmp_path / "server.toml").write_text(f'data = "{tmp_path}/data"\n[plugins.{table}]\n')
    result = CliRunner().invoke(main, ["run", "--config", str(tmp_path / "server.toml"), "--port", "0"])
    assert result.exit_code == 1
    assert f"[plugins.{table}]" in result.output
    assert missing in result.output


def test_the_log_goes_to_a_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger("pkgindex.access").handlers[:]
    settings = ServerSettings(data=tmp_path, log_format="text", access_log=True)
    level = logging.getLogger().level
    try:
        configure_logging(settings, file=tmp_path / "log", quiet=True)
        logging.getLogger("pkgindex.test").warning("a line")
        for handler in [*logging.getLogger().handlers, *logging.getLogger("pkgindex.access").handlers]:
            handler.close()
        with pytest.raises(Refused, match="cannot be written"):
            configure_logging(settings, file=tmp_path / "no" / "log")
    finally:
        logging.getLogger().handlers[:], logging.getLogger("pkgindex.access").handlers[:] = before
        logging.getLogger().setLevel(level)
    assert "a line" in (tmp_path / "log").read_text()
    assert capsys.readouterr().err == ""


def test_settings_are_checked() -> None:
    with pytest.raises(Refused, match="nonsense"):
        read_settings({"roots": ["/x"], "nonsense": 1})
    with pytest.raises(Refused, match="no directory"):
        read_settings({"roots": []})
