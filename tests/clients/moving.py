"""A real devpi-server that its own client fills, and what is looked at before and after its data moves here."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from socket import socket
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from tests.clients.running import Ran, clean_environment, executable, run

SIMPLE = {"Accept": "application/vnd.pypi.simple.v1+json", "User-Agent": "pip/25.0"}
QUICK = ("--argon2-memory-cost", "1024", "--argon2-time-cost", "1", "--argon2-parallelism", "1")
"""For the key that devpi derives at its start."""


def commands_of(place: Path, *requirements: str) -> Path:
    """Make an environment with these distributions; return the directory of its commands."""
    uv = executable("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place / "venv"], check=True)
    python = place / "venv" / "bin" / "python"
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--prerelease",
            "if-necessary-or-explicit",
            "--python",
            python,
            *requirements,
        ],
        check=True,
    )
    return python.parent


class Client:
    """devpi's client with a state of its own."""

    def __init__(self, commands: Path, place: Path) -> None:
        self._command = commands / "devpi"
        self._state = place / "client"
        self._home = place

    async def __call__(self, command: str, *words: str | Path) -> Ran:
        said = await run(
            self._command, command, "--clientdir", self._state, *words, env={"HOME": str(self._home)}, cwd=self._home
        )
        assert said.status == 0, f"devpi {command} {' '.join(map(str, words))}\n{said.output}"
        return said


@asynccontextmanager
async def served(commands: Path, data: Path) -> AsyncIterator[str]:
    """devpi-server over a directory; stopped at the end, as an export wants it."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (data.parent / "devpi.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            commands / "devpi-server", "--serverdir", data, "--port", str(port), *QUICK,
            stdout=log, stderr=log, env=clean_environment(),
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(120):
            while True:
                assert process.returncode is None, (data.parent / "devpi.log").read_text()
                try:
                    async with session.get(f"{url}/+api"):
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def sdist_zip(name: str, version: str) -> bytes:
    """A source distribution as they were: a zip."""
    information = f"Metadata-Version: 1.1\nName: {name}\nVersion: {version}\nSummary: old\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}-{version}/PKG-INFO", information)
        archive.writestr(f"{name}-{version}/setup.py", "from setuptools import setup; setup()\n")
    return data.getvalue()


def docs_zip(text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.html", text)
    return data.getvalue()


class Seen(msgspec.Struct, kw_only=True):
    """Everything that two servers are compared by."""

    pages: dict[str, Any]
    documents: dict[str, Any]
    files: dict[str, bytes]


async def look(url: str, indexes: Iterable[str], projects: Iterable[str], *, files_of: Iterable[str]) -> Seen:
    """Ask a server for everything that stays when it moves: pages, versions, and the bytes of all files that `files_of` link to."""
    seen = Seen(pages={}, documents={}, files={})
    async with aiohttp.ClientSession() as session:
        for index in indexes:
            for project in projects:
                place = f"{url}/{index}/+simple/{project}/"
                async with session.get(place, headers=SIMPLE) as answer:
                    if answer.status == 404:
                        seen.pages[f"{index} {project}"] = None
                        continue
                    assert answer.status == 200, (place, await answer.text())
                    page = await answer.json(content_type=None)
                seen.pages[f"{index} {project}"] = {
                    file["filename"]: (
                        file["hashes"]["sha256"],
                        file.get("requires-python") or "",
                        file.get("yanked") or False,
                    )
                    for file in page["files"]
                }
                for file in page["files"] if index in files_of else ():
                    async with session.get(answer.url.join(URL(file["url"]))) as fetched:
                        assert fetched.status == 200, file
                        seen.files[f"{index} {file['filename']}"] = await fetched.read()
                told = await document(session, f"{url}/{index}/{project}?ignore_bases=")
                if told is not None and told["result"]:  # of a project that only bases have: {} there, 404 here
                    seen.documents[f"{index} {project}"] = {
                        version: comparable(one, url) for version, one in told["result"].items()
                    }
    return seen


async def document(session: aiohttp.ClientSession, url: str) -> Any:
    """A document of devpi's protocol; None when there is none."""
    async with session.get(url, headers={"Accept": "application/json"}) as answer:
        return await answer.json() if answer.status == 200 else None


def comparable(version: Mapping[str, Any], url: str) -> dict[str, Any]:
    """A version's document: its links without host and in an order, times as devpi 7 writes them."""
    links = []
    for link in version.get("+links", ()):
        href = link["href"].removeprefix(url)
        log = [{key: _time(value) or None for key, value in entry.items() if value} for entry in link.get("log", ())]
        about = link.get("for_href", "").removeprefix(url)
        links.append((link["rel"], href, link.get("hash_spec"), about, log))
    kept = {key: value for key, value in version.items() if key not in {"+links", "+shadowing"}}
    return {**kept, "+links": sorted(links, key=str)}


def _time(value: Any) -> Any:
    if isinstance(value, list):
        return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*value)
    return value
