"""A mirror in memory, in front of a scripted upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.models import File
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.syncing.file_fetching import FileFetching, FileSource
from pkgindex_mirror.syncing.file_queue import FileQueue
from pkgindex_mirror.syncing.lean_transport import LeanTransport
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_work import Addresses
from pkgindex_mirror.syncing.reports import RunReport
from pkgindex_mirror.syncing.running import MirrorRun, UpstreamPlaces
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.transport import CarefulTransport, Transport
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject
from pkgindex_mirror.testing import ScriptedUpstream
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient

from .memory_target import MemoryTarget


class NamedChosen:
    """Filters by names: of projects, and endings of files that are left out."""

    def __init__(self, *, only: Sequence[str] = (), without: str = "", needs_document: bool = False) -> None:
        self.only = only
        self.without = without
        self.needs_document = needs_document
        self.seen: list[bytes] = []

    @property
    def fingerprint(self) -> str:
        return f"{self.only} {self.without}"

    def name(self, listed: Listed) -> Refusal | None:
        return Refusal("only", "it is not listed") if self.only and listed.name not in self.only else None

    def project(self, project: UpstreamProject) -> Refusal | None:
        self.seen.append(project.document)
        return Refusal("size", "it is too large") if "large" in project.name else None

    def files(self, project: UpstreamProject) -> tuple[Sequence[File], Mapping[str, Refusal]]:
        kept = [file for file in project.files if not self.without or not file.filename.endswith(self.without)]
        left = {file.filename: Refusal("without", "its ending") for file in project.files if file not in kept}
        return kept, left


class Mirroring:
    """Runs of one mirror, each with a client of its own."""

    def __init__(self, upstream: ScriptedUpstream, *, lean: bool) -> None:
        self.upstream = upstream
        self.target = MemoryTarget()
        self.clock = ManualClock()
        self.lean = lean
        self.settings = RunSettings(projects_at_once=3, stale_pause=0.0, file_attempts=3)
        self.client = MirrorSettings(connect_timeout=2.0, read_timeout=0.5, page_deadline=2.5, first_pause=0.001)

    def serve(self, project: str, *versions: str, serial: int | None = None, **says: Any) -> None:
        """Let the upstream have a wheel for each version."""
        self.upstream.add(project, *(build_wheel(project, version) for version in versions), **says)
        if serial is not None:
            self.upstream.serials[project] = serial

    async def run(self, chosen: NamedChosen | None = None, *, force: bool = False, **settings: Any) -> RunReport:
        async with self.target.turn():
            return await (await self._new_run(chosen or NamedChosen(), settings)).mirror(force=force)

    async def sync(self, *names: str) -> RunReport:
        run = await self._new_run(NamedChosen(), {})
        return await run.sync([Listed(name, name) for name in names])  # type: ignore[arg-type]  # they are normal

    async def _new_run(self, chosen: NamedChosen, settings: Mapping[str, Any]) -> MirrorRun:
        now = replace(self.settings, **settings)
        site = Site(base=self.upstream.url)
        client = UpstreamClient(self.client, self.clock)
        self.transport: Transport = (
            LeanTransport(client, site, self.client) if self.lean else CarefulTransport(client, site)
        )
        progress = Progress(self.clock)
        fetching = FileFetching(self.target, [FileSource(self.transport, lambda url: url)], now, progress)
        return _ClosingRun(
            target=self.target,
            transport=self.transport,
            places=UpstreamPlaces(
                list_url=self.upstream.url,
                addresses=Addresses(
                    page_of=lambda name: f"{self.upstream.url}{name}/",
                    document_of=lambda name: f"{self.upstream.root}pypi/{name}/json",
                ),
            ),
            chosen=chosen,
            queue=FileQueue(fetching, self.clock, most_per_host=8),
            settings=now,
            clock=self.clock,
            progress=progress,
            report=RunReport(command="mirror"),
        )


class _ClosingRun(MirrorRun):
    async def _guarded(self, work: Any) -> None:
        try:
            await super()._guarded(work)
        finally:
            await self._transport.close()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(params=["careful", "lean"])
def mirroring(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> Mirroring:
    return Mirroring(upstream, lean=request.param == "lean")
