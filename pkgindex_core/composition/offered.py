"""Makes the objects that plugins provide to one engine, such as sources, filters and renderers, and closes them in reverse order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from inspect import isawaitable
from typing import Final

from msgspec import Struct

from pkgindex_core.config import Settings
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import ANONYMOUS
from pkgindex_core.plugins import Plugins
from pkgindex_core.protocols import (
    Authenticator,
    Follower,
    HouseRules,
    PageFilter,
    Publisher,
    Renderer,
    Source,
    UploadCheck,
)
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.rules.filtering import Withholding
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.routing import RoutedAdmission
from pkgindex_core.services.moving.following import following
from pkgindex_core.services.reading.deciding import Decisions

FOLLOWING: Final = "mirror"
"""The type whose source is that of all types in a replica."""


class Offered(Struct, frozen=True, kw_only=True):
    """The objects that plugins provide, by role."""

    filters: Mapping[str, PageFilter]
    admission: Withholding
    renderers: Mapping[str, Renderer]
    sources: Mapping[str, Source]
    publishers: Sequence[Publisher]
    authenticators: Sequence[Authenticator]
    checks: Sequence[UploadCheck]
    options: IndexOptions
    house: HouseRules
    decisions: Decisions
    make_catalogue: Callable[[], SearchCatalogue]
    """Makes the catalogue of searches, which opens nothing until it is used."""


@asynccontextmanager
async def made_offers(
    settings: Settings,
    plugins: Plugins,
    context: Context,
    *,
    mirrors: bool,
    followers: bool,
    names_from_elsewhere: bool,
) -> AsyncIterator[Offered]:
    """Make the objects of all providers, start the followers, and close all in reverse order."""
    async with AsyncExitStack() as stack:
        sources: dict[str, Source] = {}
        wanted = plugins.sources() if mirrors else {}
        if context.replica is not None and FOLLOWING in wanted:
            # A replica has everything from its primary, also what that has from upstreams and directories.
            sources = dict.fromkeys(wanted, await wanted[FOLLOWING].make(context))
            stack.push_async_callback(sources[FOLLOWING].close)
            wanted = {}
        for kind, provider in wanted.items():
            sources[kind] = await provider.make(context)
            stack.push_async_callback(sources[kind].close)
        publishers: list[Publisher] = []
        for publisher in plugins.publishers() if mirrors else ():
            publishers.append(await publisher.make(context))
            stack.push_async_callback(publishers[-1].close)
        engaged: list[Follower] = []
        for follower in plugins.followers() if followers else ():
            if (follows := await follower.make(context)) is not None:
                engaged.append(follows)
                stack.push_async_callback(follows.close)
        await stack.enter_async_context(following(engaged))
        assert context.index_store is not None, "both stores are open"
        decisions = Decisions(notes=context.index_store, clock=context.clock, seconds=settings.keep_decisions)
        stack.push_async_callback(decisions.close)
        filters: dict[str, PageFilter] = {}
        for filtering in plugins.page_filters():
            made = filtering.make(context)
            made = await made if isawaitable(made) else made
            if made is not None:
                filters[filtering.name] = made
        authenticators = [made for provider in plugins.authenticators() if (made := provider.make(context)) is not None]
        types = {name: provider.make(context) for name, provider in plugins.index_types().items()}
        yield Offered(
            decisions=decisions,
            make_catalogue=partial(plugins.catalogue(settings.store).make, settings.store, context),
            filters=filters,
            admission=Withholding(RoutedAdmission(plugins.admission(settings.admission).make(context)), filters),
            renderers={name: provider.make(context) for name, provider in plugins.renderers().items()},
            sources=sources,
            publishers=publishers,
            authenticators=authenticators,
            checks=[provider.make(context) for provider in plugins.upload_checks()],
            options=IndexOptions(
                types,
                {name: provider.make(context) for name, provider in plugins.index_options().items()},
                {"acl_toxresult_upload": (ANONYMOUS,)} if settings.devpi_defaults else {},
                most_entries=settings.max_list_entries,
            ),
            house=HouseRules(
                open_registration=settings.open_registration,
                names_from_elsewhere=names_from_elsewhere or len(authenticators) > 1,
                restrict_modify=settings.restrict_modify or None,
                index_types=frozenset(types),
            ),
        )
