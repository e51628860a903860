"""`pkgindex-mirror close`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.cli import main
from pkgindex_mirror.closing.closure import read_closure
from pkgindex_mirror.testing import ScriptedUpstream, behaviours


@pytest.fixture
def running() -> Iterator[ScriptedUpstream]:
    """An upstream in a loop of its own: the command brings one too."""
    loop = asyncio.new_event_loop()
    upstream = ScriptedUpstream()
    upstream.add("demo", build_wheel("demo", "1.0", requires_dist=["base<2", "win; sys_platform == 'win32'"]))
    upstream.add("base", build_wheel("base", "1.0"), build_wheel("base", "2.0"), build_wheel("base", "1.5"))
    upstream.add("win", build_wheel("win", "1.0"))
    upstream.add("old", build_sdist("old", "1.0", metadata_version="2.1"))
    upstream.add("setuptools", build_wheel("setuptools", "70.0"))
    with ThreadPoolExecutor(1) as thread:
        loop.run_until_complete(upstream.start())
        serving = thread.submit(loop.run_forever)
        yield upstream
        loop.call_soon_threadsafe(loop.stop)
        serving.result()
        loop.run_until_complete(upstream.stop())
    loop.close()


@pytest.fixture
def close(running: ScriptedUpstream, tmp_path: Path):
    def run(*words: str, python: str = "3.12", platform: str = "linux") -> Result:
        there = ["--upstream", running.url, "--data", str(tmp_path / "data")]
        return CliRunner().invoke(main, ["close", *words, *there, "--python", python, "--platform", platform])

    return run


def test_its_c_is_that_of_pip_and_not_a_configuration(close, tmp_path: Path) -> None:
    constraints, configuration = tmp_path / "constraints.txt", tmp_path / "mirror.conf"
    constraints.write_text("base<1.5\n")
    configuration.write_text("[mirror]\ndirectory = /srv/mirror\n")
    for option in ("-c", "--constraint"):
        assert [line.split()[:2] for line in close("demo", option, str(constraints)).stdout.splitlines()][1] == [
            "base",
            "1",
        ]
    told = close("demo", "-c", str(configuration))
    assert told.exit_code == 1
    assert "hint: -c names a file of constraints, as for pip" in told.output
    told = CliRunner().invoke(main, ["-c", str(configuration), "close", "demo"])
    assert told.exit_code == 2
    assert "`close` reads no configuration of a mirror" in told.output
    assert "not the configuration of a mirror" in " ".join(CliRunner().invoke(main, ["close", "--help"]).output.split())


def test_a_table_for_people(close) -> None:
    told = close("demo")
    assert told.exit_code == 0, told.output
    rows = [line.split()[:3] for line in told.stdout.splitlines()]
    assert rows[1:] == [["base", "2", "2"], ["demo", "1", "1"], ["2", "projects", "3"]]
    assert "win" in close("demo", platform="windows").stdout
    assert [line.split()[:2] for line in close("demo", "--mode", "newest").stdout.splitlines()][1] == ["base", "1"]


def test_a_document_for_programs_and_for_a_mirror(close, tmp_path: Path) -> None:
    path = tmp_path / "closure.json"
    told = close("demo", "--json", "-o", str(path))
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["projects"].keys() == {"base", "demo"}
    assert path.read_text() == told.stdout
    assert read_closure(path).targets == ("3.12 on linux-x86_64",)


def test_an_explanation(close) -> None:
    told = close("demo", "--explain", "Base")
    assert told.stdout.splitlines()[:3] == [
        "base: 2 versions: 1.0, 1.5",
        "  base<2: asked for by demo 1.0",
        "    demo: asked for by command line",
    ]
    told = close("demo", "--explain", "win")
    assert told.exit_code == 1
    assert "win is not in the closure" in told.stderr


def test_a_former_closure_needs_no_upstream(close, running: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "closure.json"
    first = close("demo", "-o", str(path))
    running.asked.clear()
    assert close("--from", str(path)).stdout == first.stdout
    assert close("--from", str(path), "--explain", "base").stdout.startswith("base: 2 versions: 1.0, 1.5\n")
    assert close("demo", "--from", str(path)).exit_code == 1
    assert running.asked == []


def test_files_and_names(close, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("base==1.5\n-e .\n")
    told = close("win", "-r", str(tmp_path / "requirements.txt"))
    assert told.exit_code == 0, told.output
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == ["base", "win", "2"]
    assert "(left out)" in told.stderr
    told = close("-r", str(tmp_path / "requirements.txt"), "--mode", "locked")
    assert [line.split()[:3] for line in told.stdout.splitlines()[1:2]] == [["base", "1", "1"]]


def test_constraints_bound_all_projects(close, tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("base>1.0\nBase!=2.0\nbase==9 ; python_version<'3'\n")
    told = close("demo", "-c", str(tmp_path / "constraints.txt"), "--explain", "base")
    assert told.stdout.splitlines()[0] == "base: 1 version: 1.5"
    assert close("demo", "-c", str(tmp_path / "missing.txt")).exit_code == 1


def test_the_upstream_is_asked_as_the_settings_of_mirrors_say(
    close, running: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "pkgindex.toml"
    settings.write_text('[plugins.mirror]\nuser_agent = "closing, ops@example.org"\n')
    assert close("base", "--config", str(settings)).exit_code == 0
    assert {asked.headers["User-Agent"] for asked in running.asked} == {"closing, ops@example.org"}
    monkeypatch.setenv("PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS", '["no network"]')
    told = close("base")
    assert (told.exit_code, "no network" in told.output) == (1, True)


def test_what_is_not_known_and_what_is_not_there_is_told(close) -> None:
    told = close("old", "demo>=9")
    assert told.exit_code == 3
    assert "error: demo>=9 (command line): no version fits 3.12 on linux-x86_64" in told.stderr
    assert "old 1.0: its dependencies are known only when it is built" in told.stderr


def test_wrong_words_are_refused_together(close, running: ScriptedUpstream) -> None:
    told = close("de mo", "demo @ file:///x")
    assert told.exit_code == 1
    assert told.stderr.count("error:") == 2
    assert close("demo", python="three").exit_code == 1
    assert running.asked == []


def test_an_upstream_that_is_down_leaves_the_former_closure(close, running: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "closure.json"
    assert close("demo", "-o", str(path)).exit_code == 0
    former = path.read_bytes()
    running.script("page", behaviours.status(500))
    told = close("demo", "-o", str(path))
    assert told.exit_code == 4
    assert "error: the page of demo" in told.stderr
    assert path.read_bytes() == former
    assert {*tmp_path.iterdir()} == {path, tmp_path / "data"}


@pytest.mark.parametrize("option", ["", "-r", "-c"])
def test_a_requirement_with_thousands_of_digits_is_refused(close, tmp_path: Path, option: str) -> None:
    text = f"demo>={'9' * 5000}"
    (tmp_path / "long.txt").write_text(text)
    told = close("demo", *([option, str(tmp_path / "long.txt")] if option else [text]))
    assert told.exit_code == 1
    assert "the requirement of demo has more than 4096 characters" in told.stderr
