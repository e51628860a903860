"""Counts the files that clients got, by index: from the store, or while they were fetched."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from pkgindex_core.names import IndexName
from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_http.wire import web
from pkgindex_http.wire.handing_over import HandedOver
from pkgindex_http.wire.replies import Reply
from pkgindex_http.wire.sending import FileResponse, StreamedResponse

FILES: Final = Meter(
    "pkgindex_files_total",
    "counter",
    ("index", "kind", "origin"),
    "Requests for a file (kind `file`) or for metadata of a wheel (`sidecar`) that were answered. Origin `store`: it is stored here."
    " `upstream`: it was being fetched. `elsewhere`: the client was sent to another URL. `unchanged`: the client has it already (304).",
)
BYTES: Final = Meter(
    "pkgindex_file_bytes_total",
    "counter",
    ("index", "kind", "origin"),
    "Bytes of these answers that were sent. Those of kind `file` and origin `store` are saved, for a mirror: its upstream did not send them again."
    " Of a file that nginx sends (`accel_redirect`) the bytes that the request wants are counted.",
)
METERS: Final = (FILES, BYTES)


class _Sent:
    """The answers of one origin that began, and the bytes of their bodies. Plain numbers: one thread changes them."""

    __slots__ = ("answers", "size")

    def __init__(self) -> None:
        self.answers = self.size = 0

    def begun(self) -> None:
        self.answers += 1

    def sent(self, size: int) -> None:
        self.size += size


class FileCounts:
    """The counts of one index and kind."""

    __slots__ = ("elsewhere", "store", "unchanged", "upstream")

    def __init__(self) -> None:
        self.elsewhere = self.unchanged = 0
        self.store, self.upstream = _Sent(), _Sent()

    def repeated(self, status: int, size: int) -> None:
        """Count an answer that is given again; `size`: the bytes of its body."""
        if status == 304:
            self.unchanged += 1
        else:
            self.store.begun()
            self.store.sent(size)

    def answered(self, answer: Reply | web.StreamResponse, *, arriving: bool) -> None:
        """Count an answer, one with a file when it begins."""
        if isinstance(answer, FileResponse | StreamedResponse):
            answer.count = self.upstream if arriving else self.store
        elif isinstance(answer, HandedOver):
            self.store.begun()
            self.store.sent(answer.length)
        elif answer.status == 304:
            self.unchanged += 1
        elif answer.status == 302:
            self.elsewhere += 1


class ServedFiles:
    """The counts of all indexes of which a file was found. There are two for each index."""

    def __init__(self) -> None:
        self._counts: dict[tuple[IndexName, bool], FileCounts] = {}

    def of(self, index: IndexName, *, sidecar: bool) -> FileCounts:
        """The counts of an index. Call it for an index that exists."""
        counts = self._counts.get((index, sidecar))
        if counts is None:
            counts = self._counts[index, sidecar] = FileCounts()
        return counts

    def __contains__(self, index: IndexName) -> bool:
        return (index, False) in self._counts or (index, True) in self._counts

    def forget_others(self, indexes: Container[IndexName]) -> None:
        """Forget the counts of all indexes but these. Call it before the counts of one begin, so that those of deleted indexes do not pile up."""
        self._counts = {key: counts for key, counts in self._counts.items() if key[0] in indexes}

    def figures(self, indexes: Container[IndexName]) -> Sequence[Figures]:
        """The counts of these indexes."""
        files: dict[tuple[str, ...], float] = {}
        sent: dict[tuple[str, ...], float] = {}
        for (index, sidecar), counts in self._counts.items():
            if index not in indexes:
                continue
            kind = "sidecar" if sidecar else "file"
            files[index, kind, "elsewhere"], files[index, kind, "unchanged"] = counts.elsewhere, counts.unchanged
            for origin, count in (("store", counts.store), ("upstream", counts.upstream)):
                files[index, kind, origin] = count.answers
                sent[index, kind, origin] = count.size
        return Figures(FILES, files), Figures(BYTES, sent)
