"""The engine: everything composed, in this one place.

    async with Engine.open(settings) as engine:
        answer = await engine.pages.project(PageRequest(...))

An `Engine` owns what it opens (stores, worker threads, refreshers) and closes it in reverse order. Programs and embedding
code talk to its services; nothing else constructs them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from msgspec.structs import replace

from pkgindex_core.changes import Change, PutIndex, PutUser, UserAbsent
from pkgindex_core.clock import Clock, SystemClock, Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.errors import Missing, Refused, RequirementFailed, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig, Serial, User
from pkgindex_core.names import owner, parse_index_name
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore, Follower, HouseRules, IndexStore, Publisher, Refresher
from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
from pkgindex_core.rules.filtering import Withholding
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.services.administering.administration import PASSWORD_FILE, ROOT, Administration, OwnerLimits
from pkgindex_core.services.administering.examining import Examining
from pkgindex_core.services.administering.identity import Identity
from pkgindex_core.services.administering.ownership import Ownership, identity_of
from pkgindex_core.services.administering.project_options import ProjectOptions
from pkgindex_core.services.administering.repairing import Repairing
from pkgindex_core.services.administering.verifying import Verifying
from pkgindex_core.services.moving.dumps.exporting import Exporting
from pkgindex_core.services.moving.dumps.restoring import Restoring
from pkgindex_core.services.moving.following import following
from pkgindex_core.services.moving.forwarding import Forwarding
from pkgindex_core.services.moving.importing.devpi import DevpiImport
from pkgindex_core.services.moving.parcels import Parcels
from pkgindex_core.services.moving.promotion import Promotion
from pkgindex_core.services.reading.documentation import Documentation
from pkgindex_core.services.reading.explaining import Explaining
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.findlinks import FindLinks
from pkgindex_core.services.reading.listing import Listings
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.overview import Overview
from pkgindex_core.services.reading.pages import Pages
from pkgindex_core.services.reading.project_information import ProjectInformation
from pkgindex_core.services.reading.versions import Versions
from pkgindex_core.services.writing.documentation_uploads import DocumentationUploads
from pkgindex_core.services.writing.file_uploads import FileUploads
from pkgindex_core.services.writing.registering import Registering
from pkgindex_core.services.writing.releases import Releases
from pkgindex_core.services.writing.results import Results
from pkgindex_core.services.writing.uploads import UploadLimits, Uploads
from pkgindex_core.tools.passwords import PasswordPool
from pkgindex_core.tools.workers import in_worker
from pkgindex_core.urls import masked, without_credentials

T = TypeVar("T")

MIRROR_NAME = "root/pypi"
"""The mirror that a fresh store has."""
_ABANDONED_SECONDS = 86_400.0
"""After so long without a write, what an upload has left is swept at a start: it outlived its process, whoever's that was."""


