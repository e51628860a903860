"""What an import costs: somebody who wants one rule or an index inside his program does not pay for a server.

Each case is a fresh interpreter, which says what it has loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SERVER = {"aiohttp", "uvloop", "yarl", "multidict"}
DRIVERS = {"apsw", "asyncpg", "sqlite3", "fsspec", "s3fs", "gcsfs", "adlfs"}
TERMINAL = {"click", "rich", "jinja2"}
HEAVY = SERVER | DRIVERS | TERMINAL | {"argon2", "cryptography", "ssl", "pluggy", "hypothesis", "pytest"}


def loaded(statement: str) -> set[str]:
    """The top-level names of everything that is loaded after a statement in a fresh interpreter."""
    program = (
        f"import json, sys; {statement}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import pkgindex_core", HEAVY | {"asyncio", "msgspec", "packaging"}),
        ("import pkgindex_core.models, pkgindex_core.changes", HEAVY | {"asyncio"}),
        ("import pkgindex_core.rules.lineage, pkgindex_core.rules.admission", HEAVY),
        ("import pkgindex_core.formats.json_page, pkgindex_core.formats.html_page", HEAVY),
        ("import pkgindex_core.protocols", HEAVY),
        ("import pkgindex_core.config", HEAVY),
        ("import pkgindex_core.plugins", HEAVY - {"pluggy"}),
        ("import pkgindex_core.engine", SERVER | DRIVERS | TERMINAL | {"hypothesis", "pytest"}),
        ("from pkgindex_core.plugins import load_plugins; load_plugins(entry_points=False)", HEAVY - {"pluggy"}),
        ("import pkgindex_mirror", HEAVY),
        ("import pkgindex_http", HEAVY),
        ("import pkgindex_http.cli", HEAVY - {"click", "ssl"}),
    ],
)
def test_an_import_loads_nothing_it_does_not_need(statement: str, never: set[str]):
    assert loaded(statement) & never == set()


def test_the_probe_sees_what_is_loaded():
    """This test can fail: what an engine needs is there once the engine is."""
    assert loaded("import pkgindex_core.engines.sqlite.index") >= {"apsw", "pkgindex_core"}
