"""What must hold after every crash, asked over HTTP of the server that came back, and of its files.

acknowledged  -> present, with the right bytes
in doubt      -> wholly present or wholly absent: page, file and metadata agree
listed        -> served with its digest, and its metadata with its own
the log       -> no gap, and one commit for each thing that happened
the disk      -> every blob is what its name says; nothing is left of uploads that died
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp

from pkgindex_core.changes import Change, Commit, PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import File, IndexConfig, Serial, User
from pkgindex_core.names import IndexName, parse_project_name
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.processes import START_SECONDS, ServerProcess
from tests.http.conftest import PASSWORD, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.http.wire import RawAnswer, RawRequest, ask_raw

HOSTED = IndexName("root/dev")
MIRROR = IndexName("root/pypi")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
ROOT = basic("root", PASSWORD)
BEFORE = build_wheel("before", "1.0")
"""The file that a prepared directory holds."""
_ABANDONED = 2 * 86_400
"""Seconds after which a spool counts as abandoned, with some to spare."""


async def prepare_data(data: Path, *, upstream: str = "", store: str = "", blobs: str = "") -> None:
    """Make a data directory with a user, an index and a file in it.

    The password is stored as we store passwords: one that costs less is stored anew at the first log-in, a commit that no test here means.
    """
    changes: list[Change] = [
        PutIndex(IndexConfig(name=HOSTED, volatile=False, acl_upload=("root",))),
    ]
    if upstream:
        changes.append(PutIndex(mirror_config(MIRROR, upstream)))
    async with Engine.open(Settings(data=data, store=store, blobs=blobs), mirrors=False) as engine:
        root = User(name="root", password_hash=await engine.passwords.hash(PASSWORD))
        await engine.store.apply([PutUser(root), *changes], who="[test]")
        blob = await engine.blobs.put(BEFORE.data)
        metadata = await engine.blobs.put(BEFORE.metadata)
        name, version, *_ = BEFORE.filename.split("-")
        file = File(
            filename=BEFORE.filename,
            version=version,
            digests={"sha256": blob.sha256},
            size=blob.size,
            metadata_sha256=metadata.sha256,
        )
        await engine.store.apply([PutFile(HOSTED, parse_project_name(name), file, name)], who="[test]")


def upload_request(built: BuiltFile, *, authorization: str = ROOT["Authorization"], path: bytes = b"/legacy/") -> bytes:
    """An upload as it goes over the wire."""
    headers = (b"Authorization: " + authorization.encode(), b"Content-Type: " + CONTENT_TYPE)
    return RawRequest("POST", path, headers, encode_form(upload_parts(built))).encode()


async def upload(address: tuple[str, int], built: BuiltFile) -> RawAnswer | None:
    """Upload; None when the connection ended without an answer."""
    try:
        return await ask_raw(address, upload_request(built))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def wait_until_ready(server: ServerProcess) -> None:
    """Wait until a server that was just started takes requests, as long as it may take and no longer."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(START_SECONDS):
        while True:
            async with client.get(f"{server.url}/+ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)


async def examine(
    server: ServerProcess, acknowledged: Iterable[BuiltFile], *, doubtful: BuiltFile | None = None
) -> bool:
    """Look at everything a running server shows, and at what lies below it; whether the doubtful file is there."""
    await wait_until_ready(server)
    expected = {built.filename: built for built in (BEFORE, *acknowledged)}
    async with aiohttp.ClientSession() as client:
        shown = await _everything_shown(client, server.url)
        present = doubtful is not None and doubtful.filename in shown
        if doubtful is not None and present:
            expected[doubtful.filename] = doubtful
        elif doubtful is not None:
            await _is_wholly_absent(client, server.url, doubtful)
    assert shown == {name: (built.data, built.metadata) for name, built in expected.items()}
    await examine_files(server.data, files=len(expected))
    return present


async def examine_files(data: Path, *, files: int) -> None:
    """Look at what a server keeps on disk: the log of commits, and the blobs."""
    store = await SqliteIndex.open(data / "index.sqlite", SystemClock())
    try:
        assert await store.check() == []
        commits: list[Commit] = []
        while batch := await store.commits(Serial(len(commits))):
            commits += batch
        assert [commit.serial for commit in commits] == list(range(1, len(commits) + 1))
        published = [commit for commit in commits if isinstance(commit.changes[0], PutFile)]
        assert len(published) == files
    finally:
        await store.close()
    for path in (data / "blobs").rglob("sha256/*/*"):
        assert sha256_of(path.read_bytes()) == path.name
    assert spooled(data) == []


def spooled(data: Path) -> list[str]:
    """What lies where blobs are on their way in."""
    return sorted(path.name for path in (data / "blobs").rglob("staging/*"))


def age_spools(data: Path) -> int:
    """Let two days go by for what uploads that died have left, so that the next start has to sweep it; how many."""
    left = list((data / "blobs").rglob("staging/*"))
    for path in left:
        before = path.stat().st_mtime - _ABANDONED
        os.utime(path, (before, before))
    return len(left)


async def _everything_shown(client: aiohttp.ClientSession, url: str) -> dict[str, tuple[bytes, bytes]]:
    """Every file on every page with its bytes and its metadata, each as announced."""
    shown = {}
    listing = await _json(client, f"{url}/simple/")
    for project in listing["projects"]:
        page_url = f"{url}/simple/{project['name']}/"
        page = await _json(client, page_url)
        assert page["files"], project
        for file in page["files"]:
            place = urljoin(page_url, file["url"])
            data = await _bytes(client, place)
            assert sha256_of(data) == file["hashes"]["sha256"]
            assert len(data) == file["size"]
            metadata = await _bytes(client, f"{place}.metadata")
            assert sha256_of(metadata) == file["core-metadata"]["sha256"]
            shown[file["filename"]] = (data, metadata)
    return shown


async def _is_wholly_absent(client: aiohttp.ClientSession, url: str, built: BuiltFile) -> None:
    place = file_path(built)
    project = built.filename.split("-")[0]
    for path in (f"/simple/{project}/", place, f"{place}.metadata"):
        async with client.get(f"{url}{path}") as answer:
            assert answer.status == 404, path


def file_path(built: BuiltFile, index: str = HOSTED) -> str:
    return f"/{index}/+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"


async def _json(client: aiohttp.ClientSession, url: str) -> Any:
    async with client.get(url, headers=JSON) as answer:
        assert answer.status == 200, url
        return await answer.json(content_type=None)


async def _bytes(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url) as answer:
        assert answer.status == 200, url
        return await answer.read()
