"""Pages and metadata from an upstream index over HTTP, with a cache of what cannot change.

A page costs one conditional request. The metadata of a wheel is its sidecar, or else is read by ranges from the wheel, or from the whole
wheel (`sidecars`). A source distribution is fetched as a whole, checked against its digest, and read.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from pkgindex_core.clock import SystemClock
from pkgindex_core.errors import BadUpstream, Refused, StorageFull, Unavailable
from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.urls import without_credentials
from pkgindex_mirror import urls
from pkgindex_mirror.closing.metadata_cache import MetadataCache
from pkgindex_mirror.closing.metadata_source import MetadataSource
from pkgindex_mirror.closing.sdist_reading import OddSdistError, read_sdist
from pkgindex_mirror.closing.version_facts import VersionFacts, facts_of_sdist, facts_of_wheel
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.pages import read_page
from pkgindex_mirror.documents.zip_parts import Odd
from pkgindex_mirror.readthrough.files import sidecars
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Transfer, Unchanged

FILE_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of the largest file that is fetched to read its metadata."""
_ATTEMPTS: Final = 4
"""How often a transfer that breaks is begun."""
_IN_MEMORY: Final = 4 * 1024 * 1024
_LARGE_PAGE: Final = 256 * 1024


@asynccontextmanager
async def opened_upstream(url: str, settings: MirrorSettings, cache: Path) -> AsyncIterator[UpstreamMetadata]:
    """Open the source for one run. The URL may have credentials. Raises `Refused` if it is none of a simple index."""
    where, credentials = without_credentials(url)
    base = urls.cleaned(where)
    if base is None:
        raise Refused(f"{urls.shown(where)} is no http or https URL", hint="give the URL of a simple index")
    site = Site(base=urls.with_slash(base), authorization=urls.basic(credentials) if credentials else "")
    client = UpstreamClient(settings, SystemClock())
    try:
        yield UpstreamMetadata(client, site, MetadataCache(cache, site.base))
    finally:
        await client.close()


