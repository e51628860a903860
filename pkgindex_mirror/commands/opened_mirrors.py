"""Makes everything that works on a mirror from its configuration: its tree, its filters, the client of its upstream, and a run."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName
from pkgindex_mirror import urls
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration, S3Settings
from pkgindex_mirror.commands.common import library_settings
from pkgindex_mirror.filters.chosen_files import Filters
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.filters.making import filters_of, own_filters
from pkgindex_mirror.settings import MirrorSettings, read_settings
from pkgindex_mirror.syncing.file_fetching import FileFetching, FileSource
from pkgindex_mirror.syncing.file_queue import FileQueue
from pkgindex_mirror.syncing.lean_transport import LeanTransport
from pkgindex_mirror.syncing.policed_files import PolicedFiles
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_work import Addresses
from pkgindex_mirror.syncing.reports import RunReport
from pkgindex_mirror.syncing.running import MirrorRun, UpstreamPlaces
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import Access, OpenableTarget
from pkgindex_mirror.syncing.transport import CarefulTransport, Transport
from pkgindex_mirror.trees.layout import OWN
from pkgindex_mirror.trees.opening import local_directory, opened_tree
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.tree_target import MirrorTree
from pkgindex_mirror.upstreams.addresses import is_address, is_public
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient

if TYPE_CHECKING:
    from pkgindex_mirror.commands.mirror_orders import MirrorOrder
    from pkgindex_mirror.engine_target.index_target import IndexTarget
    from pkgindex_mirror.syncing.planning import Planning

_WORKERS: Final = 4
"""Threads for what blocks: large files, long pages, the disk."""
_NO_LIMIT: Final = 1_000_000.0
"""Seconds that stand for no limit."""
_DAY: Final = 86_400.0
_MOST_AT_ONCE: Final = 64
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")
"""The networks to which links may lead if the upstream itself is in one of them."""


class OpenedMirror(Struct, frozen=True, kw_only=True):
    """A mirror to work on."""

    configuration: MirrorConfiguration
    target: OpenableTarget
    chosen: Chosen
    cautions: Sequence[str]
    """Sentences about filters that are enabled and do nothing."""
    settings: RunSettings
    clock: Clock
    progress: Progress
    status_directory: Path | None
    """Where the status of a run is written; None for a tree that is in no directory of this machine."""

    @property
    def has_tree(self) -> bool:
        return isinstance(self.target, MirrorTree)

    @property
    def tree(self) -> MirrorTree:
        """The tree that is the mirror. Raises `Refused` if an index is."""
        if isinstance(self.target, MirrorTree):
            return self.target
        raise Refused("the mirror is an index, and no tree", hint="leave --index out")

    @property
    def index(self) -> IndexTarget:
        """The index that is the mirror. Raises `Refused` if a tree is."""
        from pkgindex_mirror.engine_target.index_target import IndexTarget

        if isinstance(self.target, IndexTarget):
            return self.target
        raise Refused("the mirror is a tree, and no index", hint="name an index with --index")


class OpenedUpstream(Struct, frozen=True, kw_only=True):
    """The upstream of a mirror, ready to be asked."""

    transport: Transport
    sources: tuple[FileSource, ...]
    places: UpstreamPlaces


@asynccontextmanager
async def opened_mirror(order: MirrorOrder, base: Path, access: Access) -> AsyncIterator[OpenedMirror]:
    """Make the parts of a mirror, and with the access `make` its directory or store if it is not there. The target wants its `turn`, or `open` to be read.

    `base` is the directory to which paths of filters are relative. Raises `Missing` for a mirror that is not there, and `Refused`
    when a filter has wrong settings, before anything is made.
    """
    configuration = order.configuration
    filters = chosen_filters(configuration, base)
    clock = SystemClock()
    mirror = partial(
        OpenedMirror,
        configuration=configuration,
        chosen=filters,
        cautions=filters.cautions,
        settings=run_settings(configuration),
        clock=clock,
        progress=Progress(clock),
    )
    if order.place is None:
        async with _opened_tree(configuration, clock, access) as tree:
            directory = local_directory(configuration.url)
            yield mirror(target=tree, status_directory=directory / OWN if directory is not None else None)
        return
    # Runs into a tree do without the engine, and without the time to load it.
    from pkgindex_mirror.commands.opened_indexes import opened_index

    async with opened_index(order.place, configuration, access) as index:
        yield mirror(
            target=index,
            chosen=PolicedFiles(filters, index.policies) if index.policies.fingerprint else filters,
            settings=replace(
                run_settings(configuration), policies=index.policies, with_files=True, with_documents=False
            ),
            status_directory=order.place.status_directory,
        )


@asynccontextmanager
async def _opened_tree(configuration: MirrorConfiguration, clock: Clock, access: Access) -> AsyncIterator[MirrorTree]:
    if any(not rule.endswith(" immediate") for rule in configuration.file_policies):
        raise Refused(
            "file-policies: a directory has all files that its pages list",
            hint="mirror into an index with --index, or leave file-policies out",
        )
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="mirror")
    try:
        async with opened_tree(
            configuration.url,
            tree_options(configuration),
            workers=workers,
            clock=clock,
            storage_options=storage_options(configuration.s3),
            access=access,
        ) as tree:
            yield tree
    finally:
        workers.shutdown(wait=False)


def chosen_filters(configuration: MirrorConfiguration, base: Path) -> Filters:
    """The filters of bandersnatch, those of the section of our own, and a closure. Raises `Refused` for wrong settings."""
    filters = filters_of(configuration.plugins, configuration.sections, strict=configuration.compat, base=base)
    if configuration.own_filters:
        filters = filters.joined(own_filters(configuration.own_filters))
    if configuration.closure:
        from pkgindex_mirror.closing.closure import read_closure
        from pkgindex_mirror.closing.filtering import ClosureFilter

        filters = filters.joined(Filters((ClosureFilter(read_closure(base / configuration.closure)),)))
    return filters


@asynccontextmanager
async def opened_upstream(mirror: OpenedMirror) -> AsyncIterator[OpenedUpstream]:
    """Make the client of the upstream of a mirror, and close it."""
    configuration = mirror.configuration
    base, authorization = _without_userinfo(configuration.master)
    site = Site(base=urls.with_slash(f"{base}/simple"), authorization=authorization)
    settings = await client_settings(configuration, base)
    transport = _transport(site, settings, mirror.clock, configuration.proxy)
    sources = [FileSource(transport, str)]
    mirrored: Transport | None = None
    if configuration.download_mirror:
        other, authorization = _without_userinfo(configuration.download_mirror)
        first = Site(base=urls.with_slash(other), authorization=authorization)
        mirrored = _transport(first, await client_settings(configuration, other), mirror.clock, configuration.proxy)
        sources.insert(0, FileSource(mirrored, _rerooted(other)))
        if configuration.download_mirror_no_fallback:
            del sources[1:]
    try:
        yield OpenedUpstream(
            transport=transport,
            sources=tuple(sources),
            places=UpstreamPlaces(
                list_url=site.base,
                addresses=Addresses(
                    page_of=lambda name: site.project_url(ProjectName(name)),
                    document_of=lambda name: f"{base}/pypi/{name}/json",
                ),
            ),
        )
    finally:
        await transport.close()
        if mirrored is not None:
            await mirrored.close()


def mirror_run(mirror: OpenedMirror, upstream: OpenedUpstream, report: RunReport) -> MirrorRun:
    """Make a run."""
    return MirrorRun(
        target=mirror.target,
        transport=upstream.transport,
        places=upstream.places,
        chosen=mirror.chosen,
        queue=file_queue(mirror, upstream),
        settings=mirror.settings,
        clock=mirror.clock,
        progress=mirror.progress,
        report=report,
    )


def file_queue(mirror: OpenedMirror, upstream: OpenedUpstream) -> FileQueue:
    """Make the queue that brings files into the tree."""
    fetching = FileFetching(mirror.target, upstream.sources, mirror.settings, mirror.progress)
    return FileQueue(fetching, mirror.clock, most_per_host=mirror.settings.files_at_once)


def planning(mirror: OpenedMirror, upstream: OpenedUpstream) -> Planning:
    """Make the planning of a run."""
    from pkgindex_mirror.syncing.planning import Planning

    return Planning(
        target=mirror.target,
        transport=upstream.transport,
        places=upstream.places,
        chosen=mirror.chosen,
        settings=mirror.settings,
        clock=mirror.clock,
        progress=mirror.progress,
    )


def tree_options(configuration: MirrorConfiguration) -> TreeOptions:
    """The options of the tree that a configuration describes."""
    return TreeOptions(
        hash_index=configuration.hash_index,
        root_uri=configuration.root_uri,
        simple_format=configuration.simple_format,
        digest_name=configuration.digest_name,
        keep_index_versions=configuration.keep_index_versions,
        json=configuration.json,
        release_files=configuration.release_files,
        core_metadata=configuration.core_metadata,
        compare_method=configuration.compare_method,
        cleanup=configuration.cleanup,
        manage_permissions=configuration.storage_filesystem_manage_permissions,
        remember_changes=bool(configuration.diff_file),
    )


def storage_options(s3: S3Settings | None) -> Mapping[str, Any]:
    """The options of s3fs for the section `[s3]`. Texts that are empty are left to the environment."""
    if s3 is None:
        return {}
    retries = {"max_attempts": s3.max_attempts, "mode": "adaptive"}
    given = {
        "key": s3.aws_access_key_id,
        "secret": s3.aws_secret_access_key,
        "endpoint_url": s3.endpoint_url,
        "client_kwargs": {"region_name": s3.region_name} if s3.region_name else {},
        "config_kwargs": {"retries": retries}
        | ({"signature_version": s3.signature_version} if s3.signature_version else {}),
        "s3_additional_kwargs": dict(s3.parameters),
    }
    return {name: value for name, value in given.items() if value}


def run_settings(configuration: MirrorConfiguration) -> RunSettings:
    """How a run goes about its work."""
    return RunSettings(
        removed=configuration.removed,
        grace=configuration.removed_after_days * _DAY,
        shrink_percent=configuration.shrink_limit,
        # bandersnatch has 3 workers, each of which does one thing at a time.
        projects_at_once=min(max(8 * configuration.workers, 8), _MOST_AT_ONCE),
        files_at_once=min(max(10 * configuration.workers, 8), _MOST_AT_ONCE),
        with_files=configuration.release_files,
        with_documents=configuration.json,
        stop_on_error=configuration.stop_on_error,
        file_allowance=max(configuration.global_timeout, 1.0) if configuration.global_timeout else _NO_LIMIT,
    )


async def client_settings(configuration: MirrorConfiguration, base: str) -> MirrorSettings:
    """The settings of the client for an upstream: those of the mirror plugin in the environment, changed as the configuration says.

    Links of an upstream in a private network may lead to others there.
    """
    whole = configuration.global_timeout or _NO_LIMIT
    given = read_settings(library_settings(None).plugins.get("mirror", {}))
    # A proxy resolves the names of hosts, and judges where they lead. An address needs no resolver.
    is_proxied = bool(configuration.proxy or given.proxy)
    private = () if is_proxied and not is_address(urls.host(base)) else await _private_addresses(base)
    return replace(
        given,
        connect_timeout=configuration.timeout or _NO_LIMIT,
        read_timeout=configuration.timeout or _NO_LIMIT,
        page_deadline=whole,
        names_deadline=whole,
        concurrent_pages=_MOST_AT_ONCE,
        concurrent_files=_MOST_AT_ONCE,
        concurrent_requests=2 * _MOST_AT_ONCE,
        breaker_failures=10,
        allow_networks=(*given.allow_networks, *(_PRIVATE if private else ()), *private),
    )


def _transport(site: Site, settings: MirrorSettings, clock: Clock, proxy: str) -> Transport:
    proxy = proxy or settings.proxy
    client = UpstreamClient(settings, clock, proxy=proxy)
    return CarefulTransport(client, site) if proxy else LeanTransport(client, site, settings)


async def _private_addresses(base: str) -> tuple[str, ...]:
    """The addresses of a host; none if one of them is public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(urls.host(base), None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = {str(each[4][0]).partition("%")[0] for each in found}
    return tuple(sorted(addresses)) if not any(is_public(ipaddress.ip_address(each)) for each in addresses) else ()


def _without_userinfo(url: str) -> tuple[str, str]:
    """A base URL without its slash at the end and without credentials, and the header for those."""
    parts = urlsplit(url)
    userinfo, _, _ = parts.netloc.rpartition("@")
    base = urls.cleaned(url)
    if base is None:
        raise Refused(f"{urls.shown(url)} is no URL of an upstream", hint="write an http or https URL")
    return base.rstrip("/"), urls.basic(userinfo) if userinfo else ""


def _rerooted(base: str) -> Callable[[str], str]:
    """The URL of a file at another server that has the same paths."""
    return lambda url: f"{base}{urlsplit(url).path}"
