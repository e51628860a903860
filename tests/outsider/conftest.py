"""Installs the outsider's distribution as a user would, into a directory of its own, without the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.conftest import serve  # noqa: F401 - a fixture

SOURCE = Path(__file__).parent
collect_ignore = ["own_tests"]  # run where it is installed: test_own_tests.py


@pytest.fixture(scope="session")
def outsider_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which pip has built and installed the distribution."""
    target = tmp_path_factory.mktemp("outsider") / "site"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", target, SOURCE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture
def outsider(outsider_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The distribution is installed for the time of a test; gone and forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(outsider_site))
    yield outsider_site
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "pkgindex_outsider":
            del sys.modules[name]
