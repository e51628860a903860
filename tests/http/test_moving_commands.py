"""`export`, `import DIR` and `import devpi DIR` at the terminal: what they say, and the exit status that tells."""

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


def test_from_devpi_through_a_dump_into_another_store(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    said = serve("import", "devpi", dump.write(), "--data", first, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["complete"] is True
    assert said.stderr.startswith("added: users 1, indexes 1, versions 1, files 1, documentation 0, test results 0 (")
    assert "root has the password of the dump" in said.stderr
    assert not (first / "root-password").exists()
    assert serve("export", tmp_path / "dump", "--data", first).exit_code == 0
    for words in (("import", tmp_path / "dump"), ("import", "dump", tmp_path / "dump")):
        said = serve(*words, "--data", second)
        assert said.exit_code == 0, said.output
    listed = [serve("index", "list", "--json", "--data", data).stdout for data in (first, second)]
    assert listed[0] == listed[1]
    assert "alice/dev" in listed[0]


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


def test_a_lost_file_is_told_and_the_rest_exported(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    data = tmp_path / "data"
    assert serve("import", "devpi", dump.write(), "--data", data).exit_code == 0
    (data / "blobs" / "sha256" / WHEEL.sha256[:2] / WHEEL.sha256).unlink()
    for words in (
        ("export", tmp_path / "dump", "--data", data),
        ("import", tmp_path / "dump", "--data", tmp_path / "b"),
    ):
        said = serve(*words, "--json")
        assert said.exit_code == 3, said.output
        assert [one["filename"] for one in json.loads(said.stdout)["lost"]] == [WHEEL.filename]
        assert f"alice/dev {WHEEL.filename}" in said.stderr


def test_what_cannot_be_done_says_what_to_do(tmp_path: Path, dump: DevpiDumpBuilder) -> None:
    (tmp_path / "empty").mkdir()
    for words in (
        ("import", tmp_path / "empty"),
        ("import", "devpi", tmp_path / "empty"),
        ("export", tmp_path / "new"),
    ):
        said = serve(*words, "--data", tmp_path / "data")
        assert said.exit_code == 1, said.output
        assert "error: " in said.stderr
        assert "hint: " in said.stderr
        if words[0] == "import" and words[1] != "devpi":
            assert "import devpi DIR" in said.stderr
        # `import devpi` prepares a store, as every command does; start anew for the next.
        for path in sorted((tmp_path / "data").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
