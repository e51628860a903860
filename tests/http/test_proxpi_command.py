"""The command line of a cache, and the variables of proxpi: what each becomes, and what is said of those that mean nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name
from pkgindex_http.commands import starting
from pkgindex_http.commands.proxy import proxy
from pkgindex_http.proxpi.credentials import KnownCredentials, variable_of
from pkgindex_http.proxpi.settings import ProxySettings, UpstreamSettings, read_settings
from pkgindex_http.proxpi.variables import KNOWN, PREFIX, read_variables
from pkgindex_http.settings import ServerSettings

PYPI = "https://pypi.org/simple/"
A, B, C = "https://a.example/simple/", "https://b.example/whl/cu126/", "https://c.example:8443/x/"
BOUND = {"cache_size": "20GiB"}
DOCUMENT = Path(__file__).parents[2] / "pkgindex_http/PROXPI.md"


class Started:
    """The server that a command line asks for. It is not started."""

    settings: ServerSettings
    result: Result

    @property
    def table(self) -> ProxySettings:
        return read_settings(self.settings.plugins["proxpi"])

    @property
    def upstreams(self) -> list[tuple[str, int]]:
        return [(each.url, each.expiry) for each in self.table.upstreams]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Type a command line with these variables; nothing is started."""
    monkeypatch.chdir(tmp_path)
    others = (
        "XDG_CACHE_HOME",
        "NETRC",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    )
    for name in (*others, *map(str.lower, others)):
        monkeypatch.delenv(name, raising=False)

    def typed(*words: str, **variables: str) -> Started:
        started = Started()

        def keep(settings: ServerSettings, *_: object, **__: object) -> None:
            started.settings = settings

        monkeypatch.setattr(starting, "run_server", keep)
        started.result = CliRunner().invoke(proxy, [*words], env={"HOME": str(tmp_path), **variables})
        return started

    return typed


@pytest.mark.skipif(sys.platform != "linux", reason="the place of caches differs")
def test_without_anything(start: Any, tmp_path: Path) -> None:
    started = start()
    assert started.result.output == ""
    assert started.upstreams == [(PYPI, 1800)]
    settings = started.settings
    assert (settings.host, settings.port, settings.default_index) == ("127.0.0.1", 5000, "root/proxy")
    assert settings.data == tmp_path / ".cache/pkgindex/proxy"
    assert start(XDG_CACHE_HOME=str(tmp_path / "c")).settings.data == tmp_path / "c/pkgindex/proxy"


def test_upstreams_in_their_order(start: Any) -> None:
    assert start("--upstream", A, "--upstream", B).upstreams == [(A, 1800), (B, 1800)]
    assert start("--upstream", A, "--upstream", B, "--ttl", "60").upstreams == [(A, 60), (B, 60)]
    assert start("--upstream", A, "--upstream", B, "--ttl", "60", "--ttl", "0").upstreams == [(A, 60), (B, 0)]
    assert start("--ttl", "60").upstreams == [(PYPI, 60)]
    assert "--ttl is given 3 times, and the number of upstreams is 1" in start(*(["--ttl", "1"] * 3)).result.output


def test_pages_of_links_come_first(start: Any) -> None:
    started = start("--upstream", A, "--find-links", "https://b.example/all.html", "--ttl", "5", "--ttl", "6")
    assert started.upstreams == [("https://b.example/all.html", 5), (A, 6)]
    assert [each.find_links for each in started.table.upstreams] == [True, False]
    assert start("--find-links", A).upstreams == [(A, 1800), (PYPI, 1800)]
    assert start("--find-links", A, PROXPI_INDEX_URL=B).upstreams == [(A, 1800), (B, 1800)]


def test_how_upstreams_are_merged(start: Any) -> None:
    """proxpi's users keep what they had; others are protected from a name that somebody takes at the second index."""
    several = ("--upstream", A, "--upstream", B)
    assert start(*several).settings.admission == "first_mirror"
    assert start(*several, "--merge", "union").settings.admission == "available_mirrors"
    assert start(PROXPI_EXTRA_INDEX_URLS=B).settings.admission == "available_mirrors"
    assert start("--merge", "first", PROXPI_EXTRA_INDEX_URLS=B).settings.admission == "first_mirror"
    assert start(*several, PROXPI_EXTRA_INDEX_URLS=B).settings.admission == "first_mirror"
    assert (
        start(PROXPI_EXTRA_INDEX_URLS=B, PKGINDEX_ADMISSION="mirror_whitelist").settings.admission == "mirror_whitelist"
    )


