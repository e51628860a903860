"""The metadata of mirrored wheels, from the stored wheel, from the upstream's sidecar, or from ranges of the upstream's wheel.

Metadata is shown at once and stored a moment later (`LearningBlobs`). The page gets its digest, if it had none or a wrong one.

Nothing vouches for metadata from ranges (`File.metadata_from_ranges`): the checksum of the archive is the upstream's, and the digest of the page
is of the whole wheel. When the wheel has been fetched and verified its own metadata takes the place of it. An announced sidecar that the
upstream has stays, since the upstream's page vouches for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Missing, PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror import urls
from pkgindex_mirror.documents.zip_parts import Odd
from pkgindex_mirror.readthrough.counts import IndexesCounts
from pkgindex_mirror.readthrough.files import sidecars
from pkgindex_mirror.readthrough.files.mirrored_files import Amend, MirroredFiles
from pkgindex_mirror.readthrough.files.sidecars import ByteSource, arrived
from pkgindex_mirror.readthrough.files.stated_sizes import with_stated_size
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site, usable_site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed

_NO_SIDECARS = 3600.0
"""Seconds for which a host that had no sidecar for one file is not asked for other unannounced sidecars."""
_REMEMBERED = 1000
"""Hosts without sidecars that are remembered."""

_WRONG = "the page announced a wrong digest"

_log = logging.getLogger(__name__)


class MirroredMetadata:
    """Reads the metadata of the wheels of all mirrors."""

    def __init__(
        self,
        *,
        client: UpstreamClient,
        blob_store: LearningBlobs,
        clock: Clock,
        settings: MirrorSettings,
        tasks: Tasks,
        files: MirroredFiles,
        amend: Amend,
        counts: IndexesCounts,
    ) -> None:
        self._client = client
        self._blob_store = blob_store
        self._clock = clock
        self._settings = settings
        self._files = files
        self._amend = amend
        self._counts = counts
        self._flights: SingleFlight[Blob] = SingleFlight(tasks)
        self._no_sidecars: BoundedCache[urls.Origin, float] = BoundedCache(_REMEMBERED)

    async def read(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        """As `Source.metadata`."""
        stored = await self._blob_store.stat(file.metadata_sha256) if file.metadata_sha256 else None
        # The wheel may have come since, also through another index with the same file.
        if stored is not None and not (
            file.metadata_from_ranges and await self._files.wheel_here(index, project, file) is not None
        ):
            return stored
        flight = self._flight(index, project, file)
        wait = self._settings.file_wait
        begun = self._clock.monotonic()
        blob = await flight.wait(self._client.hosts.patience(file.url, wait))
        if blob is None:
            for url in (urls.with_suffix(file.url, ".metadata"), file.url):
                self._client.hosts.waited_in_vain(url, wait, begun)
            raise Unavailable(f"the metadata of {file.filename} has not arrived yet")
        return blob

    async def compare(self, index: IndexConfig, project: ProjectName, file: File, wheel: ByteSource) -> None:
        """Correct the page if it announces other metadata for a file than the verified wheel has.

        An upstream that announced it is asked for it first, in the background: see `_metadata`.
        """
        if not (file.metadata_sha256 or file.metadata_offered):
            return
        with suppress(Missing):  # the wheel has no metadata, or was removed already
            found = await self._read_from(wheel, project, file)
            if isinstance(found, bytes) and _is_announced(found, file):
                return
            if file.metadata_from_ranges:
                await self._sidecar(index, usable_site(index), project, file, found)
            else:
                self._flight(index, project, file, found)

    def _flight(
        self, index: IndexConfig, project: ProjectName, file: File, local: bytes | Odd | None = None
    ) -> Flight[Blob]:
        site = usable_site(index)
        return self._flights.join(
            (index.name, project, file.filename),
            lambda: self._counted(index, self._sidecar(index, site, project, file, local)),
            name=f"sidecar {file.filename}",
        )

    async def _counted(self, index: IndexConfig, sidecar: Awaitable[Blob]) -> Blob:
        counts = self._counts[index.name].sidecars
        try:
            blob = await sidecar
        except PkgIndexError:
            counts["failed"] += 1
            raise
        counts["stored"] += 1
        return blob

    async def _sidecar(
        self, index: IndexConfig, site: Site, project: ProjectName, file: File, local: bytes | Odd | None = None
    ) -> Blob:
        """The sidecar, with a page that announces it. `local`: what the verified wheel has, if that was read already."""
        try:
            data, size = await self._metadata(index, site, project, file, local)
            failpoint("sidecar.read")
            blob = await self._blob_store.learn(data)
            failpoint("sidecar.learned")
        except OSError as error:
            raise Unavailable(f"the metadata of {file.filename} could not be stored") from error
        is_new = blob.sha256 != file.metadata_sha256
        if is_new and file.metadata_sha256:
            wrong = "the ranges of the wheel had other metadata" if file.metadata_from_ranges else _WRONG
            _log.error("%s.metadata: %s; it is corrected", urls.shown(file.url), wrong)
        from_ranges = size is not None and _announced(file).metadata_sha256 is None

        def learned(now: File) -> File:
            told = _with_sidecar(now, file, blob, from_ranges=from_ranges) if is_new else now
            return with_stated_size(told, file, size)

        if is_new or (size is not None and file.size is None):
            await self._amend(index, project, {file.filename: learned})
        if from_ranges and await self._files.wheel_here(index, project, file) is not None:
            # It came meanwhile, and was compared before the page had this digest.
            return await self._sidecar(index, site, project, _with_sidecar(file, file, blob, from_ranges=True))
        return blob

    async def _metadata(
        self, index: IndexConfig, site: Site, project: ProjectName, file: File, local: bytes | Odd | None
    ) -> tuple[bytes, int | None]:
        """The exact bytes, from the first source that has the right ones. The size of the wheel, if they are from ranges of it."""
        read, file = file, _announced(file)
        if local is None and (wheel := await self._files.wheel_here(index, project, file)) is not None:
            local = await self._read_from(wheel, project, file)
        if isinstance(local, bytes) and _is_announced(local, file):
            return local, None
        failures: list[Failed] = []
        if local is None or file.metadata_sha256 or file.metadata_offered:
            offered = await self._offered(site, project, file)
            if isinstance(offered, bytes):
                return offered, None
            if isinstance(offered, Failed):
                failures.append(offered)
        if local is None:
            remote, size = await self._from_ranges(site, project, file)
            if isinstance(remote, bytes) and _is_announced(remote, file):
                return remote, size
            if isinstance(remote, AbsentAnswer):
                return self._judge(remote, file, failures), None
            # The ranges failed, or gave other bytes than the announced ones: fetch and verify the whole wheel.
            whole = self._files.start(index, project, file, kept=self._files.keeps(index, project))
            local = await self._read_from(await arrived(whole), project, file)
        if isinstance(local, Odd) and not failures:
            if read.metadata_sha256 or read.metadata_offered:
                _log.warning("%s.metadata: the wheel has none; it is not announced any more", urls.shown(file.url))
            await self._amend(index, project, {file.filename: partial(_without_sidecar, read=read)})
        return self._judge(local, file, failures), None

    async def _read_from(self, wheel: ByteSource, project: ProjectName, file: File) -> bytes | Odd:
        found = await sidecars.metadata_in(wheel, project)
        if isinstance(found, Failed):
            raise found.error(f"the metadata of {file.filename}")
        return found

    def _judge(self, found: bytes | AbsentAnswer | Odd, file: File, failures: Sequence[Failed]) -> bytes:
        """Judge the answer of the last source. The METADATA in the wheel is right, even if the page announced another digest (PEP 658)."""
        if isinstance(found, bytes):
            return found
        if failures:
            raise failures[0].error(f"the metadata of {file.filename}")
        reason = found.reason if isinstance(found, Odd) else "the upstream no longer has it"
        raise Missing("metadata file", f"{file.filename}.metadata", hint=reason)

    async def _offered(self, site: Site, project: ProjectName, file: File) -> bytes | AbsentAnswer | Failed:
        """The upstream's own sidecar. Pages do not record that one was announced without a digest, so an unannounced one is tried too."""
        where = urls.origin(file.url)
        now = self._clock.monotonic()
        if not file.metadata_sha256 and now < (self._no_sidecars.get(where) or 0.0):
            return AbsentAnswer(404)
        found = await sidecars.offered(self._client, site, file.url)
        if isinstance(found, AbsentAnswer) and not file.metadata_sha256:
            self._no_sidecars.put(where, now + _NO_SIDECARS)
        if not isinstance(found, bytes):
            return found
        if not _is_announced(found, file):
            _log.error("%s.metadata: the bytes of the upstream do not match the announced digest", urls.shown(file.url))
            return AbsentAnswer(404)
        # Any page may be the answer for an unannounced sidecar. The page of the project vouches for an announced one.
        if not file.metadata_sha256 and not sidecars.describes(found, project):
            _log.warning("%s.metadata is no core metadata of %s", urls.shown(file.url), project)
            return AbsentAnswer(404)
        return found

    async def _from_ranges(
        self, site: Site, project: ProjectName, file: File
    ) -> tuple[bytes | AbsentAnswer | Failed | Odd, int | None]:
        """The bytes, and the size of the wheel."""
        remote = await sidecars.open_remote(self._client, site, file.url)
        if isinstance(remote, (AbsentAnswer, Failed)):
            return remote, None
        if file.size is not None and file.size != remote.size:
            return Failed(reason=f"the upstream's file has {remote.size} bytes instead of {file.size}"), None
        return await sidecars.metadata_in(remote, project), remote.size


