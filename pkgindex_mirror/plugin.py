"""The mirror as a plugin of the library: the `Source` of indexes of type `mirror`, a publisher, a follower, options and a command.

Importing this is cheap: `make` and its siblings import aiohttp.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from pkgindex_core.hookspecs import CommandProvider, Context, Provider, hookimpl

if TYPE_CHECKING:
    from pkgindex_core.protocols import Follower, PageFilter, Publisher, Source
    from pkgindex_core.protocols.index_types import IndexOption
    from pkgindex_mirror.sending.publishing import HttpPublisher

_COMMANDS: Final = (
    ("Upstreams", "probe", "Ask the simple index at URL what it offers, with PROJECT (default: pip) as the example."),
    (
        "Upstreams",
        "prefetch",
        "Fetch what FILE wants: requirements.txt, pylock.toml, uv.lock, poetry.lock or Pipfile.lock.",
    ),
    (
        "Upstreams",
        "close",
        "Find everything that installs NAME... and what FILE wants: projects, versions and files, with all dependencies.",
    ),
    (
        "Upstreams",
        "status",
        "Show pages, files, bytes and upstreams of the mirrors of the server at URL; without it what the store has; with -c or --index the run of a mirror.",
    ),
    ("Mirrors", "mirror", "Bring the mirror up to date."),
    ("Mirrors", "sync", "Bring each PACKAGE up to date, whatever is known of it."),
    ("Mirrors", "verify", "Compare each file with its digest, fetch wrong ones again, and write wrong pages anew."),
    ("Mirrors", "delete", "Remove each PACKAGE with its files, pages and documents."),
    ("Mirrors", "plan", "Tell what a run would fetch, delete and keep, and what each filter leaves out."),
    ("Mirrors", "prune", "Remove what the filters do not choose any more, without asking the upstream."),
    (
        "Mirrors",
        "explain",
        "Tell why each file of PROJECT is mirrored or not, from what the last runs stored.",
    ),
    ("Mirrors", "config", "Check, explain and migrate the configuration of a mirror."),
    ("Static trees", "publish", "Publish INDEX (user/name) as static files that any web server or bucket serves."),
    ("Static trees", "snapshot", "Keep states of a tree or of an index, compare them, and serve them under names."),
    ("Static trees", "bundle", "Carry a tree over an air gap, in signed bundles of what changed."),
)
"""Section, word and summary: the first line of the command's own help."""


async def make(context: Context) -> Source:
    """Make the source; `[plugins.mirror]` holds its settings (`MirrorSettings`). In a replica its primary is the only upstream."""
    if context.replica is not None:
        from pkgindex_mirror.replicas import making

        return making.make_source(context)
    from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
    from pkgindex_mirror.readthrough.source import ReadThrough
    from pkgindex_mirror.settings import read_settings

    assert isinstance(context.index_store, LearningIndex)
    assert isinstance(context.blob_store, LearningBlobs)
    settings = read_settings(context.settings)
    if settings.proxy:
        from pkgindex_mirror.upstreams.socks_proxies import is_socks, require_socks

        if is_socks(settings.proxy):
            require_socks()
    source = ReadThrough(
        store=context.index_store,
        blob_store=context.blob_store,
        clock=context.clock,
        workers=context.workers,
        data=context.data,
        settings=settings,
        verifier=context.verifier,
        policies=context.policies,
    )
    source.cache.start()
    return source


async def make_filter(context: Context) -> PageFilter | None:
    """Make the filter of offline servers, with the settings of the source."""
    if not context.settings.get("offline"):
        return None
    from pkgindex_mirror.offline import stored_files
    from pkgindex_mirror.settings import read_settings

    assert context.blob_store is not None
    return await stored_files(context.blob_store) if read_settings(context.settings).offline else None


