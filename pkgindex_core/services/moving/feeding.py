"""Gives replicas what they copy: commits in order, the files that they name, and news of mirrored projects.

A file is given only while an index lists it. So nothing that was deleted leaves the server, and a replica learns that it will see the deletion.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Gone, Missing
from pkgindex_core.formats.feed import FeedHead, Refreshed, encode_line
from pkgindex_core.models import File, IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, OnDisk, Opened, Principal, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import Learning, LearningBlobs
from pkgindex_core.rules.access import allowed_index, denied
from pkgindex_core.rules.followed import Followed, followed, part_of
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools.sources import Sources

FeedKind = Literal["file", "sidecar", "attachment"]

_PAGE_BYTES: Final = 4 << 20
"""An answer ends with the commit that reaches this size."""
_BATCH: Final = 32
"""The number of commits to read at once. One commit may hold a page of thousands of files."""
_NEW_BACKUP: Final = "if the primary was restored from a backup, or another server took its place, begin the replica anew in an empty data directory"


class FeedRequest(Struct, frozen=True, kw_only=True):
    """The place of a replica in the log."""

    after: Serial
    """The newest commit of the replica; 0: it has none."""
    at: Timestamp = Timestamp(0)
    """The time of that commit."""
    store: str = ""
    """The identity of the primary as the replica knows it; empty: it knows none."""
    without: tuple[IndexName, ...] = ()


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Learning, Protocol): ...


class Feeding:
    """Reads a store for its replicas."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, sources: Sources, options: IndexOptions) -> None:
        self._store = store
        self._blobs = blobs
        self._sources = sources
        self._options = options

    async def check(self, principal: Principal) -> None:
        """Raise `Denied` unless the principal may copy anything."""
        if not permits(principal, Action.CHANGES) and not self._followed(await self._store.tree(), principal).indexes:
            raise denied(principal, f"{principal.label} may not {Action.FOLLOW.value} any index")

    async def check_index(self, principal: Principal, index: IndexName) -> None:
        """Raise `Denied` or `Missing` unless the principal may copy an index."""
        if permits(principal, Action.CHANGES):
            return
        tree = await self._store.tree()
        part = self._followed(tree, principal)
        if index not in part.indexes:
            allowed_index(tree, index, principal, Action.FOLLOW)
            raise denied(principal, f"{index} is left out: {part.left_out.get(index, 'it cannot be copied alone')}")

    async def check_place(self, request: FeedRequest) -> None:
        """Raise `Conflict` if the replica is not one of this store, or if this store went back behind it."""
        identity = await identity_of(self._store)
        if request.store not in {"", identity}:
            raise Conflict("this server has another index than the one that was copied", hint=_NEW_BACKUP)
        head = await self._store.head()
        if request.after > head:
            raise Conflict(
                f"this server has {head} commits, the replica has {request.after}: it went back", hint=_NEW_BACKUP
            )
        if request.after:
            (commit,) = await self._store.commits(Serial(request.after - 1), limit=1)
            if commit.at != request.at:
                raise Conflict(
                    f"commit {request.after} of this server is not the one that the replica has: their histories differ",
                    hint=_NEW_BACKUP,
                )

    async def wait(self, request: FeedRequest, seconds: float) -> bool:
        """Wait for a commit beyond the replica's. False: there is none yet."""
        return await self._store.wait(request.after, timeout=seconds) > request.after

    async def page(self, principal: Principal, request: FeedRequest) -> bytes:
        """The next commits, in the format of `formats.feed`: as many as fit an answer, perhaps none."""
        everything = bool(permits(principal, Action.CHANGES)) and not request.without
        head = await self._store.head()
        # The tree is read after the head: commits of an index that was closed meanwhile are beyond the head, and are not given.
        tree = await self._store.tree()
        part = Followed() if everything else self._followed(tree, principal, without=request.without)
        before = await self._store.tree(at=request.after) if request.after and not everything else None
        first = FeedHead(
            store=await identity_of(self._store),
            head=head,
            everything=everything,
            indexes=tuple(sorted(part.indexes)),
            existing=tuple(sorted(part.indexes.intersection(before.indexes))) if before else (),
            left_out=part.left_out,
        )
        lines = [encode_line(first)]
        size = 0
        async for commits in self._batches(request.after, head):
            for commit in commits:
                shown = (
                    commit
                    if everything
                    else part_of(commit, part.indexes, without_secrets=self._options.without_secrets)
                )
                lines.append(encode_line(shown))
                size += len(lines[-1])
                if size >= _PAGE_BYTES:
                    return b"".join(lines)
        return b"".join(lines)

    async def open(
        self, index: IndexName, project: ProjectName, digest: Sha256, filename: str, kind: FeedKind
    ) -> Opened:
        """A file with these bytes, its core metadata, or an attachment. Raises `Gone` if the index does not list it now."""
        config = await self._config(index)
        source = self._sources.of(config)
        if kind == "attachment":
            found = await self._store.attachments(index, project)
            if any((each.filename, each.sha256) == (filename, digest) for each in found):
                blob = await self._blobs.stat(digest)
                if blob is not None:
                    return OnDisk(blob)
                raise Missing("file", filename, message=f"{filename} is listed, but its bytes are not here")
        file = await self._store.file(index, project, filename) if kind != "attachment" else None
        if file is None or digest not in _digests(file, kind):
            raise Gone("file", filename, project)
        if kind == "sidecar":
            return OnDisk(await source.metadata(config, project, file))
        return await source.open(config, project, file, elsewhere=False)

    async def refresh(self, index: IndexName, project: ProjectName, *, again: bool) -> Refreshed:
        """Ask the upstream of a mirror for a project, unless its page is fresh; with `again` in any case. Raises `Unavailable` if nothing is known of it."""
        config = await self._config(index)
        (standing,) = await self._store.standings(project, [index])
        freshness = await self._sources.of(config).refresh(config, project, standing, again=again)
        await self._store.settle()  # the page is a commit now
        return Refreshed(state=freshness.state, reason=freshness.reason, head=await self._store.head())

    async def _config(self, index: IndexName) -> IndexConfig:
        config = (await self._store.tree()).indexes.get(index)
        if config is None:
            raise Gone("index", index, index)
        return config

    async def _batches(self, after: Serial, head: Serial) -> AsyncIterator[Sequence[Commit]]:
        while after < head:
            commits = await self._store.commits(after, limit=min(_BATCH, head - after))
            if not commits:
                return
            yield commits
            after = commits[-1].serial

    def _followed(self, tree: Tree, principal: Principal, *, without: Collection[IndexName] = ()) -> Followed:
        private = {name for name, config in tree.indexes.items() if self._options.has_private(config)}
        return followed(tree, principal, without=without, private=private)


def _digests(file: File, kind: FeedKind) -> set[str | None]:
    """The digests under which a file is known. A wheel of a mirror may have no known digest of its metadata."""
    return {file.sha256} if kind == "file" else {file.metadata_sha256, file.sha256}
