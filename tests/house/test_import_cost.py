"""What an import costs: somebody who wants one rule or an index inside his program does not pay for a server.

Each case is a fresh interpreter, which says what it has loaded.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from msgspec import Struct

ROOT = Path(__file__).parents[2]

SERVER = {"aiohttp", "uvloop", "yarl", "multidict"}
DRIVERS = {"apsw", "asyncpg", "sqlite3", "fsspec", "s3fs", "gcsfs", "adlfs"}
TERMINAL = {"click", "rich", "jinja2"}
HEAVY = SERVER | DRIVERS | TERMINAL | {"argon2", "cryptography", "ssl", "pluggy", "hypothesis", "pytest"}


NOT_FOR_AN_ANSWER = {
    "aiohttp.client",
    "aiohttp.connector",
    "aiohttp.web",
    "aiohttp.web_app",
    "aiohttp.web_fileresponse",
    "argon2",
    "configparser",
    "fsspec",
    "importlib.metadata",
    "importlib.resources",
    "ldap3",
    "packaging.licenses",
    "packaging.requirements",
    "packaging.tags",
    "packaging.version",
    "pkgindex_core.composition.administering",
    "pkgindex_core.composition.describing",
    "pkgindex_core.composition.documenting",
    "pkgindex_core.composition.mending",
    "pkgindex_core.composition.moving",
    "pkgindex_core.composition.writing",
    "passlib",
    "pkgindex_core.engines.directory.directory_index",
    "pkgindex_core.engines.directory.source",
    "pkgindex_core.engines.fsspec",
    "pkgindex_core.engines.htpasswd.authenticator",
    "pkgindex_core.engines.ldap.authenticator",
    "pkgindex_core.engines.ldap.settings",
    "pkgindex_core.engines.memory",
    "pkgindex_core.engines.routes.folders_root",
    "pkgindex_core.engines.routes.source",
    "pkgindex_core.engines.sqlite.applying",
    "pkgindex_core.formats.archives",
    "pkgindex_core.formats.devpi",
    "pkgindex_core.formats.metadata_fields",
    "pkgindex_core.formats.upload_form",
    "pkgindex_core.formats.version_documents",
    "pkgindex_core.rules.planning",
    "pkgindex_core.services.administering.examining",
    "pkgindex_core.services.administering.indexes",
    "pkgindex_core.services.administering.tokens",
    "pkgindex_core.services.administering.users",
    "pkgindex_core.services.moving.importing",
    "pkgindex_core.services.moving.pushing",
    "pkgindex_core.services.reading.explaining",
    "pkgindex_core.services.reading.findlinks",
    "pkgindex_core.services.reading.project_information",
    "pkgindex_core.services.reading.searching",
    "pkgindex_core.services.reading.versions",
    "pkgindex_core.services.writing.file_uploads",
    "pkgindex_http.wire.multipart",
    "pkgindex_http.proxpi.routes",
    "pkgindex_http.pypiserver.routes",
    "pkgindex_http.simpleindex.routes",
    "pkgindex_mirror.documents.markup",
    "pkgindex_mirror.readthrough.files.mirrored_files",
    "pkgindex_mirror.readthrough.files.mirrored_metadata",
    "pkgindex_mirror.documents.pages",
    "pkgindex_mirror.readthrough.pages.refreshing",
    "pkgindex_mirror.readthrough.pages.refreshing_names",
    "pkgindex_mirror.upstreams.strangers",
    "pkgindex_mirror.upstreams.upstream",
    "pkgindex_mirror.upstreams.upstream_answers",
    "tarfile",
    "tomllib",
    "xmlrpc.client",
    "zipfile",
}
"""What a server has not loaded when it first answers: it comes with the first upload, log-in, push or question to an upstream."""

SERVE_ONCE = """
import json, os, socket, sys, threading, time

def answered():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
                connection.sendall(b"GET /+live HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
                assert connection.recv(12) == b"HTTP/1.1 200"
                return
        except ConnectionRefusedError:
            time.sleep(0.01)

def look():
    answered()
    sys.stdout.write(json.dumps(sorted(sys.modules)) + "\\n")
    sys.stdout.flush()
    os._exit(0)

threading.Thread(target=look).start()
from pkgindex_http.cli import main
main(["run", "--port", sys.argv[1], "--data", sys.argv[2]])
"""
"""Serve until the first answer, and say which modules are loaded then."""


EXAMINE_ONCE = """
import json, os, sys
from pkgindex_core.services.administering.examining import Examining
from pkgindex_http.cli import main
from pkgindex_http.commands import serving

async def look(self):
    sys.stdout.write(json.dumps(sorted(sys.modules)) + "\\n")
    sys.stdout.flush()
    os._exit(0)

Examining.all = look
serving._FIRST_MOMENTS = 0.0
main(["run", "--port", "0", *sys.argv[1:]])
"""
"""Serve until upstreams are examined, and say which modules are loaded then."""


def loaded_at_first_answer(data: Path) -> set[str]:
    """The modules of a server that has answered one request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ONCE, str(port), str(data)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def loaded_at_examination(*words: str | Path) -> set[str]:
    """The modules of a server that is about to ask its upstreams."""
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE_ONCE, *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


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
        ("import pkgindex_http.cli", HEAVY - {"click", "pluggy", "ssl"}),
        ("import pkgindex_mirror.cli", HEAVY - {"click", "pluggy", "ssl"}),
    ],
)
def test_an_import_loads_nothing_it_does_not_need(statement: str, never: set[str]):
    assert loaded(statement) & never == set()


def test_a_server_that_starts_again_loads_nothing_it_does_not_answer_with(tmp_path: Path):
    first = loaded_at_first_answer(tmp_path / "data")
    assert "argon2" in first, "the first start of all hashes the password of root, and the probe sees it"
    again = loaded_at_first_answer(tmp_path / "data")
    assert "aiohttp.web_server" in again
    assert again & NOT_FOR_AN_ANSWER == set()


def test_a_server_without_mirrors_does_without_a_client(tmp_path: Path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert "aiohttp.client" in loaded_at_examination("--data", tmp_path / "one"), "a usual server has a mirror"
    assert "aiohttp.client" not in loaded_at_examination("--data", tmp_path / "two", wheels)


@pytest.mark.parametrize(
    "module",
    [
        "pkgindex_core.changes",
        "pkgindex_core.config",
        "pkgindex_core.formats.project_outlines",
        "pkgindex_core.models",
        "pkgindex_core.rules.kept_options",
        "pkgindex_core.stored_configs",
        "pkgindex_http.settings",
        "pkgindex_mirror.settings",
    ],
)
def test_no_start_compiles_the_annotations_of_what_every_start_reads(module: str):
    structs = [each for each in vars(import_module(module)).values() if isinstance(each, type(Struct))]
    declared = [each for struct in structs if struct.__module__ == module for each in struct.__annotations__.values()]
    assert declared
    assert not [each for each in declared if isinstance(each, str)]


def test_the_probe_sees_what_is_loaded():
    """This test can fail: what an engine needs is there once the engine is."""
    assert loaded("import pkgindex_core.engines.sqlite.index") >= {"apsw", "pkgindex_core"}
