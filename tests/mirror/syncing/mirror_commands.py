"""Runs commands of `pkgindex-mirror` on a mirror of a scripted upstream, each in a process of its own, and looks at the tree."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from pkgindex_mirror.testing import ScriptedUpstream

_DIFFERENT = {"web/last-modified"}
"""What each run writes in its own way."""


class Ended(Struct):
    """How a command ended."""

    status: int
    out: str
    told: str
    """Standard error."""


class MirrorDirectory:
    """A configuration with a tree."""

    def __init__(self, place: Path, upstream: ScriptedUpstream, *, more: str = "", plugins: str = "") -> None:
        self.place = place
        self.tree = place / "tree"
        place.mkdir(parents=True, exist_ok=True)
        self.configuration = place / "bandersnatch.conf"
        self.configuration.write_text(
            f"[mirror]\ndirectory = {self.tree}\nmaster = {upstream.root.rstrip('/')}\nallow-non-https = true\n"
            f"workers = 3\n{more}\n{plugins}"
        )

    async def run(
        self,
        *words: str,
        failpoints: str = "",
        before: bool = False,
        configured: bool = True,
        until: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run a command in the place of the configuration. `before`: that is named before its word. `configured`: it is named at all.

        `until`: the command is interrupted, as by Ctrl-C, when this is so.
        """
        named = ["-c", str(self.configuration)] if configured else []
        arguments = [*named, *words] if before else [words[0], *named, *words[1:]]
        environment = {**os.environ, "PKGINDEX_FAILPOINTS": failpoints}
        environment.pop("HTTP_PROXY", None)
        environment.pop("http_proxy", None)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pkgindex_mirror",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=self.place,
        )
        while until is not None and not until():
            await asyncio.sleep(0.01)
        if until is not None:
            process.send_signal(signal.SIGINT)
        out, told = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), told.decode())

    def content(self) -> dict[str, bytes]:
        """All that a web server would serve, by path."""
        found = {
            str(path.relative_to(self.tree)): path.read_bytes()
            for path in sorted((self.tree / "web").rglob("*"))
            if path.is_file()
        }
        return {path: data for path, data in found.items() if path not in _DIFFERENT}

    def litter(self) -> list[str]:
        """What should not be left after a run."""
        own = self.tree / ".pkgindex"
        hidden = (self.tree / "web").rglob(".*")
        return [str(path) for path in (*(own / "new").iterdir(), *(own / "arriving").iterdir(), *hidden)]
