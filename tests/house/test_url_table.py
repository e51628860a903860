"""The server's pages of URLs and commands say what the code does: `REGENERATE=1 pytest tests/house/test_url_table.py`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from click.testing import CliRunner

from pkgindex_http.cli import main
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Checked, Glanced, OnIndex, Permission

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


def url_table() -> str:
    lines = ["| method | path | permission | what |", "|---|---|---|---|"]
    lines += [
        f"| {route.method} | `{route.path}` | {permission_text(route.permission)} | {route.summary.replace('|', chr(92) + '|')} |"
        for route in ROUTES
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
    check("pkgindex_http/URLS.md", "urls", url_table())


def test_the_commands_are_documented_as_they_print_their_help() -> None:
    check("pkgindex_http/COMMANDS.md", "commands", command_texts())
