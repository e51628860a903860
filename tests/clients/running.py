"""Commands run for real, with nothing of this machine's configuration."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

_OF_THE_MACHINE = ("PIP_", "UV_", "TWINE_", "VIRTUAL_ENV", "PKGINDEX_", "PYTHONPATH")


class Ran(Struct, frozen=True, kw_only=True):
    """What a command came to."""

    status: int
    output: str


async def run(
    *words: str | Path,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    whole_env: dict[str, str] | None = None,
    typed: str = "",
) -> Ran:
    """Run a command with nothing of this machine's configuration, or with exactly the environment given. `typed` is its standard input."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        env=whole_env or {**clean_environment(), **(env or {})},
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate(typed.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ran(status=process.returncode, output=output.decode(errors="replace"))


def clean_environment() -> dict[str, str]:
    """The environment without what would make a broken index look fine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_MACHINE)}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "NO_COLOR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def executable(name: str) -> Path:
    """A command of the environment that runs the tests."""
    return Path(sys.executable).with_name(name)


@asynccontextmanager
async def served_files(directory: Path) -> AsyncIterator[str]:
    """A directory by `python -m http.server`, as a guide for mirrors serves it; its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).split(b"port ")[1].split()[0].decode()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()