class Engine:
    """The services of one index, ready for use. Made by `Engine.open`."""

    def __init__(
        self,
        *,
        settings: Settings,
        plugins: Plugins,
        clock: Clock,
        store: LearningIndex,
        blobs: LearningBlobs,
        workers: ThreadPoolExecutor,
        refreshers: dict[str, Refresher],
        publishers: Sequence[Publisher],
        context: Context,
        ownership: Ownership,
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.clock = clock
        self.store = store
        self.blobs = blobs
        self.workers = workers
        self._context = context
        self._ownership = ownership
        self._uuid = ""
        self._last_commit = (Serial(0), Timestamp(0))
        filters = {provider.name: provider.make(context) for provider in plugins.page_filters()}
        admission = Withholding(plugins.admission(settings.admission).make(context), filters)
        renderers = {name: provider.make(context) for name, provider in plugins.renderers().items()}
        authenticators = [made for provider in plugins.authenticators() if (made := provider.make(context)) is not None]
        self.passwords = PasswordPool(workers)
        types = {name: provider.make(context) for name, provider in plugins.index_types().items()}
        self.index_options = IndexOptions(
            types,
            {name: provider.make(context) for name, provider in plugins.index_options().items()},
            {"acl_toxresult_upload": (ANONYMOUS,)} if settings.devpi_defaults else {},
            most_entries=settings.max_list_entries,
        )
        house = HouseRules(
            open_registration=settings.open_registration,
            names_from_elsewhere=len(authenticators) > 1 or bool(settings.remote_user.header),
            restrict_modify=settings.restrict_modify or None,
            index_types=frozenset(types),
        )
        self.identity = Identity(
            store=store,
            authenticators=authenticators,
            clock=clock,
            house=house,
            most_tokens=settings.max_user_tokens,
        )
        self.pages = Pages(
            store=store,
            admission=admission,
            filters=filters,
            renderers=renderers,
            refreshers=refreshers,
            workers=workers,
            clock=clock,
            cache_bytes=settings.page_cache_bytes,
        )
        self.listings = Listings(
            store=store,
            pages=self.pages,
            admission=admission,
            filters=filters,
            renderers=renderers,
            refreshers=refreshers,
            workers=workers,
        )
        self.files = Files(store=store, blobs=blobs, filters=filters, refreshers=refreshers, clock=clock)
        self.findlinks = FindLinks(
            store=store, pages=self.pages, admission=admission, filters=filters, workers=workers, clock=clock
        )
        self.information = ProjectInformation(
            store=store, pages=self.pages, filters=filters, workers=workers, clock=clock
        )
        self.locating = Locating(store=store, pages=self.pages)
        self.documentation = Documentation(
            store=store,
            blobs=blobs,
            pages=self.pages,
            admission=admission,
            filters=filters,
            workers=workers,
            clock=clock,
        )
        self.versions = Versions(store=store, pages=self.pages, filters=filters, workers=workers, clock=clock)
        self.releases = Releases(store=store)
        self.results = Results(store=store, blobs=blobs, workers=workers, clock=clock)
        checks = [provider.make(context) for provider in plugins.upload_checks()]
        self.registering = Registering(store=store)
        self.uploads = Uploads(
            store=store,
            blobs=blobs,
            files=FileUploads(store=store, blobs=blobs, checks=checks, workers=workers, clock=clock),
            documentation=DocumentationUploads(store=store, workers=workers, clock=clock),
            registering=self.registering,
            limits=UploadLimits(
                file_bytes=settings.max_upload_bytes,
                field_bytes=settings.max_upload_field_bytes,
                form_bytes=settings.max_upload_form_bytes,
                field_count=settings.max_upload_fields,
            ),
            workers=workers,
        )
        self.exporting = Exporting(store=store, blobs=blobs, workers=workers)
        self.restoring = Restoring(store=store, blobs=blobs, workers=workers)
        self.devpi_import = DevpiImport(
            store=store,
            blobs=blobs,
            options=self.index_options,
            passwords=self.passwords,
            workers=workers,
            clock=clock,
        )
        parcels = Parcels(store=store, blobs=blobs, refreshers=refreshers, filters=filters, clock=clock)
        self.promotion = Promotion(
            store=store, blobs=blobs, parcels=parcels, checks=checks, workers=workers, clock=clock
        )
        self.forwarding = Forwarding(parcels=parcels, publishers=publishers)
        self.verifying = Verifying(store=store, blobs=blobs, clock=clock)
        self.repairing = Repairing(
            store=store, blobs=blobs, refreshers=refreshers, verifying=self.verifying, workers=workers
        )
        self.overview = Overview(store=store, options=self.index_options)
        self.administration = Administration(
            store=store,
            passwords=self.passwords,
            options=self.index_options,
            workers=workers,
            clock=clock,
            empty_passwords=settings.devpi_defaults,
            limits=OwnerLimits(indexes=settings.max_user_indexes, option_bytes=settings.max_user_option_bytes),
        )
        self.examining = Examining(store=store, refreshers=refreshers)
        self.explaining = Explaining(
            store=store,
            pages=self.pages,
            admission=admission,
            filters=filters,
            refreshers=refreshers,
            clock=clock,
        )
        self.project_options = ProjectOptions(
            store=store, administration=self.administration, explaining=self.explaining
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        plugins: Plugins | None = None,
        clock: Clock | None = None,
        mirrors: bool = True,
        followers: bool = False,
        create: bool = True,
        new_store: bool = False,
        restoring: str = "",
        renew_checksums: bool = False,
    ) -> AsyncIterator[Engine]:
        """Open the stores that the settings name and everything on top of them.

        Without `create` a store that is not there, or has no commit, is `Missing`, and nothing is made. A new store is not begun
        beside the blobs of another one (`services.administering.ownership`), unless `new_store` insists; `restoring` is the identity of a
        dump that is going to fill an empty store. `renew_checksums` has the index store write its checksums anew first.

        Without `mirrors` nothing is fetched from anywhere, and what mirrors have stored is served as it is.
        With `followers` everything that plugins do about commits is done, as a server does it.
        """
        plugins = plugins or load_plugins(disabled=settings.disabled_plugins, settings=settings.plugins)
        clock = clock or SystemClock()
        data = Path(settings.data)
        if create:
            _make_private(data)
        async with AsyncExitStack() as stack:
            workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="pkgindex")
            stack.callback(workers.shutdown, wait=True, cancel_futures=True)
            context = Context(
                data=data,
                clock=clock,
                workers=workers,
                public_url=_public_url(settings),
                renew_checksums=renew_checksums,
            )
            make_store = partial(plugins.index_store(settings.store).make, settings.store)
            only_existing = replace(context, may_create=False)
            store: IndexStore | None = None
            with suppress(Missing):
                store = await make_store(only_existing)
                stack.push_async_callback(store.close)
            if not create and (store is None or not await store.head()):
                raise _no_store(settings)
            _make_private(data)
            blobs: BlobStore = await plugins.blob_store(settings.blobs).make(settings.blobs, context)
            stack.push_async_callback(blobs.close)
            ownership = Ownership(blobs, place=_place(settings), insist=new_store, restoring=restoring)
            if store is None:
                free = await ownership.is_free()
                try:
                    # Another process may have begun the store meanwhile: then it is there, and so is its mark.
                    store = await make_store(context if free else only_existing)
                except Missing as error:
                    raise ownership.refusal() from error
                stack.push_async_callback(store.close)
            await ownership.settle(store)
            with suppress(Unavailable):  # a store that cannot be tidied now can perhaps be read
                await blobs.sweep(older_than=_ABANDONED_SECONDS)
            store, blobs = _behind(store, blobs, clock)
            stack.push_async_callback(blobs.finish)
            stack.push_async_callback(store.finish)
            context = replace(context, index_store=store, blob_store=blobs)
            refreshers: dict[str, Refresher] = {}
            for kind, provider in plugins.refreshers().items() if mirrors else ():
                refreshers[kind] = await provider.make(context)
                stack.push_async_callback(refreshers[kind].close)
            publishers: list[Publisher] = []
            for publisher in plugins.publishers() if mirrors else ():
                publishers.append(await publisher.make(context))
                stack.push_async_callback(publishers[-1].close)
            engaged: list[Follower] = []
            for follower in plugins.followers() if followers else ():
                engaged.append(await follower.make(context))
                stack.push_async_callback(engaged[-1].close)
            await stack.enter_async_context(following(engaged))
            yield cls(
                settings=settings,
                plugins=plugins,
                clock=clock,
                store=store,
                blobs=blobs,
                workers=workers,
                refreshers=refreshers,
                publishers=publishers,
                context=context,
                ownership=ownership,
            )

    async def prepare(self) -> Path | None:
        """Give an empty store its first user and indexes, in one commit; return where the new root password lies.

        The mirror and the default index can be read by everyone and written by nobody but their owner. A password that the settings do not
        give is generated, written to a file that only this user can read, and never printed. None when there are users
        already, and when the password was given.
        """
        if await self.store.users():
            return None
        place = None if self.settings.root_password is not None else Path(self.settings.data) / PASSWORD_FILE
        password = self.settings.root_password or ""
        if place is not None:
            password = await self.in_worker(partial(_agreed_password, place))
        hashed = await self.passwords.hash(password, may_be_empty=True)
        now = self.clock.now()
        root = User(name=ROOT, password_hash=hashed, created=now, modified=now)
        first: list[Change] = [PutUser(root), *(PutIndex(config) for config in self._first_indexes())]
        try:
            await self.store.apply(first, who="[start]", require=[UserAbsent(ROOT)])
        except RequirementFailed:
            place = None  # another process started at the same moment, with the same password
        await self._ownership.settle(self.store)
        return place

    async def uuid(self) -> str:
        """The identity of the store: the same for every server over it, and for one that replayed its commits.

        All zeros while it has no commit.
        """
        self._uuid = self._uuid or await identity_of(self.store)
        return self._uuid or UUID(int=0).hex

    @asynccontextmanager
    async def other_blobs(self, url: str) -> AsyncIterator[BlobStore]:
        """A blob store besides the engine's own, such as that of a dump."""
        blobs: BlobStore = await self.plugins.blob_store(url).make(url, self._context)
        try:
            yield blobs
        finally:
            await blobs.close()

    async def settle(self) -> None:
        """Wait until everything that was learned from upstreams so far is stored. Closing does so too."""
        await self.blobs.settle()
        await self.store.settle()

    async def last_commit(self) -> tuple[Serial, Timestamp]:
        """The head and when it was committed. A commit is read once, however large it is and whoever asks."""
        head = await self.store.head()
        if self._last_commit[0] != head:
            commits = await self.store.commits(Serial(head - 1), limit=1) if head else []
            self._last_commit = (head, commits[0].at if commits else Timestamp(0))
        return self._last_commit

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run blocking work in the engine's bounded threads."""
        return await in_worker(self.workers, function)

    def _first_indexes(self) -> list[IndexConfig]:
        url, credentials = without_credentials(self.settings.upstream)
        is_pypi = urlsplit(url).hostname == "pypi.org"
        mirror = IndexConfig(
            name=parse_index_name(MIRROR_NAME),
            type="mirror",
            read_only=True,
            volatile=False,
            acl_read=(ANONYMOUS,),
            mirror_url=url,
            mirror_credentials=credentials,
            mirror_cache_expiry=self.settings.mirror.expiry,
            title="PyPI" if is_pypi else "",
            mirror_web_url_fmt="https://pypi.org/project/{name}/" if is_pypi else "",
        )
        default = parse_index_name(self.settings.default_index)
        if owner(default) != ROOT:
            return [mirror]
        stage = IndexConfig(
            name=default,
            bases=(mirror.name,),
            volatile=False,
            acl_read=(ANONYMOUS,),
            acl_upload=(ROOT,),
            acl_toxresult_upload=(ANONYMOUS,) if self.settings.devpi_defaults else (AUTHENTICATED,),
        )
        return [mirror, stage]


