"""Pages of odd upstreams, read through us and installed from by real clients: no entry costs the rest of the page."""

from __future__ import annotations

import asyncio
import hashlib
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

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


async def shown_sizes(server: ServerProcess, project: str) -> dict[str, int]:
    """The sizes on a page, by filename, once all files have one."""
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    async with aiohttp.ClientSession(headers=accept) as session:
        while True:
            async with session.get(f"{server.url}/simple/{project}/") as answer:
                files = (await answer.json(content_type=None))["files"]
            if all("size" in file for file in files):
                return {file["filename"]: file["size"] for file in files}
            await asyncio.sleep(0.05)


async def locked_sizes(server: ServerProcess, place: Path, *projects: str) -> dict[str, int | None]:
    """The sizes of wheels in a lock that uv makes, by filename."""
    place.mkdir()
    (place / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = {list(projects)}\n'
    )
    ran = await run(
        executable("uv"), "lock", "--no-cache", "--default-index", f"{server.url}/simple/", "--directory", place
    )
    assert ran.status == 0, ran.output
    packages = tomllib.loads((place / "uv.lock").read_text())["package"]
    wheels = [wheel for package in packages for wheel in package.get("wheels", ())]
    return {wheel["url"].rpartition("/")[2].partition("#")[0]: wheel.get("size") for wheel in wheels}


async def test_a_lock_has_sizes_that_no_page_of_the_upstream_tells(
    server: ServerProcess, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    upstream.speaks = "html"
    built = {each.filename: each.size for each in (build_wheel("poor", "1.0"), build_wheel("poor", "2.0"))}
    upstream.add("poor", build_wheel("poor", "1.0"), build_wheel("poor", "2.0"))
    assert await shown_sizes(server, "poor") == built
    newest = build_wheel("poor", "2.0").filename
    assert await locked_sizes(server, tmp_path / "one", "poor") == {newest: built[newest]}
    assert upstream.count("file") == 0
    # A size that the upstream states wrongly harms no installer, and is corrected when the file was fetched.
    wrong = build_wheel("wrong", "1.0")
    upstream.add("wrong", wrong)
    upstream.script("head", behaviours.with_body(lambda body: body + b"more"))
    assert await shown_sizes(server, "wrong") == {wrong.filename: wrong.size + 4}
    assert await locked_sizes(server, tmp_path / "two", "wrong") == {wrong.filename: wrong.size + 4}
    for client in installers.names:
        ran, found = await installers.install(client, f"{server.url}/simple/", "wrong")
        assert (ran.status, found) == (0, ["wrong-1.0"]), ran.output
    assert await locked_sizes(server, tmp_path / "three", "wrong") == {wrong.filename: wrong.size}


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
