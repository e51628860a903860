"""Answers with PyPI's JSON documents: the files of a project's page, and the metadata of one version.

Layers and filters are those of the page. A mirror that could not be asked is an error, never a shorter document. The document of
a project with thousands of files has megabytes: equal requests share one, few are made at a time, and the latest are cached while
nothing is committed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from concurrent.futures import Executor
from hashlib import blake2b
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Missing
from pkgindex_core.formats.advisories import Affecting
from pkgindex_core.formats.project_json import ProjectFacts, Vulnerability, newest, project_json
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, PageFilter, Principal, ReleaseRecords
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.rules.filtering import fingerprints
from pkgindex_core.rules.policing.own_advisories import own_advisories, own_records
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_TURNS: Final = 2
_LATEST_BYTES: Final = 16 << 20
"""The bytes of cached documents. Documents contain absolute URLs, so they have a cache of their own: a client that invents hosts would
fill a shared one."""


class ProjectDocument(Struct, frozen=True, kw_only=True):
    """A document about a project."""

    body: bytes
    digest: str
    """The digest of the body, for its ETag: metadata has no stamp, and URLs depend on the server's outside URL."""
    serial: Serial
    """The newest commit that the document can depend on; not below that of a project list that was read before."""
    public: bool
    """Whether all clients get the same, with and without credentials."""
    stale: tuple[tuple[IndexName, str], ...]
    """Mirrors that could not be asked, so that their stored pages are shown, each with the reason."""


class _Store(ReleaseRecords, ChangeLog, Protocol): ...


class ProjectInformation:
    """Makes PyPI's JSON documents."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        book: AdvisoryBook,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._filters = filters
        self._book = book
        self._workers = workers
        self._clock = clock
        self._building: SingleFlight[tuple[bytes, str]] = SingleFlight(turns=_TURNS)
        # A document over the limit is still cached, alone, since clients ask for it again.
        self.latest: BoundedCache[Hashable, tuple[bytes, str]] = BoundedCache(
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

        With `packages`, URLs of files are in PyPI's layout if possible (`formats.package_paths`).

        Raises `Missing` when no layer has it, `Unavailable` when a joining layer cannot be asked.
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
            self._book.revision_of(project),
            fingerprints(self._filters, resolution.tree, start, moment, project),
        )
        built = self.latest.get(key)
        if built is None:
            built = await self._building.get(
                key,
                lambda: self._built(resolution, version, root=root, packages=packages, serial=serial, moment=moment),
            )
            self.latest.put(key, built)
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
            vulnerabilities=self._vulnerabilities(resolution, spelled),
        )

        def write() -> tuple[bytes, str]:
            body = project_json(facts, releases=version is None)
            return body, blake2b(body, digest_size=16).hexdigest()

        return await in_worker(self._workers, write)

    def _vulnerabilities(self, resolution: Resolution, version: str) -> tuple[Vulnerability, ...]:
        """The advisories about a version: those of the book and those of the layers that offer it."""
        project = resolution.project
        known = Affecting(self._book.about(project), project).about(version)
        found = {each.id: Vulnerability(each, self._book.record(each.id) or b"{}") for each in known}
        for layer in resolution.offering:
            about = Affecting(own_advisories(layer.config).get(project, ()), project).about(version)
            records = {each["id"]: each for each in own_records(layer.config)} if about else {}
            for each in about:
                found.setdefault(each.id, Vulnerability(each, msgspec.json.encode(records[each.id])))
        return tuple(found[identifier] for identifier in sorted(found))

    async def _metadata(self, resolution: Resolution, version: str, serial: Serial) -> bytes:
        """The version's metadata from the first layer that has any. Mirrors have none."""
        for layer in resolution.offering:
            if layer.config.mirrored:
                continue
            release = await self._store.release(layer.index, resolution.project, version, at=serial)
            if release is not None:
                return release.metadata
        return b"{}"
