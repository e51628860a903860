"""The file of simpleindex: what is read of it, what is said of mistakes, and what `run --routes` makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pkgindex_core.errors import Refused
from pkgindex_http.cli import main
from pkgindex_http.commands import starting
from pkgindex_http.settings import ServerSettings
from pkgindex_http.simpleindex.routes_file import RoutesFile, read_routes_file
from pkgindex_http.simpleindex.settings import index_of, mirror_of, read_settings

README = """\
# Serve local files for packages with prefix "uranusjr-".
[routes."uranusjr-{subproject}"]
source = "path"
to = "./uranusjr-{subproject}"

# Otherwise use PyPI.
[routes."{project}"]
source = "http"
to = "https://pypi.org/simple/{project}/"

[server]
host = "127.0.0.1"
port = 8000
"""
ONE = '[routes."{project}"]\n'
PATH = f'{ONE}source = "path"\nto = "x"\n'
HTTP = f'{ONE}source = "http"\nto = "https://pypi.org/simple/{{project}}/"\n'


def read(directory: Path, text: str, key: str = "", plugins: tuple[str, ...] = ()) -> RoutesFile:
    (directory / "index.toml").write_text(text, encoding="utf-8")
    return read_routes_file(f"{directory}/index.toml{key}", plugins)


def test_the_file_of_the_readme(tmp_path: Path) -> None:
    found = read(tmp_path, README)
    first, second = found.settings.routes
    assert (first.kind, first.to, first.place) == ("path", f"{tmp_path}/uranusjr-{{subproject}}", "index.toml, line 2")
    assert (second.kind, second.to) == ("redirect", "https://pypi.org/simple/{project}/")
    assert second.place == "index.toml, line 7"
    assert found.server == {"host": "127.0.0.1", "port": 8000}
    assert found.remarks == ()


def test_the_tables_may_be_below_a_key(tmp_path: Path) -> None:
    text = PATH.replace("[routes", "[tool.simpleindex.routes")
    assert (
        read(tmp_path, f"[project]\nname = 'x'\n{text}", "::tool.simpleindex")
        .settings.routes[0]
        .place.endswith(", line 3")
    )
    with pytest.raises(Refused) as refused:
        read(tmp_path, text, "::tool.simpelindex")
    assert "did you mean 'simpleindex'?" in refused.value.hint


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("./a/../b", "{here}/b"),
        ("/srv/{project}", "/srv/{{project}}"),
        ("a//b/.", "{here}/a/b"),
        ("../{project}", "{above}/{{project}}"),
        ("/a/{{b}}", "/a/{{{{b}}}}"),
    ],
)
def test_a_path_is_that_of_the_file(tmp_path: Path, to: str, expected: str) -> None:
    (route,) = read(tmp_path, f'{ONE}source = "path"\nto = "{to}"\n').settings.routes
    assert route.to == expected.format(here=tmp_path, above=tmp_path.parent)


def test_braces_in_the_place_of_the_file_are_no_parameters(tmp_path: Path) -> None:
    odd = tmp_path / "{project}"
    odd.mkdir()
    (route,) = read(odd, PATH).settings.routes
    assert route.to == f"{tmp_path}/{{{{project}}}}/x"


@pytest.mark.parametrize(
    ("extra", "kind", "to"),
    [
        ('source = "path"\nto = "page.html"', "page", "{here}/page.html"),
        ('source = "path"\nto = "written"', "page", "{here}/written"),
        ('source = "path"\nto = "{{project}}.htm"', "page", "{here}/{{project}}.htm"),
        ('source = "path"\nto = "x"\nwhole_folder = true', "whole_folder", "{here}/x"),
        ('source = "http"\nto = "https://a.example/{{project}}"\nmode = "cache"', "cache", "https://a.example/"),
        ('source = "http"\nto = "https://a.example/s/{{project}}/"\nmode = "cache"', "cache", "https://a.example/s/"),
        ('source = "http"\nto = "https://a.example/x/"\nmode = "redirect"', "redirect", "https://a.example/x/"),
        ('source = "s3"\nto = "any{{thing}}"', "custom", "any{{thing}}"),
    ],
)
def test_each_kind_of_route(tmp_path: Path, extra: str, kind: str, to: str) -> None:
    (tmp_path / "written").touch()
    (route,) = read(tmp_path, ONE + extra.format(), plugins=("s3",)).settings.routes
    assert (route.kind, route.to) == (kind, to.format(here=tmp_path))


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("[routes", "index.toml is no TOML: ", "correct this line"),
        ("x = 1\ny ==", "line 2", "nothing was changed"),
        ("[server]\nport = 1", "has no routes", "write [routes."),
        (f"{PATH}[sever]\n", "'sever' is no table of routes; did you mean 'server'?", "nothing was changed"),
        (f"\n{ONE}sourc = 'path'\nto = 'x'", "index.toml, line 2: the route '{project}' has the unknown key 'sourc'; did you mean 'source'?", ""),
        (f"{ONE}source = 'path'", "has no to; write to =", ""),
        (f"{ONE}source = 'paths'\nto = 'x'", "the source 'paths' is not installed; did you mean 'path'?", "nothing"),
        (f"{ONE}source = 's3'\nto = 'x'", "the hook pkgindex_sources", ""),
        (f"{ONE}source = 'path'\nto = './{{projekt}}'", "no parameter of the pattern; did you mean 'project'?", ""),
        (f"{ONE}source = 'path'\nto = '{{project.__class__}}'", "no parameter of the pattern", ""),
        (f"{ONE}source = 'path'\nto = '/'", "the whole file system", ""),
        (f"{PATH}mode = 'cache'", "mode is for routes with source = 'http'", ""),
        (f"{HTTP}whole_folder = true", "whole_folder is for routes with source = 'path'", ""),
        (f"{PATH}whole_folder = 'yes'", "whole_folder is true or false", ""),
        (f"{HTTP}mode = 'cached'", 'write mode = "cache"', ""),
        (f"{ONE}source = 'http'\nto = 'ftp://x/{{project}}/'", "no http or https URL", ""),
        (f"{ONE}source = 'http'\nto = 'https://{{project}}/'", "no http or https URL", ""),
        (f"{ONE}source = 'http'\nto = 'https://x/all/'\nmode = 'cache'", "let it end in /{project}/", ""),
        ("[routes.'{project']\nsource='path'\nto='x'", "has a brace that is no parameter; write it as {project}", ""),
        ("[routes.'/{project}']\nsource='path'\nto='x'", "begins or ends with a slash; write '{project}'", ""),
        ("[routes.'{team}/{project}']\nsource='path'\nto='x'", "write a route for each value", ""),
        ("[routes.'+x/{project}']\nsource='path'\nto='x'", "choose another path", ""),
        ("routes = 3", "no table", ""),
        (f"{PATH}[routes.x]\nsource = 3\nto = 'x'\n[routes.y]\n", "line 7: the route 'y' has no source", "nothing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_with_what_to_write(
    tmp_path: Path, text: str, said: str, remedy: str
) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, text)
    assert said in refused.value.message
    assert remedy in refused.value.hint
    assert refused.value.hint


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, f"{ONE}[routes.'/b']\nsource='path'\nto='x'\n[other]\n")
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        read_routes_file(str(tmp_path / name), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PATH.replace("{project}", "Corp_{x}"), "'Corp_{x}' is read as 'corp-{x}'"),
        (f"{PATH}whole_folder = true", "under every name"),
        (HTTP.replace("https://", "https://ann:secret@"), 'WARNING: the redirect shows the credentials of its URL to everybody; mode = "cache" keeps them'),
        (f"{PATH}[routes.torch]\nsource='path'\nto='y'\n", "line 4: the route 'torch' is never reached: '{project}' (index.toml, line 1)"),
    ],
)  # fmt: skip
def test_what_an_administrator_should_know_is_remarked(tmp_path: Path, text: str, said: str) -> None:
    (remark,) = read(tmp_path, text).remarks
    assert said in remark
    assert "secret" not in remark


def test_indexes_have_names_that_differ() -> None:
    assert index_of("", "root/routes") == "root/routes"
    assert index_of("team", "root/routes") == "root/routes-team"
    assert len({index_of(prefix, "x") for prefix in ("a/b", "a-b", "a.b", "a.b.")}) == 4
    assert mirror_of("https://pypi.org/simple/").startswith("root/cache-pypi.org-")
    assert mirror_of("https://pypi.org/simple/") != mirror_of("https://pypi.org/other/")


class Started:
    settings: ServerSettings | None = None
    output = ""
    code: int | None = None


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Type `run` in a directory with `index.toml`; nothing is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def typed(text: str, *words: str) -> Started:
        (tmp_path / "index.toml").write_text(text)
        started = Started()

        def keep(settings: ServerSettings, *_: object, **__: object) -> None:
            started.settings = settings

        monkeypatch.setattr(starting, "run_server", keep)
        result = CliRunner().invoke(main, ["run", "--routes", "index.toml", *words])
        started.output, started.code = result.output, result.exit_code
        return started

    return typed


def test_the_server_table_is_the_default_of_the_flags(start: Any, tmp_path: Path) -> None:
    settings = start(README.replace("8000", "8123").replace("127.0.0.1", "127.0.0.2")).settings
    assert (settings.host, settings.port, settings.default_index) == ("127.0.0.2", 8123, "root/routes")
    assert settings.data.is_relative_to(tmp_path / ".local/share/pkgindex/routes")
    assert [route.kind for route in read_settings(settings.plugins["routes"]).routes] == ["path", "redirect"]
    settings = start(README, "--port", "9", "--host", "127.0.0.3", "--data", "here").settings
    assert (settings.host, settings.port, settings.data.name) == ("127.0.0.3", 9, "here")
    assert start(PATH).settings.port == 8000, "uvicorn's"
    assert start(f"{PATH}[server]\nroot-path = '/pypi'\n").settings.mount == "/pypi"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prot = 1", "did you mean 'port'?"),
        ("port = '8000'", "write a number"),
        ("host = 1", "write text"),
        ("ssl-keyfile = 'x'", "let a proxy in front of it speak TLS"),
        ("ssl_certfile = 'x'", "let a proxy in front of it speak TLS"),
        ("uds = '/run/x'", "let a proxy listen on the socket"),
    ],
)
def test_what_would_change_who_reaches_the_server_is_refused(start: Any, line: str, said: str) -> None:
    started = start(f"{PATH}[server]\n{line}\n")
    assert started.code == 1
    assert said in " ".join(started.output.split())
    assert started.settings is None


def test_other_options_of_uvicorn_are_taken_and_named(start: Any) -> None:
    started = start(f"{PATH}[server]\nworkers = 4\nlog_level = 'info'\n")
    assert started.settings is not None
    assert "[server] workers, log-level: of uvicorn" in started.output


def test_routes_and_directories_exclude_each_other(start: Any) -> None:
    started = start(README, ".")
    assert started.code == 1
    assert "exclude each other" in started.output


def test_a_broken_file_starts_nothing(start: Any, tmp_path: Path) -> None:
    started = start("[routes.x]\nsource = ")
    assert started.code == 1
    assert "line 2" in started.output
    assert not (tmp_path / ".local").exists()
