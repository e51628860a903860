"""A real devpi-server, started from an environment that has one: what ours is compared with, by hand (see `tests/README.md`)."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from socket import socket

import aiohttp

_CHEAP = ("--argon2-memory-cost", "1024", "--argon2-time-cost", "1", "--argon2-parallelism", "1")
"""For the derivation of keys at its start, which nobody measures here."""


@asynccontextmanager
async def devpi_server(commands: Path, *, upstream: str = "") -> AsyncIterator[str]:
    """Start a fresh one with its own defaults; `commands` is the `bin` of its environment. `upstream` is for `root/pypi`."""
    data = Path(tempfile.mkdtemp(prefix="devpi-"))
    quiet = asyncio.subprocess.DEVNULL
    init = await asyncio.create_subprocess_exec(
        commands / "devpi-init",
        "--serverdir",
        data,
        *(["--no-root-pypi"] if upstream else []),
        stdout=quiet,
        stderr=quiet,
    )
    assert await init.wait() == 0
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("--serverdir", str(data), "--host", "127.0.0.1", "--port", str(port), "--threads", "8")
    process = await asyncio.create_subprocess_exec(
        commands / "devpi-server", *words, "--indexer-backend", "null", *_CHEAP, stdout=quiet, stderr=quiet
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            while not await _answers(session, url):
                assert process.returncode is None
                await asyncio.sleep(0.2)
            if upstream:
                root = {"X-Devpi-Auth": "cm9vdDo="}  # root, with an empty password
                mirror = {"type": "mirror", "mirror_url": upstream, "volatile": "False", "title": "PyPI"}
                async with session.put(f"{url}/root/pypi", json=mirror, headers=root) as answer:
                    assert answer.status == 200, await answer.text()
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        shutil.rmtree(data)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/+api"):
            return True
    except aiohttp.ClientConnectionError:
        return False
