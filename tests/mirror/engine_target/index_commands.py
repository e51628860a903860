"""Runs commands of `pkgindex-mirror` on an index, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

from pkgindex_mirror.testing import ScriptedUpstream
from tests.mirror.syncing.mirror_commands import Ended, MirrorDirectory

from .places import INDEX, IndexPlace


class MirrorIndex(MirrorDirectory):
    """A configuration without a directory, and the data directory of a server."""

    def __init__(self, place: Path, upstream: ScriptedUpstream, *, more: str = "") -> None:
        super().__init__(place, upstream, more=more)
        written = self.configuration.read_text()
        self.configuration.write_text(written.replace(f"directory = {self.tree}\n", ""))
        self.data = IndexPlace(place / "data", upstream.url)

    async def run(self, *words: str, failpoints: str = "", before: bool = False, configured: bool = True) -> Ended:
        where = ("--index", INDEX, "--data", str(self.data.directory))
        return await super().run(*words, *where, failpoints=failpoints, before=before, configured=configured)

    async def snapshot(self, *words: str, failpoints: str = "") -> Ended:
        """Run `pkgindex-mirror snapshot`."""
        return await self.run("snapshot", *words, failpoints=failpoints, configured=False)

    async def plain(self, *words: str) -> Ended:
        """Run a command without the options that name the index."""
        return await super().run(*words)

    async def status(self) -> Ended:
        """The running or last run."""
        return await super().run("status", "--index", INDEX, "--data", str(self.data.directory))

    async def files(self) -> set[str]:
        """The sha256 of all stored files."""
        async with self.data.engine() as engine:
            copies = await engine.blobs.copies()
            assert copies is not None
            return {blob.sha256 async for blob in copies.walk()}
