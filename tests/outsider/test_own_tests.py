"""The contract suites work outside of our tree: from an installed pkgindex, in a clean directory, with nothing of tests/.

The outsider's own tests and every example of the suites' documentation run there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent
ROOT = SOURCE.parents[1]
CONFIGURATION = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"

NOTHING_OF_OURS = """
import pathlib, pkgindex_core, pkgindex_outsider

def test_what_is_tested_is_what_is_installed():
    assert {pathlib.Path(each.__file__).parents[1] for each in (pkgindex_core, pkgindex_outsider)} == {pathlib.Path(SITE)}
"""


def examples(document: str) -> dict[str, str]:
    """The examples of a document that begin with the name of a file."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^```py(?:thon)?\n(# (\w+\.py)\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {name: code for code, name in found}


@pytest.fixture(scope="module")
def site(outsider_site: Path) -> Path:
    """pkgindex beside the outsider's distribution, both installed by pip."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", outsider_site, ROOT],
        check=True,
        capture_output=True,
    )
    return outsider_site


def run(site: Path, directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env=environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_the_suites_run_in_a_clean_directory(site: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(CONFIGURATION)
    (tmp_path / "test_installed.py").write_text(f"SITE = {str(site)!r}\n{NOTHING_OF_OURS}")
    (tmp_path / "test_promises.py").write_text((SOURCE / "own_tests/test_promises.py").read_text())
    code = examples("pkgindex_core/README.md") | examples("pkgindex_core/testing/README.md")
    for name, example in code.items():
        (tmp_path / name).write_text(example)
    done = run(
        site,
        tmp_path,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "--junitxml=report.xml",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = (tmp_path / "report.xml").read_text()
    assert [name for name in code if name.startswith("test_") and f'classname="{name[:-3]}.' not in ran] == []


def test_what_is_missing_is_said(site: Path, tmp_path: Path) -> None:
    """And what needs no pytest works without."""
    hide = "import sys; sys.modules['pytest_asyncio'] = None; "
    done = run(
        site, tmp_path, "-c", f"{hide}import pkgindex_core.testing.page_filters, pkgindex_core.testing.index_store"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: the contract suites of pkgindex need pytest_asyncio, which is not installed:"
        " pip install pytest pytest-asyncio hypothesis"
    )
    names = ["wheels", "uploads", "faults", "configs", "samples", "index_cases.values"]
    plain = ", ".join(f"pkgindex_core.testing.{name}" for name in names)
    hide = "import sys; sys.modules |= dict.fromkeys(['pytest', 'pytest_asyncio', 'hypothesis']); "
    done = run(site, tmp_path, "-c", f"{hide}import {plain}")
    assert done.returncode == 0, done.stderr


def test_a_failed_assertion_says_what_it_compared(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(
        "from pkgindex_core.testing.clocks import ClockContract\n"
        "class Wrong:\n    now = lambda self: 5\n    monotonic = lambda self: 1.0\n"
        "class TestWrong(ClockContract):\n    make = lambda self: Wrong()\n"
    )
    done = run(site, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "< 5" in done.stdout
