"""Short parts of files that are not stored, asked of the upstream as clients ask for them.

An installer that reads the metadata at the end of a wheel (uv, poetry, pip with `fast-deps`) does not wait for the whole wheel:

    HEAD                                              ─► the upstream is asked for the size
    a short range, far behind the bytes that have come ─► the upstream is asked for exactly this range
    any other range, and the whole file               ─► the fetch

Neither of the first two begins a fetch, since a resolver looks into many wheels and installs few. A fetch that is under way goes on. A long
range is a download: its bytes come from the fetch, where they are verified and kept.

Nothing can verify a part, since the digest is of the whole file. So it is not kept, and there are parts only of files whose sha256 is known to
clients too. A part has come completely before a client gets its first byte. So an answer that breaks off, or has another length, or is of a
file of another size, is replaced by the fetch, and a slow client occupies no connection to the upstream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Final

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File
from pkgindex_core.protocols import Span
from pkgindex_core.protocols.sources import FilePart, Wanted
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror import urls
from pkgindex_mirror.readthrough.files.cold_files import WINDOW, ArrivingFile
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import Transfer

AHEAD: Final = WINDOW
"""Bytes: a range that begins less far behind those that have come is waited for. They mostly come sooner than an answer to another request."""
LONGEST: Final = 1024 * 1024
"""Bytes of the longest part. Each is in memory until its clients have it."""
_TURNS: Final = 16
"""Parts that are asked for at once."""
_WAIT: Final = 5.0
"""Seconds that a client waits for a part. Then it waits for the fetch, and pip gives up after 15."""
_NO_RANGES: Final = 3600.0
"""Seconds for which a host that answered with a whole file is not asked for parts."""
_REMEMBERED: Final = 1000
"""Such hosts, and validators of files, that are remembered."""


class FileParts:
    """Asks for parts of the files of all mirrors. Those who want the same part at the same time share one request."""

    def __init__(self, client: UpstreamClient, clock: Clock, tasks: Tasks) -> None:
        self._client = client
        self._clock = clock
        self._flights: SingleFlight[bytes | int | None] = SingleFlight(tasks, turns=_TURNS)
        self._no_ranges: BoundedCache[urls.Origin, float] = BoundedCache(_REMEMBERED)
        self._validators: BoundedCache[Hashable, str] = BoundedCache(_REMEMBERED)
        """Those of the parts that clients have, by file: the next part is of the same file, or comes from the fetch."""

    async def read(self, site: Site, file: File, wanted: Wanted, arriving: ArrivingFile | None) -> FilePart | None:
        """The wanted part of a file that is not stored; None if it has to come from the fetch. `arriving`: the fetch that is under way."""
        if file.sha256 is None:
            return None
        size = file.shown_size if arriving is None or arriving.size is None else arriving.size
        span = wanted(size) if size is not None else None
        if arriving is None and (size is None or (span is not None and span.start == span.stop)):
            size = await self._size(site, file)
            span = wanted(size) if size is not None else None
        if size is None or span is None:
            return None
        if span.start == span.stop:
            return FilePart(size=size, span=span, data=b"") if arriving is None else None
        come = 0 if arriving is None else arriving.come
        if span.stop - span.start > LONGEST or span.start - come <= AHEAD:
            return None
        validator = arriving.validator if arriving is not None else self._validators.get(_identity(file)) or ""
        data = await self._flown(
            file, (span, size, validator), lambda: self._part(site, file, span, size=size, validator=validator)
        )
        return FilePart(size=size, span=span, data=data) if isinstance(data, bytes) else None

    async def _size(self, site: Site, file: File) -> int | None:
        size = await self._flown(file, (), lambda: self._stated(site, file))
        return size if isinstance(size, int) and file.size in {None, size} else None

    async def _flown(
        self, file: File, what: Hashable, ask: Callable[[], Awaitable[bytes | int | None]]
    ) -> bytes | int | None:
        with suppress(Unavailable):  # too much is under way
            flight = self._flights.join((_identity(file), what), ask, name=f"part of {file.filename}")
            return await flight.wait(self._client.hosts.patience(file.url, _WAIT))
        return None

    async def _stated(self, site: Site, file: File) -> int | None:
        answer = await self._client.size(site, file.url)
        return answer if isinstance(answer, int) else None

    async def _part(self, site: Site, file: File, span: Span, *, size: int, validator: str) -> bytes | None:
        """Ask for exactly this part of a file of `size` bytes. With `validator`, it is of the file that has this one."""
        host = urls.origin(file.url)
        if self._clock.monotonic() < (self._no_ranges.get(host) or 0.0):
            return None
        length = span.stop - span.start
        async with self._client.file(site, file.url, span=(span.start, span.stop), validator=validator) as answer:
            if not isinstance(answer, Transfer):
                return None
            if answer.whole and not validator:
                self._no_ranges.put(host, self._clock.monotonic() + _NO_RANGES)
            # An upstream that does not know If-Range answers with a part of another file.
            if validator and (answer.whole or answer.validator != validator):
                self._validators.drop(_identity(file))
                return None
            if answer.whole or (answer.start, answer.size) != (span.start, size):
                return None
            data = bytearray()
            async for piece in answer.chunks():
                if not isinstance(piece, bytes) or len(data) + len(piece) > length:
                    return None
                data += piece
            self._validators.put(_identity(file), answer.validator)
        return bytes(data) if len(data) == length else None


def _identity(file: File) -> Hashable:
    return (file.url, file.sha256)
