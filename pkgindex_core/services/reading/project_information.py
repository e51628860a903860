"""A project and one of its versions, read together for documents about it: what its page shows, and the version's metadata.

Decided as the page is, in the same place: the same layers, the same filters, and a mirror that could not be asked is an error
and never a shorter document. Of a project with thousands of files a document is megabytes: equal requests get the same one, a
few are built at a time, and what was built lately is kept while nothing was committed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from concurrent.futures import Executor
from hashlib import blake2b
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Missing
from pkgindex_core.formats.project_json import ProjectFacts, newest, project_json
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, PageFilter, Principal, ReleaseRecords
from pkgindex_core.rules.filtering import fingerprints
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_TURNS: Final = 2
_LATEST_BYTES: Final = 16 << 20
"""Documents that are kept. They are named by absolute URLs, so the cache of pages is not the place: who invents hosts would empty it."""


class ProjectDocument(Struct, frozen=True, kw_only=True):
    """A document about a project."""

    body: bytes
    digest: str
    """Of the body: metadata has no stamp of its own, and URLs in it depend on how the server is reached."""
    serial: Serial
    """The newest commit that the document can have seen: at least that of any project list that was read before."""
    public: bool
    """Whether everybody gets the same, with and without credentials."""
    stale: tuple[tuple[IndexName, str], ...]
    """Mirrors that could not be asked, with the reason; what is shown of them is what was stored."""


class _Store(ReleaseRecords, ChangeLog, Protocol): ...


class ProjectInformation:
    """Answers with PyPI's JSON."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._filters = filters
        self._workers = workers
        self._clock = clock
        self._building: SingleFlight[tuple[bytes, str]] = SingleFlight(turns=_TURNS)
        # A document that is larger than all that may be kept is kept alone: its readers ask for it again.
        self._latest: BoundedCache[Hashable, tuple[bytes, str]] = BoundedCache(
            _LATEST_BYTES, size_of=lambda built: min(len(built[0]), _LATEST_BYTES)
        )

    async def document(
        self,
        start: IndexName,
        project: ProjectName,
        version: str | None,
        *,
        principal: Principal,
        root: str,
        packages: bool = False,
    ) -> ProjectDocument:
        """A project, or one version of it in any spelling. `root` is the server's URL, with a slash at its end.

        With `packages`, URLs of files are in PyPI's layout where that is possible (`formats.package_paths`).

        Raises `Missing` when no layer has it, `Unavailable` when one that would have a say cannot be asked.
        """
        resolution = await self._resolving.resolve(start, project, principal)
        resolution.require_whole()
        resolution.require_some()
        serial, moment = await self._store.head(), self._clock.now()
        key = (
            start,
            project,
            None if version is None else canonical_version(version),
            root,
            packages,
            serial,
            resolution.key,
            fingerprints(self._filters, moment),
        )
        built = self._latest.get(key)
        if built is None:
            built = await self._building.get(
                key,
                lambda: self._built(resolution, version, root=root, packages=packages, serial=serial, moment=moment),
            )
            self._latest.put(key, built)
        body, digest = built
        return ProjectDocument(
            body=body, digest=digest, serial=serial, public=resolution.chain.public, stale=resolution.stale
        )

    async def _built(
        self,
        resolution: Resolution,
        version: str | None,
        *,
        root: str,
        packages: bool,
        serial: Serial,
        moment: Timestamp,
    ) -> tuple[bytes, str]:
        parts = await self._assembling.read_at(resolution, serial)
        page, _ = await in_worker(self._workers, self._assembling.merged, parts, root, moment)
        chosen = version if version is not None else await in_worker(self._workers, newest, page)
        wanted = canonical_version(chosen)
        spelled = next((each for each in page.versions if canonical_version(each) == wanted), None)
        if spelled is None:
            raise Missing("version", f"{resolution.project} {chosen[:80]}".strip())
        facts = ProjectFacts(
            page=page,
            version=spelled,
            metadata=await self._metadata(resolution, spelled, serial),
            root=f"{root}{resolution.start}/",
            packages=root if packages else "",
        )

        def write() -> tuple[bytes, str]:
            body = project_json(facts, releases=version is None)
            return body, blake2b(body, digest_size=16).hexdigest()

        return await in_worker(self._workers, write)

    async def _metadata(self, resolution: Resolution, version: str, serial: Serial) -> bytes:
        """Of the first layer that says anything of the version. A mirror does not: its pages have no metadata."""
        for layer in resolution.offering:
            if layer.config.mirrored:
                continue
            release = await self._store.release(layer.index, resolution.project, version, at=serial)
            if release is not None:
                return release.metadata
        return b"{}"
