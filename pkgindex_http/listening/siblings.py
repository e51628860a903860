"""The counts of all workers of a server, which `/+metrics` asks one of them for.

Each worker listens on a socket in a private directory that the workers share:

    asked for   msgpack: names of indexes
    answer      msgpack: the figures about these indexes

A worker's counts begin at 0 and end with it, so each worker has series of its own, told apart by the label `worker`. The sum over
the workers would fall when one ends, which a reader of counters takes for a restart of all.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.names import IndexName
from pkgindex_core.protocols.measuring import Figures

LABEL: Final = "worker"
_SECONDS: Final = 1.0
_log = logging.getLogger("pkgindex.http")
_encode = msgspec.msgpack.Encoder().encode
_names = msgspec.msgpack.Decoder(list[IndexName])
_figures = msgspec.msgpack.Decoder(list[Figures])

Count = Callable[[Collection[IndexName]], Awaitable[Sequence[Figures]]]
"""The figures of this process about some indexes."""


class Siblings:
    """The other workers of this server."""

    def __init__(self, directory: Path, number: int) -> None:
        """`directory` is private, and empty before the first worker; `number` is this worker's own."""
        self._directory = directory
        self._own = directory / str(number)
        self._server: asyncio.Server | None = None

    async def listen(self, count: Count) -> None:
        """Answer the other workers."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(_encode(await count(_names.decode(await reader.read()))))
                await writer.drain()
            except (OSError, msgspec.DecodeError):
                pass  # the asking worker is gone
            finally:
                writer.close()

        self._server = await asyncio.start_unix_server(answer, self._own)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
        with suppress(OSError):
            self._own.unlink()

    async def joined(self, own: Sequence[Figures], indexes: Collection[IndexName]) -> Sequence[Figures]:
        """The figures of all workers, with the label `worker`. Those of a worker that does not answer are left out."""
        others = [each for each in await asyncio.to_thread(os.listdir, self._directory) if each != self._own.name]
        answers = await asyncio.gather(*(self._ask(each, indexes) for each in others))
        joined: dict[str, Figures] = {}
        for number, figures in [(self._own.name, own), *zip(others, answers, strict=True)]:
            for each in figures:
                before = joined.get(each.meter.name)
                values = {(number, *labels): value for labels, value in each.values.items()}
                if before is None:
                    meter = replace(each.meter, labels=(LABEL, *each.meter.labels))
                    joined[meter.name] = Figures(meter, values)
                else:
                    joined[each.meter.name] = replace(before, values={**before.values, **values})
        return [*joined.values()]

    async def _ask(self, number: str, indexes: Collection[IndexName]) -> Sequence[Figures]:
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._directory / number)
                try:
                    writer.write(_encode([*indexes]))
                    writer.write_eof()
                    return _figures.decode(await reader.read())
                finally:
                    writer.close()
        except ConnectionRefusedError:  # it was killed, and no later worker has its number
            with suppress(OSError):
                (self._directory / number).unlink()
            return []
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            _log.info("worker %s does not tell its counts: %s", number, type(error).__name__)
            return []
