"""Commands come through a hook, a plugin's beside the program's own; each is loaded when it is used, and a broken plugin harms no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from pkgindex_core.plugins import load_plugins
from pkgindex_http import cli, plugin
from pkgindex_mirror import cli as mirror_cli
from pkgindex_mirror import plugin as mirror_plugin

HELLO = """
from pkgindex_core.hookspecs import CommandProvider, hookimpl

def load():
    import click

    @click.command()
    @click.argument("name")
    def hello(name):
        "Say hello."
        click.echo(f"hello {name}")

    return hello

def fail():
    raise RuntimeError("no such part")

@hookimpl
def pkgindex_commands():
    yield CommandProvider(name="pkgindex-serve hello", section="Talk", summary="Say hello.", make=load)
    yield CommandProvider(name="pkgindex-mirror hello", summary="Say hello from here.", make=load)
    yield CommandProvider(name="pkgindex-serve broken", summary="Fails.", make=fail)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def install(site: Path, name: str, code: str) -> None:
    module = name.replace("-", "_")
    information = site / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[pkgindex]\nplugin = {module}\n")
    (site / f"{module}.py").write_text(code)


def run(site: Path, *words: str, program: str = "pkgindex_http", **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, "-m", f"{program}.cli", *words],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path} | environ,
    )  # fmt: skip


def test_a_plugins_command_is_listed_explained_and_run(site: Path) -> None:
    install(site, "acme-hello", HELLO)
    helped = run(site, "--help").stdout
    assert "Talk:\n  hello  Say hello.\n" in helped
    assert helped.index("Maintenance:") < helped.index("Talk:")
    assert run(site, "hello", "--help").stdout.startswith("Usage: python -m pkgindex_http.cli hello [OPTIONS] NAME")
    assert run(site, "hello", "anna").stdout == "hello anna\n"
    assert "Of plugins:\n  hello  Say hello from here.\n" in run(site, "-h", program="pkgindex_mirror").stdout
    assert run(site, "hello", "ben", program="pkgindex_mirror").stdout == "hello ben\n"
    listed = json.loads(run(site, "plugins", "--json").stdout)
    mine = {(each["hook"], each["name"]) for each in listed if each["distribution"] == "acme-hello"}
    assert ("pkgindex_commands", "pkgindex-serve hello") in mine


def test_a_shell_completes_it(site: Path) -> None:
    install(site, "acme-hello", HELLO)
    program = "from pkgindex_http.cli import main; main(prog_name='pkgindex-serve')"
    asked = {
        "PYTHONPATH": os.pathsep.join([str(site), str(Path(__file__).parents[2])]),
        "_PKGINDEX_SERVE_COMPLETE": "bash_complete",
        "COMP_WORDS": "pkgindex-serve he",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | asked, timeout=60)
    assert (done.stdout, done.stderr) == ("plain,hello\n", "")


def test_a_command_that_cannot_be_made_says_whose_it_is(site: Path) -> None:
    install(site, "acme-hello", HELLO)
    done = run(site, "broken")
    assert done.returncode == 1
    assert "acme-hello 1.0" in done.stderr
    assert "RuntimeError: no such part" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "code", ["import no_such_module", "raise SystemError('x')", HELLO.replace("serve hello", "serve")]
)
def test_a_broken_plugin_is_told_about_and_everything_else_works(site: Path, code: str) -> None:
    install(site, "acme-broken", code)
    helped = run(site, "--help")
    assert (helped.returncode, "Maintenance:" in helped.stdout) == (0, True)
    assert "warning: plugin 'plugin' (acme-broken 1.0; " in helped.stderr
    unknown = run(site, "nothing")
    assert (unknown.returncode, "acme-broken" in unknown.stderr, "No such command" in unknown.stderr) == (2, True, True)
    listed = run(site, "plugins")
    assert (listed.returncode, "pkgindex_commands" in listed.stdout) == (1, True)
    assert "acme-broken" in listed.stderr
    assert "disabled_plugins" in listed.stderr
    calm = run(site, "--help", PKGINDEX_DISABLED_PLUGINS="acme-broken")
    assert (calm.returncode, calm.stderr) == (0, "")
    of_the_program = run(site, "explain", "--help")
    assert (of_the_program.returncode, of_the_program.stderr) == (0, "")


def test_a_file_that_leaves_a_plugin_alone_is_heeded_although_the_rest_is_wrong(site: Path, tmp_path: Path) -> None:
    install(site, "acme-broken", "import no_such_module")
    file = tmp_path / "pkgindex.toml"
    file.write_text("disabled_plugins = ['acme-broken']\nnonsense = 1\n")
    assert run(site, "--help", PKGINDEX_CONFIG=str(file)).stderr == ""


def test_a_command_of_the_program_is_not_taken_over(site: Path) -> None:
    install(site, "acme-hello", HELLO.replace("pkgindex-serve hello", "pkgindex-serve explain"))
    assert "Show which layers" in run(site, "explain", "--help").stdout
    told = run(site, "--help").stderr
    assert "'pkgindex-serve explain' is offered by plugin 'pkgindex_http.plugin' (pkgindex" in told
    assert "acme-hello 1.0" in told


@pytest.mark.parametrize(
    ("program", "offering"), [(cli.main, plugin), (mirror_cli.main, mirror_plugin)], ids=["serve", "mirror"]
)
def test_the_summaries_of_the_programs_are_those_of_their_commands(program: Any, offering: Any) -> None:
    words = {each.name.partition(" ")[2]: each.summary for each in offering.pkgindex_commands()}
    said = {word: program.commands[word].get_short_help_str(limit=1000) for word in words}
    assert said == words
    assert {word: each.name for word in words if isinstance(each := program.commands[word], click.Command)} == {
        word: word for word in words
    }


def test_native_commands_pass_the_manager_too() -> None:
    offered = load_plugins(program=plugin, entry_points=False).commands()
    assert {each.name for each in offered} == {each.name for each in plugin.pkgindex_commands()}


def test_help_loads_no_command_and_a_command_of_the_program_looks_for_no_plugin() -> None:
    watching = (
        "import sys; from pkgindex_http.cli import main\n"
        "try: main([WORDS])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('pkgindex_http.commands.')), 'pkgindex_core.plugins' in sys.modules)"
    )

    def last(words: str) -> str:
        program = watching.replace("WORDS", words)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert last("'--help'") == "[] True"
    assert last("'history', '--help'") == "['pkgindex_http.commands.common', 'pkgindex_http.commands.history'] False"
