"""The state of mirrors: from the counts of a running server, or from what a store has.

A server is asked for `/+metrics`. Its counts begin with its start. A store knows no counts, but what is stored.
"""

from __future__ import annotations

import netrc
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.protocols import BlobStore
from pkgindex_core.protocols.measuring import Meter
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_mirror import urls
from pkgindex_mirror.readthrough import measuring
from pkgindex_mirror.readthrough.noted_checks import KIND, Noted

_SECONDS: Final = 10.0
_HINT: Final = "give the URL of a running pkgindex-serve, or leave it out to see what the store has"


class MirrorStatus(Struct, frozen=True, kw_only=True):
    """The state of one mirror. None and empty: not known, as counts of a server that does not run."""

    index: str
    upstream: str
    state: str = ""
    """`answers`; `left alone`: it fails, and is only probed; `not asked` since the start."""
    stored_pages: int = 0
    listed_names: int | None = None
    answered: str | None = None
    """When the upstream last answered."""
    pages: Mapping[str, int] = {}
    """Requests for pages by answer, as in `pkgindex_mirror_pages_total`."""
    stale: Mapping[str, int] = {}
    questions: Mapping[str, int] = {}
    files: Mapping[str, int] = {}
    """Files that clients got, by origin."""
    fetches: Mapping[str, int] = {}
    sidecars: Mapping[str, int] = {}
    bytes: Mapping[str, int] = {}
    """Bytes of files that were sent, by origin. Those of origin `store` are saved."""


class UpstreamStatus(Struct, frozen=True, kw_only=True):
    """The counts of one upstream since the start of the server."""

    upstream: str
    requests: Mapping[str, int]
    """By class of status; `none`: no answer."""
    errors: Mapping[str, int]
    mean_seconds: float | None
    """Mean time until the head of an answer."""
    bytes: int


class Status(Struct, frozen=True, kw_only=True):
    """The state of all mirrors of a server or a store."""

    server: str = ""
    """The URL that was asked; empty: the store was read."""
    mirrors: Sequence[MirrorStatus]
    upstreams: Sequence[UpstreamStatus] = ()
    under_way: int | None = None
    """Requests to upstreams that are under way."""
    waiting: int | None = None
    """Questions and fetches that wait for their turn."""
    cache_bytes: int | None = None
    """Bytes of mirrored files that a server with a bound keeps."""
    cache_limit: int | None = None
    removed_files: int | None = None
    blobs: int | None = None
    """Files and metadata in the store, of all indexes."""
    blob_bytes: int | None = None
    mirrored_files: int | None = None
    """Those of them that mirrors fetched, if the store keeps them apart."""
    mirrored_bytes: int | None = None


