"""Pages of odd upstreams, read through us and installed from by real clients: no entry costs the rest of the page."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def _digest(built: BuiltFile, algorithm: str) -> str:
    if algorithm == "blake2b_256":
        return hashlib.blake2b(built.data, digest_size=32).hexdigest()
    return hashlib.new(algorithm, built.data).hexdigest()


def _says(built: BuiltFile) -> dict[str, dict[str, Any]]:
    """What a page may say of a file for which some installer would refuse the whole page or the file."""
    algorithms = ("md5", "sha1", "sha224", "sha512", "blake2b", "blake2b_256")
    return {
        **{name: {"hashes": {name: _digest(built, name)}} for name in algorithms},
        "both": {"hashes": {"blake2b": _digest(built, "blake2b"), "sha256": built.sha256}},
        "text": {"hashes": {"md5": "not a digest"}, "size": str(built.size), "upload-time": "yesterday"},
        "huge": {"size": 2**64, "upload-time": "9999-12-31T23:59:59.999999Z"},
    }


async def test_no_installer_refuses_a_page_for_one_odd_file(
    server: ServerProcess, upstream: ScriptedUpstream, installers: Installers
) -> None:
    projects = {name: f"odd-{name.replace('_', '-')}" for name in _says(build_wheel("odd", "1.0"))}
    for name, project in projects.items():
        upstream.add(project, build_wheel(project, "1.0"))
        newer = build_wheel(project, "2.0")
        upstream.add(project, newer, **_says(newer)[name])
    for client in installers.names:
        ran, found = await installers.install(client, f"{server.url}/simple/", *projects.values())
        assert ran.status == 0, ran.output
        assert found == sorted(f"{project.replace('-', '_')}-2.0" for project in projects.values())