def _behind(store: IndexStore, blobs: BlobStore, clock: Clock) -> tuple[IndexBehind, BlobsBehind]:
    """The stores as everything above them has them: what was learned from upstreams is shown at once and stored behind."""
    blobs_behind = BlobsBehind(blobs, clock=clock)
    return IndexBehind(store, blobs=blobs_behind), blobs_behind


def _public_url(settings: Settings) -> str:
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)  # noqa: S104  # what listens everywhere is also here
    netloc = f"[{host}]" if ":" in host else host
    return settings.outside_url.rstrip("/") or f"http://{netloc}:{settings.port}"


def _place(settings: Settings) -> str:
    return f"database: {masked(settings.store)}, files: {masked(settings.blobs)}"


def _no_store(settings: Settings) -> Missing:
    data = Path(settings.data).absolute()
    return Missing(
        "store",
        str(data),
        message=f"there is no store in {data} (database: {masked(settings.store)})",
        hint="check --data, --store and the configuration; a store is made by"
        f" `pkgindex-serve run --data {data}`, or by `import`",
    )


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(
            f"{directory.absolute()} cannot be the data directory: there is a file in its place",
            hint="name a directory with --data; it is made if need be",
        ) from error
    except OSError as error:
        raise Refused(
            f"the data directory {directory.absolute()} cannot be made: {error.strerror}",
            hint="choose one with --data that this user may write",
        ) from error


def _agreed_password(place: Path) -> str:
    """The password that lies there, or a new one, durably written: whoever writes first decides.

    The file appears whole or not at all, so that a start that died half-way, or two at once, leave one password.
    """
    if not place.exists():
        draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(f"{secrets.token_urlsafe(24)}\n")
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                place.hardlink_to(draft)
        finally:
            draft.unlink()
        directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return place.read_text().strip()
