"""`pkgindex-serve publisher` and `audit` at the terminal."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from pkgindex_http.cli import main
from tests.http.conftest import make_store


def run(tmp_path: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--data", str(tmp_path / "data")])


def test_publishers_are_added_listed_and_dropped(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    who = "github:octo/demo//release.yml#pypi"
    added = run(tmp_path, "publisher", "add", "root/dev", "Demo", who, "repository_id=7")
    assert added.exit_code == 0, added.output
    again = run(tmp_path, "publisher", "add", "root/dev", "demo", who, "repository_id=7")
    assert again.exit_code != 0
    listed = run(tmp_path, "publisher", "list")
    assert listed.stdout == f"root/dev\tdemo\t{who}\tpending\trepository_id=7\n"
    (document,) = json.loads(run(tmp_path, "publisher", "list", "root/dev", "--json").stdout)
    assert document["pending"] is True
    wrong = run(tmp_path, "publisher", "add", "root/dev", "demo", "github:octo")
    assert (wrong.exit_code != 0, "names no repository" in wrong.output) == (True, True)
    assert run(tmp_path, "publisher", "drop", "root/dev", "demo", "github:octo/other").exit_code != 0
    assert run(tmp_path, "publisher", "drop", "root/dev", "demo", who).exit_code == 0
    assert run(tmp_path, "publisher", "list").stdout == ""


def test_an_audit_goes_through_files(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    checkpoint, export = tmp_path / "checkpoint.json", tmp_path / "log.jsonl"
    checkpoint.write_text(run(tmp_path, "audit", "checkpoint").stdout)
    export.write_bytes(run(tmp_path, "audit", "export").stdout_bytes)
    for words in (["--checkpoint", checkpoint], ["--file", export], ["--file", export, "--checkpoint", checkpoint]):
        checked = run(tmp_path, "audit", "verify", *words)
        assert (checked.exit_code, "the chain holds" in checked.stderr) == (0, True), checked.output
        assert checked.stdout.strip() == json.loads(checkpoint.read_text())["hash"]
    export.write_bytes(export.read_bytes().replace(b'"who":"', b'"who":"x', 1))
    broken = run(tmp_path, "audit", "verify", "--file", export)
    assert (broken.exit_code, "broken at commit 1" in broken.stderr) == (1, True)
    nonsense = run(tmp_path, "audit", "verify", "--checkpoint", export)
    assert (nonsense.exit_code != 0, "no checkpoint" in nonsense.output) == (True, True)
