"""`devpi`, the real client, as one person on one machine uses it: a home of its own, and the package tools that read its files.

What the machine itself is configured with stays out, as far as pip and uv let it (pip always reads `/etc/pip.conf`: what that may
add is overruled by variables).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.clients.running import Ran, clean_environment, executable, run


class Person:
    """Somebody with a home directory, a clean environment and devpi's client."""

    def __init__(self, name: str, home: Path, commands: Path) -> None:
        self.name = name
        self.home = home
        self._commands = commands
        nothing = home / "nothing"
        nothing.mkdir(parents=True)
        self.environment = {
            **{
                name: value
                for name, value in clean_environment().items()
                if name not in {"PIP_CONFIG_FILE", "UV_NO_CONFIG"}
            },
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CONFIG_DIRS": str(nothing),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "PIP_EXTRA_INDEX_URL": nothing.as_uri(),
            "PIP_FIND_LINKS": str(nothing),
            "PIP_CONSTRAINT": os.devnull,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "UV_PYTHON_DOWNLOADS": "never",
            "DEVPI_CLIENTDIR": str(home / "client"),
        }

    async def devpi(
        self,
        command: str,
        *words: str | Path,
        cwd: Path | None = None,
        fails: bool = False,
        typed: str = "",
        **env: str,
    ) -> str:
        """Run a command of devpi's client; return what it printed. Its status must be 0, or not when it `fails`."""
        place = () if command.startswith("-") else ("--clientdir", self.home / "client")
        ran = await self.run(self._commands / "devpi", command, *place, *words, cwd=cwd, typed=typed, **env)
        assert (ran.status != 0) == fails, ran.output
        return ran.output

    async def getjson(self, path: str) -> Any:
        """The result of a document, as `devpi getjson` prints it."""
        return msgspec.json.decode(await self.devpi("getjson", path))["result"]

    async def uv(self, *words: str | Path, cwd: Path | None = None, **env: str) -> str:
        """Run uv; it succeeds. Return what it printed."""
        return await self.works(executable("uv"), *words, cwd=cwd, UV_PYTHON=sys.executable, **env)

    async def run(self, *words: str | Path, cwd: Path | None = None, typed: str = "", **env: str) -> Ran:
        """Run any command as this person."""
        return await run(*words, cwd=cwd or self.home, whole_env={**self.environment, **env}, typed=typed)

    async def works(self, *words: str | Path, cwd: Path | None = None, **env: str) -> str:
        """Run any command as this person; it succeeds. Return what it printed."""
        ran = await self.run(*words, cwd=cwd, **env)
        assert ran.status == 0, ran.output
        return ran.output


def told(output: str, *lines: str) -> None:
    """What a command printed has these lines, in this order, each as a part of one line."""
    left = iter(output.splitlines())
    for line in lines:
        assert any(line in each for each in left), f"no {line!r} (in this place) in:\n{output}"


def links(output: str) -> list[str]:
    """The file names of the links that `devpi list` printed."""
    return [line.rpartition("/")[2].strip() for line in output.splitlines() if "/+f/" in line]


async def settle(person: Person, url: str, *, index: str = "dev", bases: str = "root/pypi") -> Person:
    """Give somebody an account and an index, logged in and using it."""
    await person.devpi("use", url)
    await person.devpi("user", "-c", person.name, "password=secret")
    await person.devpi("login", person.name, "--password=secret")
    await person.devpi("index", "-c", index, f"bases={bases}")
    await person.devpi("use", f"{person.name}/{index}")
    return person


Hire = Callable[[str], Person]
"""Make a person with a fresh home."""
