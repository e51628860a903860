"""The applier is one file that runs with plain Python: no package, no site directory, no environment."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pkgindex_mirror.bundles import apply_bundle
from tests.mirror.bundles.far_sides import NearSide
from tests.mirror.snapshots.mirrors import change, contents, ran, run

SOURCE = Path(apply_bundle.__file__)
PYTHONS = [sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in (8, 9, 14)))]


def plain(python: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-I", "-S", *map(str, words)], capture_output=True, text=True, check=False, env={})


@pytest.fixture
def near(tmp_path: Path) -> NearSide:
    near = NearSide(tmp_path)
    near.create("--part-size", "40KiB")
    change(near.mirror)
    near.create()
    ran("bundle", "applier", "-o", tmp_path / "applier.py")
    return near


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names


@pytest.mark.parametrize("python", PYTHONS)
def test_it_does_all_alone(near: NearSide, tmp_path: Path, python: str) -> None:
    works = subprocess.run([python, "-I", "-S", "-c", "pass"], check=False, capture_output=True)
    if works.returncode:
        pytest.skip(f"{python} does not run here")
    applier, far = tmp_path / "applier.py", tmp_path / "far"
    checked = plain(python, applier, "verify", "--key", near.public, near.out)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert len(checked.stdout.splitlines()) == 2
    shown = plain(python, applier, "status", "--root", far, "--key", near.public, near.out)
    assert shown.stdout.splitlines() == [
        "no bundle was applied",
        "bundle 1 of mirror pypi can be applied",
        "bundle 2 of mirror pypi can be applied",
    ]
    assert (shown.returncode, f"the directory {far} is not there" in shown.stderr) == (1, True)
    assert run("bundle", "status", "--root", far, "--key", near.public).exit_code == 1
    assert not far.exists()
    done = plain(python, applier, "apply", "--root", far, "--key", near.public, near.out)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(far) == near.states[2]
    again = plain(python, applier, "apply", "--root", far, "--key", near.public, *near.out.iterdir())
    assert again.returncode == 1
    assert "is a replay" in again.stderr
    assert plain(python, applier, "apply", "--root", far, "--key", near.key, near.out).returncode == 1
    assert plain(python, applier, "apply", "--root", far, "--key", tmp_path / "none", near.out).returncode == 1
    assert plain(python, applier, "apply", "--root", applier, "--key", near.public, near.out).returncode == 1


def test_it_is_printed_as_it_is(tmp_path: Path) -> None:
    assert ran("bundle", "applier").encode() == SOURCE.read_bytes()


def test_both_commands_do_the_same(near: NearSide, tmp_path: Path) -> None:
    lines = ran("bundle", "verify", "--key", near.public, near.out)
    assert plain(sys.executable, tmp_path / "applier.py", "verify", "--key", near.public, near.out).stdout == lines
    ran("bundle", "apply", "--root", tmp_path / "far", "--key", near.public, near.out)
    assert contents(tmp_path / "far") == near.states[2]
    assert run("bundle", "verify", "--key", near.public, tmp_path / "far").exit_code == 1, "nothing there is no success"


@pytest.mark.parametrize("number", [28, 122])
def test_its_exit_status_tells_a_full_disk(
    near: NearSide, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "full", "somewhere")

    monkeypatch.setattr(apply_bundle.Applier, "apply_all", full)
    words = ["apply", "--root", str(tmp_path / "far"), "--key", str(near.public), str(near.out)]
    assert apply_bundle.main(words) == 5
    assert "full: somewhere" in capsys.readouterr().err

    def full_without_a_name(*_: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(apply_bundle.Applier, "apply_all", full_without_a_name)
    assert apply_bundle.main(words) == 5
    assert f"full: {tmp_path / 'far'};" in capsys.readouterr().err


def test_a_directory_without_bundles_is_told(near: NearSide, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = f"there is no file *.bundle in {tmp_path / 'empty'}\n"
    apply = ("apply", "--root", tmp_path / "far", "--key", near.public, tmp_path / "empty")
    verify = ("verify", "--key", near.public, tmp_path / "empty")
    applied, checked = (plain(sys.executable, tmp_path / "applier.py", *words) for words in (apply, verify))
    assert (applied.returncode, applied.stdout, applied.stderr) == (0, f"nothing to apply: {told}", "")
    assert (checked.returncode, checked.stdout, checked.stderr) == (1, "", f"error: {told}")
    assert run("bundle", *apply).stdout == applied.stdout
    assert run("bundle", *verify).stderr == checked.stderr
    assert (
        plain(sys.executable, tmp_path / "applier.py", "apply", "--root", tmp_path, "--key", near.public).returncode
        == 2
    )


def test_an_interruption_is_told_in_one_line(
    near: NearSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(apply_bundle.Applier, "apply_all", interrupted)
    words = ["apply", "--root", str(tmp_path / "far"), "--key", str(near.public), str(near.out)]
    assert apply_bundle.main(words) == 130
    assert capsys.readouterr().err == "error: interrupted; run it again to go on\n"


def test_errors_of_the_system_are_told_without_the_log_of_a_server(tmp_path: Path) -> None:
    failed = run("bundle", "keygen", tmp_path / "nowhere/key")
    assert failed.exit_code == 1
    assert f"{tmp_path / 'nowhere/key'}: No such file or directory" in failed.stderr
    assert "server" not in failed.stderr