async def make_publisher(context: Context) -> HttpPublisher:
    """Make the publisher, with the settings of the source."""
    from pkgindex_mirror.sending.publishing import HttpPublisher
    from pkgindex_mirror.settings import read_settings

    assert context.blob_store is not None
    return HttpPublisher(blob_store=context.blob_store, settings=read_settings(context.settings))


async def make_follower(context: Context) -> Follower | None:
    """Make the follower that tells other servers of uploads, with the settings of the source. In a replica it is the one that copies the
    primary, which tells others itself; None if this program does not follow.
    """
    if context.replica is not None:
        from pkgindex_mirror.replicas import making

        return making.make_follower(context) if context.replica.credentials else None
    from pkgindex_mirror.sending.webhooks import Webhooks
    from pkgindex_mirror.settings import read_settings

    assert context.index_store is not None
    return Webhooks(
        store=context.index_store,
        clock=context.clock,
        settings=read_settings(context.settings),
        public_url=context.public_url,
    )


async def make_advisory_feed(context: Context) -> Follower | None:
    """Make what keeps the book of advisories up to date; None without a feed in `[plugins.advisories]` (`FeedSettings`)."""
    if not context.settings.get("feed"):
        return None
    from pkgindex_mirror.advisories.feed_settings import read_feed_settings
    from pkgindex_mirror.advisories.feeding import AdvisoryFeed

    return AdvisoryFeed(data=context.data, settings=read_feed_settings(context.settings), clock=context.clock)


@hookimpl
def pkgindex_sources() -> Iterable[Provider[Source]]:
    return [Provider(name="mirror", summary="read-through cache of another index, over HTTP", make=make)]


@hookimpl
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    return [Provider(name="mirror", summary="offline: hides files of mirrors that are not stored", make=make_filter)]


@hookimpl
def pkgindex_publishers() -> Iterable[Provider[Publisher]]:
    return [Provider(name="mirror", summary="pushes releases to other indexes, over HTTP", make=make_publisher)]


@hookimpl
def pkgindex_followers() -> Iterable[Provider[Follower]]:
    summary = "tells Jenkins, Slack and others of uploads; in a replica it copies the primary"
    feed = "keeps advisories up to date from the feed in [plugins.advisories]"
    return [
        Provider(name="mirror", summary=summary, make=make_follower),
        Provider(name="advisories", summary=feed, make=make_advisory_feed),
    ]


@hookimpl
def pkgindex_commands() -> Iterable[CommandProvider]:
    for section, word, summary in _COMMANDS:
        make = partial(pkgutil.resolve_name, f"pkgindex_mirror.commands.{word}:{word}")
        yield CommandProvider(name=f"pkgindex-mirror {word}", section=section, summary=summary, make=make)


@hookimpl
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    from pkgindex_core.protocols.index_types import IndexOption
    from pkgindex_core.rules.option_values import boolean
    from pkgindex_mirror.file_policies import OPTION, read_option
    from pkgindex_mirror.sending.notices import index_options
    from pkgindex_mirror.synced_indexes import SYNCED
    from pkgindex_mirror.upstreams.sites import FLAT

    summary = (
        "the upstream is one page with links to files of any projects, as for pip's --find-links, and no simple index"
    )
    yield Provider(name=FLAT, summary=summary, make=partial(_given, IndexOption(parse=boolean, types=("mirror",))))
    summary = (
        "whether pages come from `pkgindex-mirror mirror --index` alone, so that no request of a client refreshes them"
    )
    yield Provider(name=SYNCED, summary=summary, make=partial(_given, IndexOption(parse=boolean, types=("mirror",))))
    summary = "which projects have files that are not kept (streamed), or wait for their first request (on-demand)"
    option = IndexOption(parse=read_option, types=("mirror",), is_list=True)
    yield Provider(name=OPTION, summary=summary, make=partial(_given, option))
    for name, (summary, option) in index_options().items():
        yield Provider(name=name, summary=summary, make=partial(_given, option))


def _given(option: IndexOption, _context: Context) -> IndexOption:
    return option