def test_where_the_cache_lies(start: Any, tmp_path: Path) -> None:
    for flag in ("--cache", "--data"):
        assert start(flag, "here").settings.data == tmp_path / "here"
    assert start(PROXPI_CACHE_DIR="there").settings.data == tmp_path / "there"
    assert start("--cache", "here", PROXPI_CACHE_DIR="there").settings.data == tmp_path / "here"
    started = start("--cache", "s3://bucket/prefix")
    assert started.settings.blobs == "s3://bucket/prefix"
    assert started.settings.data.is_relative_to(tmp_path)


def test_how_much_is_kept(start: Any) -> None:
    def size(*words: str, **variables: str) -> int | str:
        return start(*words, **variables).settings.plugins["mirror"]["cache_size"]

    assert size("--cache-size", "3GiB") == "3GiB"
    assert size("--cache-size", "0") == 0
    assert size(PROXPI_CACHE_SIZE="5368709120") == 5368709120
    assert size("--cache-size", "7", PROXPI_CACHE_SIZE="5368709120") == 7
    assert size(PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE='"1GiB"') == "1GiB"
    # PROXPI_CACHE_SIZE=0 keeps no files, unless something that wins over it says how much to keep.
    assert start(PROXPI_CACHE_SIZE="0").table.redirect
    for started in (
        start("--cache-size", "3GiB", PROXPI_CACHE_SIZE="0"),
        start(PROXPI_CACHE_SIZE="0", PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE='"3GiB"'),
    ):
        assert started.settings.plugins["mirror"]["cache_size"] == "3GiB"
        assert not started.table.redirect
        assert started.result.output == ""


def test_every_variable_becomes_something(start: Any, tmp_path: Path) -> None:
    started = start(
        PROXPI_INDEX_URL=A,
        PROXPI_INDEX_TTL="60",
        PROXPI_EXTRA_INDEX_URLS=f"{B}, {C},",
        PROXPI_EXTRA_INDEX_TTLS="5,0",
        PROXPI_CACHE_SIZE="0",
        PROXPI_CACHE_DIR=str(tmp_path / "files"),
        PROXPI_DOWNLOAD_TIMEOUT="0.9",
        PROXPI_CONNECT_TIMEOUT="1.5",
        PROXPI_READ_TIMEOUT="7",
        PROXPI_BINARY_FILE_MIME_TYPE="1",
        PROXPI_DISABLE_INDEX_SSL_VERIFICATION="1",
        PROXPI_LOGGING_LEVEL="WARNING",
    )
    assert started.upstreams == [(A, 60), (B, 5), (C, 0)]
    assert started.table.redirect
    assert started.settings.data == tmp_path / "files"
    assert started.settings.log_level == "warning"
    mirror = {"cache_size": "20GiB", "connect_timeout": 1.5, "read_timeout": 7.0, "verify_tls": False}
    assert started.settings.plugins["mirror"] == mirror
    assert "PROXPI_DOWNLOAD_TIMEOUT: a file is streamed" in started.result.output
    assert "PROXPI_BINARY_FILE_MIME_TYPE: every file has the type" in started.result.output
    assert "WARNING: certificates are not checked" in started.result.output


