"""A mirror that decides nothing: asks for the list, each page, and each file and sidecar, compares digests, and writes what comes.

What any mirror in Python costs at least that uses aiohttp. It writes no pages, keeps no state, and is not made to be interrupted.

python -m benchmarks.bare_mirror URL DIRECTORY
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

_AT_ONCE = 16
_JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


async def mirror(url: str, directory: Path) -> None:
    """Mirror everything."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE)) as session:
        listed = await _get(session, f"{url}/simple/")
        waiting = iter(msgspec.json.decode(listed)["projects"])

        async def work() -> None:
            for project in waiting:
                page = msgspec.json.decode(
                    await _get(session, f"{url}/simple/{project['name'].lower().replace('.', '-')}/")
                )
                for link, sha256 in _links(page["files"]):
                    data = await _get(session, link)
                    if hashlib.sha256(data).hexdigest() != sha256:
                        raise ValueError(link)
                    place = directory / urlsplit(link).path[1:]
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def _links(files: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for file in files:
        yield file["url"], file["hashes"]["sha256"]
        if file["core-metadata"]:
            yield f"{file['url']}.metadata", file["core-metadata"]["sha256"]


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, headers=_JSON, raise_for_status=True) as response:
        return await response.read()


if __name__ == "__main__":
    asyncio.run(mirror(sys.argv[1], Path(sys.argv[2])))
