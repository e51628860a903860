"""Asks an upstream for its list of projects, and reads it while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.syncing.list_reading import ListReader, UpstreamList
from pkgindex_mirror.syncing.transport import Transport
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed, Unchanged

HTML_LIMIT = 128 * 1024 * 1024
"""Most bytes of a list in HTML that are in memory together: those of links in plain form are not."""


class ReadList(Struct, frozen=True, kw_only=True):
    """The list, and its validators for the next question."""

    projects: UpstreamList
    validators: Mapping[str, str]


class NoList(Struct, frozen=True):
    """There is no list that could be read."""

    reason: str


async def read_list(
    transport: Transport, url: str, validators: Mapping[str, str] | None
) -> ReadList | Unchanged | NoList:
    """Ask for a list. With `validators` the answer may be `Unchanged`."""
    async with transport.listing(url, validators=validators) as answer:
        match answer:
            case Failed():
                return NoList(answer.reason)
            case AbsentAnswer():
                return NoList(f"it answered {answer.status} for its list of projects")
            case Unchanged():
                return answer
        reader = ListReader(answer.content_type, limit=HTML_LIMIT, is_delimited=answer.is_delimited)
        async for piece in answer.chunks():
            if isinstance(piece, Failed):
                return NoList(f"its list of projects: {piece.reason}")
            reader.feed(piece)
            await asyncio.sleep(0)
        projects = reader.finish()
        if isinstance(projects, UnreadablePage):
            return NoList(projects.reason)
        return ReadList(projects=projects, validators=answer.validators)
