"""`import devpi DIR`, `backup`, `backup list`, `backup verify` and `restore` at the terminal: what they say, and the exit status that tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.cli import main
from tests.core.services.devpi_dumps import DevpiDumpBuilder

WHEEL = build_wheel("demo", "1.0")
HASH = "$argon2i$v=19$m=512,t=2,p=2$y/k/x/jfm/Peu3cOYSwlpA$WV0h32WZhOWUn/GprUrezCVyEEWd6/zGt7ZbMBivmSc"


def serve(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture
def dump(tmp_path: Path) -> DevpiDumpBuilder:
    dump = DevpiDumpBuilder(tmp_path / "devpi")
    dump.user("alice", pwhash=HASH)
    dump.user("root", pwhash=HASH)
    dump.index("alice/dev")
    dump.version("alice/dev", "demo", "1.0")
    dump.file("alice/dev", "demo", "1.0", WHEEL.filename, WHEEL.data)
    return dump


def test_from_devpi_through_a_backup_into_another_store(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    first, second, backup = tmp_path / "first", tmp_path / "second", tmp_path / "backup"
    said = serve("import", "devpi", dump.write(), "--data", first, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["complete"] is True
    assert said.stderr.startswith("added: users 1, indexes 1, versions 1, files 1, documentation 0, test results 0 (")
    assert "root has the password of the dump" in said.stderr
    assert not (first / "root-password").exists()
    for words in (("backup", backup), ("backup", "take", backup), ("backup", "--keep", "2", backup.as_uri())):
        said = serve(*words, "--data", first, "--json")
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout)["lost"] == []
    assert "removed: 1 old backups and 0 files" in said.stderr
    said = serve("backup", "list", backup, "--json")
    listed = json.loads(said.stdout)
    assert [each["lost"] for each in listed] == [[], []]
    lines = serve("backup", "list", backup).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [each["name"] for each in listed]
    said = serve("backup", "verify", backup, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["problems"] == []
    assert said.stderr.startswith("2 backups with ")
    said = serve("restore", backup, "--at", listed[0]["name"], "--data", second, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["name"] == listed[0]["name"]
    assert f"restoring the backup {listed[0]['name']}" in said.stderr
    indexes = [serve("index", "list", "--json", "--data", data).stdout for data in (first, second)]
    assert indexes[0] == indexes[1]
    assert "alice/dev" in indexes[0]
    said = serve("restore", backup, "--data", second)
    assert said.exit_code == 1
    assert "error: the store is not empty" in said.stderr
    assert "hint: restore into an empty store" in said.stderr


def test_what_is_left_out_is_listed_and_the_status_tells(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    dump.user("Ünal")
    dump.document["indexes"]["alice/dev"]["files"][0]["entrymapping"]["hashes"] = {"md5": "0" * 32}
    said = serve("import", "devpi", dump.write(), "--data", tmp_path / "data", "--json")
    assert said.exit_code == 3
    report = json.loads(said.stdout)
    assert report["complete"] is False
    assert {(one["kind"], one["name"]) for one in report["remarks"]} == {
        ("user", "Ünal"),
        ("file", f"alice/dev {WHEEL.filename}"),
    }
    assert "left out (2):" in said.stderr


def test_a_lost_file_is_told_and_the_rest_backed_up(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    assert serve("import", "devpi", dump.write(), "--data", data).exit_code == 0
    (data / "blobs" / "sha256" / WHEEL.sha256[:2] / WHEEL.sha256).unlink()
    for words in (("backup", backup, "--data", data), ("restore", backup, "--data", tmp_path / "b")):
        said = serve(*words, "--json")
        assert said.exit_code == 3, said.output
        (lost,) = json.loads(said.stdout)["lost"]
        assert lost.startswith(f"{WHEEL.filename} in alice/dev")
        assert lost in said.stderr


def test_a_damaged_backup_is_told(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    assert serve("import", "devpi", dump.write(), "--data", data).exit_code == 0
    assert serve("backup", backup, "--data", data).exit_code == 0
    (backup / "blobs" / "sha256" / WHEEL.sha256[:2] / WHEEL.sha256).write_bytes(b"other")
    said = serve("backup", "verify", backup, "--json")
    assert said.exit_code == 3
    (problem,) = json.loads(said.stdout)["problems"]
    assert problem.startswith(f"the bytes of sha256 {WHEEL.sha256} are damaged")
    assert problem in said.stderr
    assert "hint: take a new backup" in said.stderr
    assert serve("backup", backup, "--data", data).exit_code == 0
    assert serve("backup", "verify", backup).exit_code == 0
    first, second = sorted((backup / "backups").glob("*.json"))
    first.write_text("{}")
    said = serve("backup", "list", backup)
    assert said.exit_code == 3
    assert said.stdout.startswith(second.stem)
    assert f"error: the backup {first.stem} cannot be read" in said.stderr


def test_what_cannot_be_done_says_what_to_do(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    (tmp_path / "empty").mkdir()
    for words in (
        ("restore", tmp_path / "empty"),
        ("backup", "list", tmp_path / "empty"),
        ("backup", "verify", tmp_path / "empty"),
        ("backup", "list", "nothing://opens/this"),
        ("import", "devpi", tmp_path / "empty"),
        ("backup", tmp_path / "new"),
    ):
        said = serve(*words, "--data", tmp_path / "data")
        assert said.exit_code == 1, said.output
        assert "error: " in said.stderr
        assert "hint: " in said.stderr
        # `import devpi` prepares a store, as every command does; start anew for the next.
        for path in sorted((tmp_path / "data").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert serve("backup", "--help").stdout.startswith("Usage: ")
    assert not [*(tmp_path / "empty").iterdir()]
