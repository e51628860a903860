"""Writes what a real devpi-server answers into the transcripts of `tests/golden/devpi`.

    uv venv /tmp/devpi && uv pip install --python /tmp/devpi devpi-server==6.20.3 devpi-web==5.1.1
    .venv/bin/python -m tests.http.record_transcripts /tmp/devpi/bin [NAME…]

Each transcript gets a fresh server, with devpi's own defaults: root has no password, everybody may make users. Read the difference
afterwards: a person answers for these files.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.devpi_server import devpi_server
from tests.http.transcripts import FILES, Player, read


async def record(commands: Path, names: list[str]) -> None:
    """Play each transcript against a fresh server and write its answers down."""
    for path in FILES:
        if names and path.stem not in names:
            continue
        transcript = read(path)
        async with (
            ScriptedUpstream() as upstream,
            devpi_server(commands) as url,
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        ):
            upstream.add("up", build_wheel("up", "1.0"))
            player = Player(session, url, upstream=upstream.url)
            for exchange in transcript["exchanges"]:
                exchange["answer"] = await player.play(exchange["request"])
        path.write_text(json.dumps(transcript, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: {len(transcript['exchanges'])} exchanges")


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2:]))
