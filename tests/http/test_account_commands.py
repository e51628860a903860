"""`pkgindex-serve token` at the terminal."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pkgindex_http.cli import main
from tests.http.conftest import make_store


def test_the_list_of_tokens_says_every_limit(tmp_path: Path) -> None:
    """A token that may only read is not one for "all"."""
    wanted = {
        "ci": (
            ["--index", "root/dev", "--action", "read", "--action", "upload"],
            "indexes=root/dev actions=read,upload",
        ),
        "reader": (["--action", "read"], "actions=read"),
        "one": (["--project", "demo*"], "projects=demo*"),
        "open": ([], "all"),
    }
    make_store(tmp_path)
    for name, (words, _) in wanted.items():
        made = CliRunner().invoke(main, ["token", "create", "root", "--name", name, *words, "--data", str(tmp_path)])
        assert made.exit_code == 0, made.output
    told = CliRunner().invoke(main, ["token", "list", "root", "--data", str(tmp_path)])
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert {row[4]: row[3] for row in rows} == {name: said for name, (_, said) in wanted.items()}
