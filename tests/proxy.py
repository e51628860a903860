"""A real nginx with a configuration of the test's. Skipped where there is none; `apt-get install nginx` brings one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.directory import PATH

CONFIGURATION = """\
daemon off;
master_process off;
error_log stderr warn;
pid {place}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {server}
}}
"""


@asynccontextmanager
async def nginx(place: Path, server: str, port: int) -> AsyncIterator[None]:
    """Run nginx with a `server` that listens on a port of this machine."""
    program = shutil.which("nginx", path=PATH)
    if program is None:
        pytest.skip("nginx is not installed")
    (place / "nginx.conf").write_text(CONFIGURATION.format(place=place, server=server))
    if os.geteuid() == 0:
        place.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(place), "-c", str(place / "nginx.conf"), "-e", "stderr"
    )
    try:
        await _answers(process, port)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(30):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)  # until the process listens: there is nothing to wait on
            else:
                writer.close()
                await writer.wait_closed()
                return
    raise RuntimeError("nginx does not start")