def _with_sidecar(now: File, read: File, blob: Blob, *, from_ranges: bool) -> File:
    """Record the digest of a sidecar, and the announced digest if it was wrong."""
    if now.url != read.url or now.metadata_sha256 != read.metadata_sha256:
        return now
    wrong = _announced(read).metadata_sha256 or now.metadata_refuted
    return replace(
        now,
        metadata_sha256=blob.sha256,
        metadata_offered=False,
        metadata_refuted=wrong,
        metadata_from_ranges=from_ranges,
    )


def _without_sidecar(now: File, read: File) -> File:
    """Announce no sidecar any more: the verified wheel has none, and the upstream did not give what it announced."""
    is_announced = now.metadata_sha256 or now.metadata_offered
    if not is_announced or now.url != read.url or now.metadata_sha256 != read.metadata_sha256:
        return now
    refuted = (now.metadata_refuted if now.metadata_from_ranges else now.metadata_sha256) or Sha256("")
    return replace(
        now, metadata_sha256=None, metadata_offered=False, metadata_refuted=refuted, metadata_from_ranges=False
    )


def _announced(file: File) -> File:
    """The file without a digest that the upstream did not give."""
    return replace(file, metadata_sha256=None) if file.metadata_from_ranges else file


def _is_announced(data: bytes, file: File) -> bool:
    return file.metadata_sha256 is None or sha256_of(data) == file.metadata_sha256
