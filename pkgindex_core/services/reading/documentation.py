"""Serves documentation: finds the zip of a version, and unpacks its pages one by one.

    order of indexes -> first readable layer that has it -> zip -> its directory (cached) -> one page's span of bytes

Zips are never extracted to disk (`zip_members`). A page whose bytes differ from the zip's directory is an error, never a short page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Corrupt, Missing, Refused
from pkgindex_core.formats.archives.documentation import DOCUMENTATION_LIMITS, FRONT_PAGE, KIND
from pkgindex_core.formats.archives.zip_contents import DamagedError
from pkgindex_core.formats.archives.zip_places import MemberPlace, ZipDirectory
from pkgindex_core.formats.versions import canonical_version, is_stable, version_key
from pkgindex_core.models import Attachment
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, Build, PageFilter, Principal, ReleaseRecords
from pkgindex_core.rules.filtering import Fingerprints, applying, fingerprints
from pkgindex_core.rules.resolution import Chain
from pkgindex_core.services.reading.release_files import ReleaseFiles
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.services.reading.zip_members import ZipMembers
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Moment

LATEST, STABLE = "latest", "stable"
_PAGES_KEPT = 200_000
"""The most pages in all cached directories."""
_FOUND = 2048
_Asked = tuple[IndexName, ProjectName, str, Principal]


class FoundDocumentation(Struct, frozen=True, kw_only=True):
    """The documentation of a version of a project, seen from an index."""

    index: IndexName
    """The layer it comes from."""
    attachment: Attachment
    public: bool
    """Whether all clients get the same, with and without credentials."""


class _KeptDocumentation(Struct, frozen=True):
    """A cached result with its dependencies."""

    found: FoundDocumentation
    moment: Moment
    seen: Chain
    decisions: Fingerprints


class DocumentationPage(Struct, frozen=True, kw_only=True):
    """One page, not read yet."""

    found: FoundDocumentation
    path: str
    """Its path in the zip."""
    size: int
    place: MemberPlace


class Below(Struct, frozen=True, kw_only=True):
    """The path is a directory with a front page; its URL needs a slash at the end."""


class Documentation:
    """Finds and reads documentation for those who may read it."""

    def __init__(
        self,
        *,
        store: ReleaseRecords,
        blobs: BlobStore,
        resolving: Resolving,
        currency: Currency,
        filters: Mapping[str, PageFilter],
        release_files: ReleaseFiles,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._resolving = resolving
        self._currency = currency
        self._filters = filters
        self._release_files = release_files
        self._clock = clock
        self.found: BoundedCache[_Asked, _KeptDocumentation] = BoundedCache(_FOUND)
        self.zips = ZipMembers(workers=workers, limits=DOCUMENTATION_LIMITS, kept=_PAGES_KEPT)

    async def find(
        self, index: IndexName, project: ProjectName, version: str, *, principal: Principal
    ) -> FoundDocumentation:
        """The documentation of a version, of `latest` or of `stable`, from the first layer that has any.

        Layers that the principal may not read are left out. Raises `Missing` when no layer has any.
        """
        await self._currency.catch_up()
        key = (index, project, version, principal)
        known = self.found.get(key)
        if known is not None and self._holds(known, project):
            return known.found
        moment = self._currency.moment()
        found, seen = await self._look(index, project, version, principal)
        self.found.put(key, _KeptDocumentation(found, moment, seen, self._decisions(seen)))
        return found

    def _holds(self, known: _KeptDocumentation, project: ProjectName) -> bool:
        keys = ((layer, project) for layer in known.seen.order)
        return (
            self._currency.holds(known.moment, tree=True, keys=keys) and self._decisions(known.seen) == known.decisions
        )

    def _decisions(self, seen: Chain) -> Fingerprints:
        return fingerprints(self._filters, seen.tree, seen.start, self._clock.now())

    async def open(
        self, index: IndexName, project: ProjectName, version: str, path: str, *, principal: Principal
    ) -> DocumentationPage | Below:
        """A page by its path. A path that is empty or ends with a slash means the front page of the directory."""
        found = await self.find(index, project, version, principal=principal)
        attachment = found.attachment
        pages = (await self._directory(attachment)).members
        name = f"{path}{FRONT_PAGE}" if not path or path.endswith("/") else path
        place = pages.get(name)
        if place is None and f"{name}/{FRONT_PAGE}" in pages:
            return Below()
        if place is None:
            raise Missing(
                "page",
                name,
                hint=f"the documentation of {project} {attachment.version} has {len(pages)} files, and no such one",
            )
        return DocumentationPage(found=found, path=name, size=place.size, place=place)

    async def read(self, page: DocumentationPage) -> AsyncIterator[bytes]:
        """Yield a page's bytes in pieces. All bytes are verified before the last piece is yielded; damaged ones raise `Corrupt` instead of it."""
        attachment = page.found.attachment
        try:
            async for piece in self.zips.read(page.place, partial(self._blobs.read, attachment.sha256)):
                yield piece
        except DamagedError as damage:
            raise _corrupt(attachment, str(damage)) from damage
        except Missing as missing:
            raise _corrupt(attachment, "its bytes are not in the blob store") from missing

    async def _look(
        self, index: IndexName, project: ProjectName, version: str, principal: Principal
    ) -> tuple[FoundDocumentation, Chain]:
        """The documentation, and the index as it was considered."""
        resolution = await self._resolving.stored(index, project, principal)
        seen = resolution.chain
        filters = applying(self._filters, seen.tree, index)
        build = Build(tree=seen.tree, start=index, project=project, moment=self._clock.now())

        if resolution.shown and not resolution.offering:
            raise Missing("documentation", f"{project} {version}", hint=f"the project {project} is quarantined")
        for layer in resolution.offering:
            if layer.config.mirrored:
                continue
            attachments = await self._store.attachments(layer.index, project)
            attachment = _chosen(await self._release_files.shown(filters, build, layer.index, attachments), version)
            if attachment is not None:
                return FoundDocumentation(index=layer.index, attachment=attachment, public=seen.public), seen
        raise Missing(
            "documentation", f"{project} {version[:80]}", hint="upload some: devpi upload NAME-VERSION.doc.zip"
        )

    async def _directory(self, attachment: Attachment) -> ZipDirectory:
        key = attachment.sha256
        try:
            return await self.zips.directory(key, attachment.size, partial(self._blobs.read, key))
        except Missing as missing:
            raise _corrupt(attachment, "its bytes are not in the blob store") from missing
        except Refused as refused:
            raise _corrupt(attachment, refused.message) from refused


def _chosen(attachments: Sequence[Attachment], version: str) -> Attachment | None:
    """The documentation of a version, of the newest one, or of the newest stable one."""
    documentation = [each for each in attachments if each.kind == KIND]
    if version == STABLE:
        documentation = [each for each in documentation if is_stable(each.version)]
    elif version != LATEST:
        wanted = canonical_version(version)
        documentation = [each for each in documentation if canonical_version(each.version) == wanted]
    return max(documentation, key=lambda each: version_key(each.version), default=None)


def _corrupt(attachment: Attachment, why: str) -> Corrupt:
    return Corrupt(
        f"the documentation {attachment.filename} cannot be read: {why}",
        hint="restore the blob from a backup, or upload the same zip again",
    )