class UpstreamMetadata:
    """One upstream. The owner of the client closes it."""

    def __init__(self, client: UpstreamClient, site: Site, cache: MetadataCache) -> None:
        self._client = client
        self._site = site
        self._cache = cache
        self.received = 0
        """Bytes of the files that were fetched as a whole."""

    async def page(self, project: ProjectName) -> Sequence[File] | None:
        kept = self._cache.page(project)
        url = self._site.project_url(project)
        answer = await self._client.document(self._site, url, validators=None if kept is None else kept.validators)
        match answer:
            case AbsentAnswer():
                return None
            case Failed():
                raise answer.error(f"the page of {project}")
            case Unchanged():
                assert kept is not None
                return kept.files
            case Document():
                return await self._read(project, answer)

    async def facts(self, project: ProjectName, file: File) -> VersionFacts:
        key = file.metadata_sha256 or file.sha256
        known = self._cache.facts(project, key) if key else None
        if known is not None:
            return known
        found = await self._asked(project, file)
        if isinstance(found, str):
            return VersionFacts(unknown=found)
        if key:
            self._cache.keep_facts(project, key, found)
        return found

    async def _asked(self, project: ProjectName, file: File) -> VersionFacts | str:
        """The facts from the upstream, after a few attempts; a text says why they cannot be known. Raises `Unavailable`."""
        attempt = 1
        while True:
            try:
                if kind_of(file.filename) == "wheel":
                    return await self._of_wheel(project, file)
                return await self._of_sdist(file)
            except (BadUpstream, StorageFull):
                raise
            except Unavailable:
                if attempt >= _ATTEMPTS:
                    raise
            await self._client.hosts.pause(file.url, attempt)
            attempt += 1

    async def _read(self, project: ProjectName, answer: Document) -> Sequence[File]:
        body = answer.take()
        if len(body) > _LARGE_PAGE:
            listing = await asyncio.to_thread(read_page, body, answer.content_type, answer.url, project)
        else:
            listing = read_page(body, answer.content_type, answer.url, project)
        if isinstance(listing, UnreadablePage):
            raise Unavailable(f"the page of {project}: {listing.reason}", retry_after=None)
        files = list(listing.files)
        self._cache.keep_page(project, answer.validators, files)
        return files

    async def _of_wheel(self, project: ProjectName, file: File) -> VersionFacts | str:
        """The facts of a wheel; a text says why they cannot be known."""
        if file.metadata_sha256 or file.metadata_offered:
            answer = await sidecars.offered(self._client, self._site, file.url)
            if isinstance(answer, bytes) and self._is_sidecar(answer, project, file):
                return facts_of_wheel(answer)
            if isinstance(answer, Failed) and answer.again:
                raise answer.error(f"the metadata of {file.filename}")
        wheel = await sidecars.open_remote(self._client, self._site, file.url)
        if isinstance(wheel, AbsentAnswer):
            return "the upstream does not have its file"
        if isinstance(wheel, Failed):
            return await self._of_whole_wheel(project, file)
        return await self._within(wheel, project, file)

    def _is_sidecar(self, data: bytes, project: ProjectName, file: File) -> bool:
        if file.metadata_sha256:
            return hashlib.sha256(data).hexdigest() == file.metadata_sha256
        return sidecars.describes(data, project)

    async def _within(self, wheel: sidecars.ByteSource, project: ProjectName, file: File) -> VersionFacts | str:
        found = await sidecars.metadata_in(wheel, project)
        if isinstance(found, Failed):
            raise found.error(f"the metadata of {file.filename}")
        return f"its metadata cannot be read: {found.reason}" if isinstance(found, Odd) else facts_of_wheel(found)

    async def _of_whole_wheel(self, project: ProjectName, file: File) -> VersionFacts | str:
        with self._scratch() as scratch:
            problem = await self._fetch(file, scratch)
            return problem or await self._within(_FetchedWheel(scratch), project, file)

    async def _of_sdist(self, file: File) -> VersionFacts | str:
        with self._scratch() as scratch:
            problem = await self._fetch(file, scratch)
            if problem:
                return problem
            try:
                parts = await asyncio.to_thread(read_sdist, scratch, file.filename)
            except OddSdistError as error:
                return str(error)
        return facts_of_sdist(parts.metadata, parts.pyproject, parts.requires)

    def _scratch(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))

    async def _fetch(self, file: File, scratch: BinaryIO) -> str:
        """Fetch a file as a whole; a text says why it cannot be had for good."""
        if (file.size or 0) > FILE_LIMIT:
            return f"its file is larger than {FILE_LIMIT} bytes"
        digest = hashlib.sha256()
        async with self._client.hosts.file_slot(file.url), self._client.file(self._site, file.url) as answer:
            if isinstance(answer, AbsentAnswer):
                return "the upstream does not have its file"
            if isinstance(answer, Failed):
                # An unusable answer stays as it is; other failures pass, or the configuration has to be corrected.
                if answer.kind == "unusable" and not answer.again:
                    return f"its file cannot be had: {answer.reason}"
                raise answer.error(file.filename)
            try:
                size = await _copy(answer, file, scratch, digest)
            except OSError as error:
                doing = f"for {file.filename}, whose metadata are to be read"
                raise storage_failure(error, doing, place=f"temporary files ({tempfile.gettempdir()})") from error
        self.received += size
        if size > FILE_LIMIT:
            return f"its file is larger than {FILE_LIMIT} bytes"
        if answer.size is not None and size != answer.size:
            raise Unavailable(f"{file.filename}: its transfer was cut off")
        if file.sha256 and digest.hexdigest() != file.sha256:
            return "its bytes have another sha256 than its page says"
        scratch.seek(0)
        return ""


async def _copy(answer: Transfer, file: File, scratch: BinaryIO, digest: hashlib._Hash) -> int:
    size = 0
    async for piece in answer.chunks():
        if isinstance(piece, Failed):
            raise piece.error(file.filename)
        size += len(piece)
        if size > FILE_LIMIT:
            break
        digest.update(piece)
        scratch.write(piece)
    return size


class _FetchedWheel:
    """A wheel in a scratch file."""

    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self.size = scratch.seek(0, 2)

    async def read(self, start: int, stop: int) -> bytes | Failed:
        self._scratch.seek(start)
        return self._scratch.read(max(stop - start, 0))


if TYPE_CHECKING:
    _: type[MetadataSource] = UpstreamMetadata