async def ask_server(url: str, credentials: str, *, netrc_file: str | None = None) -> Status:
    """Ask a running server. `credentials` are `user:password`; without them those of netrc for the host are sent.

    `netrc_file`: None is the user's own. Raises `Refused` or `Unavailable`, which say what to do.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refused(f"{urls.shown(url)} is not an http or https URL", hint=_HINT)
    where = f"{url.rstrip('/')}/+metrics"
    known = credentials or _of_netrc(parts.hostname, netrc_file)
    headers = {"Accept": "application/json", **({"Authorization": urls.basic(known)} if known else {})}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.get(where, headers=headers, allow_redirects=False) as answer,
        ):
            status, body = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"{urls.shown(url)} does not answer", hint=_HINT) from error
    if status in {401, 403}:
        raise Refused(
            f"{urls.shown(where)} answered {status}: its counts need credentials that permit `metrics`",
            hint="write them into ~/.netrc or into the URL (http://user:password@host/), or set open_metrics on the server",
        )
    try:
        document = msgspec.json.decode(body, type=dict[str, list[_Value]]) if status == 200 else None
    except msgspec.DecodeError:
        document = None
    if document is None or measuring.PAGES.name not in document:
        raise Refused(f"{urls.shown(where)} answered {status}, and not with counts of mirrors", hint=_HINT)
    return _of_counts(url, document)


async def read_store(engine: Engine) -> Status:
    """Read what is stored. Takes as long as a walk through the blob store."""
    tree = await engine.store.tree()
    mirrors = [await _stored(engine, each) for each in tree.indexes.values() if each.mirrored]
    blobs, size = await _sum(engine.blobs)
    copies = await engine.blobs.copies()
    mirrored, mirrored_bytes = (None, None) if copies is None else await _sum(copies)
    return Status(mirrors=mirrors, blobs=blobs, blob_bytes=size, mirrored_files=mirrored, mirrored_bytes=mirrored_bytes)


async def _sum(store: BlobStore) -> tuple[int, int]:
    sizes = [blob.size async for blob in store.walk()]
    return len(sizes), sum(sizes)


class _Value(Struct):
    labels: dict[str, str]
    value: float = 0.0
    count: int = 0
    sum: float = 0.0


_Document = Mapping[str, Sequence[_Value]]


def _of_counts(url: str, document: _Document) -> Status:
    def by(meter: str, last: str, **labels: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in document.get(meter, ()):
            if labels.items() <= each.labels.items():
                word = each.labels[last]
                found[word] = found.get(word, 0) + int(each.value)
        return found

    def number(meter: Meter, of_all: Callable[[Iterable[float]], float], **labels: str) -> float | None:
        """One number from those of all workers."""
        found = [each.value for each in document.get(meter.name, ()) if labels.items() <= each.labels.items()]
        return of_all(found) if found else None

    def whole(meter: Meter, of_all: Callable[[Iterable[float]], float]) -> int | None:
        found = number(meter, of_all)
        return None if found is None else int(found)

    latencies: dict[str, list[_Value]] = {}
    for each in document[measuring.LATENCY.name]:
        latencies.setdefault(each.labels["upstream"], []).append(each)
    upstreams = []
    for upstream, values in latencies.items():
        count = sum(each.count for each in values)
        upstreams.append(
            UpstreamStatus(
                upstream=upstream,
                requests=by(measuring.REQUESTS.name, "answer", upstream=upstream),
                errors=by(measuring.ERRORS.name, "kind", upstream=upstream),
                mean_seconds=sum(each.sum for each in values) / count if count else None,
                bytes=int(number(measuring.RECEIVED, sum, upstream=upstream) or 0),
            )
        )
    asked = {each.upstream: sum(each.requests.values()) > 0 for each in upstreams}
    mirrors = []
    for index, upstream in dict.fromkeys(
        (each.labels["index"], each.labels["upstream"]) for each in document[measuring.LEFT_ALONE.name]
    ):
        left_alone = number(measuring.LEFT_ALONE, max, index=index, upstream=upstream)
        answered = number(measuring.ANSWERED, max, index=index)
        mirrors.append(
            MirrorStatus(
                index=index,
                upstream=upstream,
                state="left alone" if left_alone else "answers" if asked.get(upstream) else "not asked",
                stored_pages=int(number(measuring.STORED, max, index=index) or 0),
                answered=None if answered is None else to_rfc3339(Timestamp(int(answered * 1_000_000))),
                pages=by(measuring.PAGES.name, "answer", index=index),
                stale=by(measuring.STALE_PAGES.name, "reason", index=index),
                questions=by(measuring.QUESTIONS.name, "result", index=index),
                files=by("pkgindex_files_total", "origin", index=index, kind="file"),
                fetches=by(measuring.FETCHES.name, "result", index=index),
                sidecars=by(measuring.SIDECARS.name, "result", index=index),
                bytes=by("pkgindex_file_bytes_total", "origin", index=index, kind="file"),
            )
        )
    return Status(
        server=urls.shown(url),
        mirrors=mirrors,
        upstreams=upstreams,
        under_way=whole(measuring.UNDER_WAY, sum),
        waiting=whole(measuring.WAITING, sum),
        cache_bytes=whole(measuring.CACHE, max),
        cache_limit=whole(measuring.CACHE_LIMIT, max),
        removed_files=whole(measuring.REMOVED, sum),
    )


async def _stored(engine: Engine, index: IndexConfig) -> MirrorStatus:
    store = engine.store
    listing, rows = await store.listing(index.name), await store.projects(index.name)
    times = [moment async for moment in _noted(engine, index)]
    newest = max((row.stamp for row in rows), default=listing.stamp)
    if newest:
        times += [commit.at for commit in await store.commits(Serial(newest - 1), limit=1)]
    return MirrorStatus(
        index=index.name,
        upstream=urls.shown(mirror_options(index).url),
        stored_pages=len(rows),
        listed_names=listing.count if listing.stamp else None,
        answered=to_rfc3339(max(times)) if times else None,
    )


async def _noted(engine: Engine, index: IndexConfig) -> AsyncIterator[Timestamp]:
    """The times of the answers without news."""
    prefix = f"{index.name}/"
    async for batch in engine.store.notes(KIND, after=index.name):
        for note in batch:
            if note.key.startswith(prefix):
                yield msgspec.msgpack.decode(note.value, type=Noted).checked
            elif note.key > prefix:
                return


def _of_netrc(host: str, file: str | None) -> str:
    try:
        found = netrc.netrc(file).hosts.get(host)  # not `default`, which would send a password anywhere
    except (OSError, netrc.NetrcParseError):
        return ""
    return f"{found[0]}:{found[2]}" if found else ""
