"""Asks a feed of advisories again and again, and has a new book made when it changed.

    feed (validators of the last answer)  ->  unchanged: noted  |  new: fetched beside the book, taken in, noted  |  failed: said once, tried again

Each machine has a book of its own in its data directory, which all processes there share: the one that holds the lock asks. What is known stays
when a feed fails or sends something else.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.engines.advisories.book import FeedCheck, book_path, note_check, noted_check
from pkgindex_core.engines.advisories.taking_in import take_in
from pkgindex_core.errors import Conflict, PkgIndexError, Unavailable
from pkgindex_core.protocols import Follower
from pkgindex_core.tools.regularly import regularly
from pkgindex_mirror import urls
from pkgindex_mirror.advisories.feed_settings import FeedSettings

if TYPE_CHECKING:
    import aiohttp

_PIECE: Final = 1 << 20
_FAILURES: Final = "the server keeps what it knows and asks again"


class AdvisoryFeed:
    """Keeps the book of a data directory up to date. A `Follower` of a feed, and not of commits."""

    def __init__(
        self,
        *,
        data: Path,
        settings: FeedSettings,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._data = data
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    async def follow(self) -> None:
        """Ask the feed until cancelled. An outage is logged once."""
        with suppress(PkgIndexError):  # a failure is told when the next question fails too
            await self.refresh()  # before the first pause: a new server knows soon
        await regularly("the feed of advisories", self._due, every=self._settings.every, pause=self._sleep)

    async def close(self) -> None:
        """Do nothing: each answer has a connection of its own."""

    async def refresh(self) -> bool:
        """Ask the feed now; return whether there is a new book.

        Raises `Conflict` while another process of the machine asks, `Unavailable` if the feed cannot be read, `Refused` if it is no feed.
        """
        directory = book_path(self._data).parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict("another process asks the feed of advisories") from error
            before = noted_check(self._data)
            if before.feed != self._settings.feed or not book_path(self._data).exists():
                before = FeedCheck(feed=self._settings.feed)
            if "://" in self._settings.feed:
                after = await self._asked(before)
            else:
                after = await self._looked_at(before)
            note_check(self._data, after)
            return after.digest != before.digest or after.validators != before.validators
        finally:
            os.close(lock)

    async def _due(self) -> None:
        """Refresh if the last answer is older than the settings say."""
        checked = noted_check(self._data)
        age = (self._clock.now() - checked.at) / 1_000_000
        if checked.feed != self._settings.feed or not 0 <= age < self._settings.every:
            await self.refresh()

    async def _looked_at(self, before: FeedCheck) -> FeedCheck:
        """A local feed: its time and size are its validators, and those of its files."""
        place = Path(self._settings.feed).expanduser()
        try:
            validators = await asyncio.to_thread(_validators, place)
        except OSError as error:
            raise Unavailable(f"the feed {place} cannot be read: {error.strerror}", hint=_FAILURES) from error
        if validators != before.validators:
            await self._take_in(place)
        return FeedCheck(feed=before.feed, validators=validators, at=self._clock.now())

    async def _asked(self, before: FeedCheck) -> FeedCheck:
        """A feed at a URL: one conditional request."""
        new = book_path(self._data).with_name("feed.zip")
        try:
            after = await fetch(self._settings, before, new)
            if after is not None and after.digest != before.digest:
                await self._take_in(new)
            return replace(after or before, at=self._clock.now())
        finally:
            new.unlink(missing_ok=True)

    async def _take_in(self, feed: Path) -> None:
        await take_in(feed, data=self._data, label=urls.shown(self._settings.feed), now=self._clock.now())


async def fetch(settings: FeedSettings, before: FeedCheck, target: Path) -> FeedCheck | None:
    """Ask a feed at a URL, and write what it sends to a file; None if nothing is newer than `before`. Raises `Unavailable`."""
    import aiohttp  # no other part of the plugin needs it at the start

    entity_tag, modified = before.validators
    headers = {"User-Agent": "pkgindex", "Accept": "application/zip, */*;q=0.1"}
    headers |= {"If-None-Match": entity_tag} if entity_tag else {}
    headers |= {"If-Modified-Since": modified} if modified else {}
    told = urls.shown(settings.feed)
    tls: ssl.SSLContext | bool = True
    if settings.ca_file:
        tls = ssl.create_default_context(cafile=settings.ca_file)
    timeout = aiohttp.ClientTimeout(total=settings.deadline, sock_connect=10, sock_read=60)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=not settings.proxy) as session,
            session.get(settings.feed, headers=headers, ssl=tls, proxy=settings.proxy or None) as answer,
        ):
            if answer.status == 304 and before.validators != ("", ""):
                return None
            if answer.status != 200:
                raise Unavailable(f"the feed {told} answered {answer.status}", hint=_FAILURES)
            digest = await _written(answer, target, settings.limit, told)
            validators = (answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))
            return FeedCheck(feed=settings.feed, validators=validators, digest=digest)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise Unavailable(f"the feed {told} cannot be read: {why}", hint=_FAILURES) from error


async def _written(answer: aiohttp.ClientResponse, target: Path, limit: int, told: str) -> str:
    """Write the body to a file, and return its digest."""
    size, digest = 0, blake2b(digest_size=16)
    with target.open("wb") as out:
        async for piece in answer.content.iter_chunked(_PIECE):
            size += len(piece)
            if size > limit:
                raise Unavailable(f"the feed {told} has more than {limit} bytes", hint=_FAILURES)
            digest.update(piece)
            await asyncio.to_thread(out.write, piece)
    return digest.hexdigest()


def _validators(place: Path) -> tuple[str, str]:
    """The newest time, and all sizes: files of a directory may be written without a change of the directory."""
    statuses = [place.stat(), *((each.stat() for each in os.scandir(place)) if place.is_dir() else ())]
    sizes = [each.st_size for each in statuses]
    return f"{max(each.st_mtime_ns for each in statuses)}", f"{sum(sizes)} in {len(sizes)}"


if TYPE_CHECKING:
    _: type[Follower] = AdvisoryFeed
