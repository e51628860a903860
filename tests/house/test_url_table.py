"""The server's pages of URLs and commands say what the code does: `REGENERATE=1 pytest tests/house/test_url_table.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from click.testing import CliRunner

from pkgindex_core.clock import SystemClock
from pkgindex_core.hookspecs import Context
from pkgindex_core.rules.policing.kinds import KINDS
from pkgindex_http.cli import main
from pkgindex_http.proxpi import routes as proxpi
from pkgindex_http.pypiserver import routes as pypiserver
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Checked, Glanced, OnIndex, Permission, Route
from pkgindex_http.simpleindex import routes as simpleindex

ROOT = Path(__file__).parents[2]
MARKED = r"(?<=^<!-- {0}: begin -->\n).*?(?=^<!-- {0}: end -->$)"


def permission_text(permission: Permission) -> str:
    match permission:
        case OnIndex(action=action, also=also):
            return f"{' or '.join(f'`{each}`' for each in (action, *also))} on the index"
        case Checked(action=action):
            return f"`{action}`"
        case Glanced(why=why):
            return f"credentials are read, none are needed: {why}"
        case _:
            return f"none: {permission.why}"


def url_table(routes: Iterable[Route]) -> str:
    lines = ["| method | path | permission | what |", "|---|---|---|---|"]
    lines += [
        f"| {route.method} | `{route.path}` | {permission_text(route.permission)} | {route.summary.replace('|', chr(92) + '|')} |"
        for route in routes
    ]
    return "\n".join(lines) + "\n"


def command_texts() -> str:
    """The help of every command, as it prints it."""
    runner = CliRunner()
    texts = []

    def add(words: list[str], command: object) -> None:
        if words:
            said = runner.invoke(main, [*words, "--help"], prog_name="pkgindex-serve", terminal_width=100)
            assert said.exit_code == 0, said.output
            if not hasattr(command, "commands"):
                texts.append(said.output.strip())
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            add([*words, name], inner)

    add([], main)
    return "```\n" + "\n\n".join(texts) + "\n```\n"


def check(page: str, name: str, expected: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    between = re.compile(MARKED.format(name), re.MULTILINE | re.DOTALL)
    assert between.search(text), f"the markers of {name} are missing"
    if os.environ.get("REGENERATE"):
        path.write_text(between.sub(lambda _: expected, text), encoding="utf-8")
        return
    assert between.search(text)[0] == expected, "run: REGENERATE=1 pytest tests/house/test_url_table.py"


def test_the_url_table_is_that_of_the_code() -> None:
    check("pkgindex_http/URLS.md", "urls", url_table(ROUTES))


def test_the_table_of_rules_is_that_of_the_code() -> None:
    lines = ["| line | what it does | default mode | at uploads |", "|---|---|---|---|"]
    for rule, kind in KINDS.items():
        at_uploads = "only" if kind.only_uploads else "too" if kind.at_uploads else ""
        lines.append(f"| `{f'{rule} {kind.value}'.strip()}` | {kind.summary} | `{kind.mode}` | {at_uploads} |")
    check("pkgindex_http/POLICIES.md", "rules", "\n".join(lines) + "\n")


def test_so_is_that_of_pypiservers_urls(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as workers:
        context = Context(data=tmp_path, clock=SystemClock(), workers=workers, settings={"roots": ["/srv/packages"]})
        check("pkgindex_http/PYPISERVER.md", "urls", url_table(pypiserver.made(context)))


def test_so_is_that_of_routes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as workers:
        team = {"pattern": "team/{project}", "place": "index.toml, line 1", "kind": "path", "to": "/srv/{project}"}
        table = {"file": "index.toml", "directory": "/srv", "routes": [team]}
        context = Context(data=tmp_path, clock=SystemClock(), workers=workers, settings=table)
        check("pkgindex_http/ROUTES.md", "urls", url_table(simpleindex.made(context, ROUTES)))


def test_so_is_that_of_proxpis_urls(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as workers:
        table = {"upstreams": [{"url": "https://pypi.org/simple/"}]}
        context = Context(data=tmp_path, clock=SystemClock(), workers=workers, settings=table)
        check("pkgindex_http/PROXPI.md", "urls", url_table(proxpi.made(context)))


def test_the_commands_are_documented_as_they_print_their_help() -> None:
    check("pkgindex_http/COMMANDS.md", "commands", command_texts())
