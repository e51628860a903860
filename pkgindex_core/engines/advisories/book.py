"""The book of a data directory, which a process may replace while others read it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.packing import Book
from pkgindex_core.errors import Corrupt
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory, AdvisoryBook, EmptyBook, FeedState

_LOOK_SECONDS: Final = 1.0
_KEPT: Final = 4096
"""The projects and the advisories that are kept decoded."""
_log = logging.getLogger(__name__)


def book_path(data: Path) -> Path:
    """Where a data directory has its book."""
    return data / "advisories" / "book"


class FeedCheck(Struct, frozen=True, kw_only=True):
    """The last good answer of a feed."""

    feed: str = ""
    validators: tuple[str, str] = ("", "")
    """ETag and Last-Modified; of a local feed its time and its size."""
    digest: str = ""
    """BLAKE2b of the bytes that a feed at a URL sent, which are compared if it sends no validators."""
    at: Timestamp = Timestamp(0)


def noted_check(data: Path) -> FeedCheck:
    """The last good answer that was noted; an empty one if there is none."""
    try:
        return msgspec.json.decode(_check_path(data).read_bytes(), type=FeedCheck)
    except (OSError, msgspec.DecodeError):
        return FeedCheck()


def note_check(data: Path, check: FeedCheck) -> None:
    """Note an answer. If the note is lost, the feed is fetched once more."""
    path = _check_path(data)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(msgspec.json.encode(check))
    new.replace(path)


def _check_path(data: Path) -> Path:
    return data / "advisories" / "checked.json"


class _OpenBook:
    """A book with what was read from it. Threads that read one while it is replaced keep nothing of it for the next."""

    def __init__(self, book: Book | EmptyBook) -> None:
        self.book = book
        self.revision = book.revision
        self._about: dict[ProjectName, tuple[Sequence[Advisory], str]] = {}
        self._weight = 0

    def about(self, project: ProjectName) -> tuple[Sequence[Advisory], str]:
        """The advisories that name a project, and their digest."""
        known = self._about.get(project)
        if known is None:
            found = self.book.about(project)
            known = found, blake2b(msgspec.msgpack.encode(found), digest_size=12).hexdigest() if found else ""
            self._weight += 1 + len(found)
            if self._weight > _KEPT:
                self._about, self._weight = {}, 1 + len(found)
            self._about[project] = known
        return known


class FiledBook:
    """An `AdvisoryBook` in a file. It looks for a new file once a second, when it is asked.

    A book that cannot be read is left out of account, and the one before it is kept: what was known to be malicious does not become harmless.
    """

    def __init__(self, data: Path, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._data = data
        self._path = book_path(data)
        self._elapsed = elapsed
        self._open = _OpenBook(EmptyBook())
        self._seen: tuple[int, int] | None = None
        self._looked = -_LOOK_SECONDS

    @property
    def revision(self) -> str:
        if self._elapsed() - self._looked >= _LOOK_SECONDS:  # as `_now`, in half the time: it is asked for each answer
            self.look()
        return self._open.revision

    def about(self, project: ProjectName) -> Sequence[Advisory]:
        return self._now().about(project)[0]

    def revision_of(self, project: ProjectName) -> str:
        return self._now().about(project)[1]

    def record(self, identifier: str) -> bytes | None:
        return self._now().book.record(identifier)

    def state(self) -> FeedState:
        book = self._now().book
        if not isinstance(book, Book):
            return FeedState()
        return replace(book.state, checked=max(noted_check(self._data).at, book.state.taken or Timestamp(0)))

    def look(self) -> None:
        """Look for a new file now."""
        self._looked = self._elapsed()
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns)
            if seen == self._seen:
                return
            self._open = _OpenBook(Book(self._path))
        except FileNotFoundError:
            return
        except (Corrupt, OSError, ValueError) as error:
            _log.error("the book of advisories stays as it was: %s", error)
        self._seen = seen

    def _now(self) -> _OpenBook:
        if self._elapsed() - self._looked >= _LOOK_SECONDS:
            self.look()
        return self._open


if TYPE_CHECKING:
    _: type[AdvisoryBook] = FiledBook