def test_what_proxpi_takes_for_granted(start: Any) -> None:
    assert start(PROXPI_EXTRA_INDEX_URLS=f"{B},{C}").upstreams == [(PYPI, 1800), (B, 180), (C, 180)]
    assert start(PROXPI_EXTRA_INDEX_URLS=B, PROXPI_EXTRA_INDEX_TTL="7").upstreams[1] == (B, 7), "its former name"
    assert start(PROXPI_CONNECT_TIMEOUT="1").settings.plugins["mirror"] == {
        **BOUND,
        "connect_timeout": 1.0,
        "read_timeout": 20.0,
    }
    assert start(PROXPI_READ_TIMEOUT="1").settings.plugins["mirror"] == {
        **BOUND,
        "connect_timeout": 3.1,
        "read_timeout": 1.0,
    }
    for no in ("", "0", "no", "off", "false"):
        assert start(PROXPI_DISABLE_INDEX_SSL_VERIFICATION=no).settings.plugins["mirror"] == BOUND


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PROXPI_INDEX_TTL": "half an hour"}, "PROXPI_INDEX_TTL: a number from 0 on is expected, not 'half an hour'"),
        ({"PROXPI_INDEX_TTL": "-1"}, "PROXPI_INDEX_TTL: a number from 0 on"),
        ({"PROXPI_CACHE_SIZE": "5GB"}, "PROXPI_CACHE_SIZE: a number"),
        ({"PROXPI_READ_TIMEOUT": "nan"}, "PROXPI_READ_TIMEOUT: a number"),
        ({"PROXPI_LOGGING_LEVEL": "LOUD"}, "PROXPI_LOGGING_LEVEL: DEBUG, INFO"),
        ({"PROXPI_EXTRA_INDEX_TTLS": "1,2", "PROXPI_EXTRA_INDEX_URLS": B}, "has 2 values, and PROXPI_EXTRA_INDEX_URLS has 1 URLs"),
        ({"PROXPI_EXTRA_INDEX_TTLS": "x", "PROXPI_EXTRA_INDEX_URLS": B}, "PROXPI_EXTRA_INDEX_TTLS: numbers from 0 on"),
        ({"PROXPI_INDEX_URL": "ftp://ann:s3cret@a.example/"}, "the upstream 'ftp://***@a.example/' is no http or https URL"),
        ({"PROXPI_INDEX_URL": "https://ann:s3cret@[::x/"}, "the upstream 'https://***@[::x/': this is not a URL"),
        ({"PROXPI_INDEX_URL": "https://ann:s3cret@a.example/?q=1"}, "has a query or a fragment"),
        ({"PROXPI_EXTRA_INDEX_URLS": PYPI}, f"the upstream {PYPI} is named twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_secrets(start: Any, variables: dict[str, str], said: str) -> None:
    started = start(**variables)
    assert started.result.exit_code == 1
    assert said in started.result.output
    assert "s3cret" not in started.result.output


def test_all_problems_are_said_together(start: Any) -> None:
    output = start(PROXPI_INDEX_TTL="x", PROXPI_CACHE_SIZE="y").result.output
    assert "PROXPI_INDEX_TTL" in output
    assert "PROXPI_CACHE_SIZE" in output


def test_variables_of_others_are_left_alone(start: Any) -> None:
    """Kubernetes and docker write such, for a service that is called proxpi."""
    links = {
        "PROXPI_PORT": "tcp://10.0.0.1:5000",
        "PROXPI_SERVICE_HOST": "10.0.0.1",
        "PROXPI_SERVICE_PORT": "5000",
        "PROXPI_PORT_5000_TCP_ADDR": "10.0.0.1",
        "PROXPI_ENV_LANG": "C",
    }
    assert start(**links).result.output == ""
    assert "PROXPI_INDEX_URLS is no variable of proxpi and changes nothing" in start(PROXPI_INDEX_URLS=A).result.output


def test_private_networks_of_files(start: Any) -> None:
    """Those of the options and those that are configured."""
    started = start("--allow-network", "10.0.0.0/8", PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS='["192.168.0.0/16"]')
    assert started.settings.plugins["mirror"] == {**BOUND, "allow_networks": ["192.168.0.0/16", "10.0.0.0/8"]}


def test_other_variables_that_proxpi_reads(start: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    place = str(tmp_path / "ca.pem")
    assert start(REQUESTS_CA_BUNDLE=place).settings.plugins["mirror"] == {**BOUND, "ca_file": place}
    assert start(CURL_CA_BUNDLE=place).settings.plugins["mirror"] == {**BOUND, "ca_file": place}
    assert start(REQUESTS_CA_BUNDLE=str(tmp_path)).settings.plugins["mirror"] == BOUND
    configured = {"PKGINDEX_PLUGINS__MIRROR__CA_FILE": '"mine.pem"'}
    assert start(REQUESTS_CA_BUNDLE=place, **configured).settings.plugins["mirror"] == {**BOUND, "ca_file": "mine.pem"}
    proxy = {"https_proxy": "http://ann:s3cret@proxy.example"}
    said = start(**proxy).result.output
    assert said == (
        "HTTPS_PROXY: not used; upstreams are asked directly, unless `proxy` of [plugins.mirror] names a proxy\n"
    )
    assert start(**proxy, PKGINDEX_PLUGINS__MIRROR__PROXY='"http://proxy.example"').result.output == ""


def test_options_win_over_variables_and_say_so(start: Any) -> None:
    started = start("--upstream", A, PROXPI_INDEX_URL=B, PROXPI_INDEX_TTL="5")
    assert started.upstreams == [(A, 1800)]
    assert "--upstream is given, so" in started.result.output


def test_a_configuration_file(start: Any, tmp_path: Path) -> None:
    (tmp_path / "cache.toml").write_text(
        f"""
        port = 5001
        [[plugins.proxpi.upstreams]]
        url = "{A}"
        [[plugins.proxpi.upstreams]]
        url = "{B}"
        expiry = 60
        """
    )
    started = start("--config", "cache.toml", PROXPI_EXTRA_INDEX_URLS=C)
    assert started.upstreams == [(A, 1800), (B, 60)]
    assert (started.settings.port, started.settings.admission) == (5001, "first_mirror")
    assert "[plugins.proxpi] is configured, so" in started.result.output
    # Other upstreams leave its other settings.
    (tmp_path / "cache.toml").write_text(
        f"[plugins.proxpi]\nsizes = 3\nredirect = true\nupstreams = [{{url = '{A}'}}]\n"
    )
    started = start("--config", "cache.toml", "--upstream", B)
    assert (started.upstreams, started.table.sizes, started.table.redirect) == ([(B, 1800)], 3, True)
    (tmp_path / "cache.toml").write_text("[plugins.proxpi]\nsizes = 3\n")
    started = start("--config", "cache.toml", PROXPI_INDEX_URL=A, PROXPI_EXTRA_INDEX_URLS=B)
    assert (started.upstreams, started.table.sizes) == ([(A, 1800), (B, 180)], 3)
    assert started.settings.admission == "available_mirrors"
    (tmp_path / "cache.toml").write_text("[plugins.proxpi]\nupstream = 1\n")
    assert "known settings: upstreams" in start("--config", "cache.toml").result.output
    (tmp_path / "cache.toml").write_text(f"[plugins.proxpi]\nupstreams = [{{url = '{A}', ttl = 60}}]\n")
    assert "of an upstream: url, expiry, find_links" in start("--config", "cache.toml").result.output


class TestCredentials:
    def test_the_url_wins_over_the_variable_and_that_over_netrc(self, start: Any, tmp_path: Path) -> None:
        (tmp_path / ".netrc").write_text(
            "machine a.example login of password netrc\n"
            "machine c.example login of password netrc\n"
            "default login every password index\n"
        )
        variables = {"PKGINDEX_CREDENTIALS_C_EXAMPLE": "of:the/environment"}
        started = start("--upstream", A, "--upstream", B, "--upstream", C, **variables)
        assert [url for url, _ in started.upstreams] == [
            "https://of:netrc@a.example/simple/",
            B,
            "https://of:the%2Fenvironment@c.example:8443/x/",
        ]
        assert start("--upstream", "https://u:p@a.example/").upstreams == [("https://u:p@a.example/", 1800)]
        for text in (repr(started.settings), repr(started.table), started.result.output):
            assert "netrc@" not in text
            assert "environment" not in text

    def test_another_netrc(self, start: Any, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("machine a.example login ann password s3cret")
        assert start("--upstream", A, NETRC=str(tmp_path / "mine")).upstreams[0][0].startswith("https://ann:s3cret@")

    def test_a_netrc_that_cannot_be_read(self, start: Any, tmp_path: Path) -> None:
        (tmp_path / ".netrc").write_text("machine a.example\nlogin ann passwort s3cret\n")
        output = start("--upstream", A).result.output
        assert "there is something wrong in line 2" in output
        assert "s3cret" not in output

    def test_the_variable_of_a_host(self) -> None:
        assert variable_of("packages.my-firm.example") == "PKGINDEX_CREDENTIALS_PACKAGES_MY_FIRM_EXAMPLE"
        known = KnownCredentials({"HOME": "/nowhere", "PKGINDEX_CREDENTIALS_A_EXAMPLE": "token"})
        assert known.put_into(A) == "https://token:@a.example/simple/"


@pytest.mark.parametrize(
    "url", [A, B, C, PYPI, "http://[::1]:81/simple/", "https://x.example/" + "very-long/" * 30, "https://ü.example/å/"]
)
def test_the_mirror_of_an_upstream_has_a_name_that_depends_on_its_url(url: str) -> None:
    name = UpstreamSettings(url=url).index
    assert parse_index_name(name)
    assert UpstreamSettings(url=url.rstrip("/")).index == name
    assert UpstreamSettings(url=url.replace("://", "://ann:s3cret@")).index == name
    assert UpstreamSettings(url=f"{url}x/").index != name
    assert (name == "root/pypi") is (url == PYPI)


def test_the_repr_of_variables_has_no_secret() -> None:
    assert "s3cret" not in repr(read_variables({"PROXPI_INDEX_URL": "https://ann:s3cret@a.example/"}, upstream=PYPI))


def test_the_example_of_a_configuration_is_one(start: Any, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "cache.toml").write_text(example)
    started = start("--config", "cache.toml")
    wheels = "https://packages.example.com/wheels.html"
    assert started.upstreams == [("https://packages.example.com/simple/", 180), (wheels, 1800), (PYPI, 1800)]
    assert (started.settings.port, started.settings.admission) == (5000, "first_mirror")


def test_every_variable_and_option_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in KNOWN if f"`{PREFIX}{name}`" not in text] == []
    flags = [parameter.opts[0] for parameter in proxy.params]
    assert [flag for flag in flags if f"`{flag}" not in text] == []


def test_a_wrong_table_is_refused() -> None:
    for table in ({}, {"upstreams": []}, {"upstreams": [{"url": "x"}]}, {"upstreams": [{"url": A, "expiry": -1}]}):
        with pytest.raises(Refused):
            read_settings(json.loads(json.dumps(table)))
