"""`pkgindex-serve gc` and `migrate` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_http.cli import main
from tests.crash.oracle import prepare_data


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A store with a wheel, its metadata, and an unused blob."""
    await prepare_data(tmp_path / "data")
    async with Engine.open(Settings(data=tmp_path / "data"), mirrors=False) as engine:
        await engine.blobs.put(b"unused")
    return tmp_path / "data"


def test_gc_tells_what_it_does(data: Path) -> None:
    for words, removed in ((("--dry-run", "--grace", "0"), 1), ((), 0), (("--grace", "0s"), 1), ((), 0)):
        done = run("gc", "--data", data, "--json", *words)
        assert done.exit_code == 0
        told = json.loads(done.stdout)
        assert (told["removed"], told["dry_run"]) == (removed, "--dry-run" in words)
    assert (told["blobs"], told["unused"]) == (2, 0)
    assert "0 of 2 files" in done.stderr


def test_a_grace_that_is_no_time_is_refused(data: Path) -> None:
    done = run("gc", "--data", data, "--grace", "soon")
    assert (done.exit_code, "'soon' is no amount of seconds; write 24h, 7d" in done.stderr) == (2, True)


def test_a_verification_names_gc(data: Path) -> None:
    assert "hint: pkgindex-serve gc" in run("verify", "--data", data).stderr


def test_migrate_needs_a_target_and_its_result_is_a_store(data: Path, tmp_path: Path) -> None:
    done = run("migrate", "--data", data)
    assert (done.exit_code, "name --to-store, --to-blobs or both" in done.stderr) == (1, True)
    (tmp_path / "new").mkdir()
    store, blobs = f"sqlite://{tmp_path}/new/index.sqlite", f"file://{tmp_path}/new/blobs"
    done = run("migrate", "--data", data, "--to-store", store, "--to-blobs", blobs, "--json")
    assert done.exit_code == 0
    assert (json.loads(done.stdout)["blobs"], json.loads(done.stdout)["lost"]) == (2, [])
    assert run("verify", "--data", tmp_path / "new", "--metadata").exit_code == 0
    assert run("migrate", "--data", data, "--to-store", f"sqlite://{tmp_path}/shared.sqlite").exit_code == 0
    done = run("gc", "--data", data)
    assert (done.exit_code, "pkgindex-serve gc --only-index" in done.stderr) == (1, True)
    assert run("gc", "--data", data, "--only-index").exit_code == 0
