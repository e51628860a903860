"""Makes a book from a feed: a zip file or a directory with one OSV record a file (`ID.json`), as OSV publishes for each ecosystem.

A process of its own does the work, since decoding hundreds of thousands of records would delay a server's requests. It goes over the records twice: for the names,
and for the frames, so that its memory does not grow with their text.

    python -m pkgindex_core.engines.advisories.taking_in FEED TARGET LABEL MICROSECONDS
"""

from __future__ import annotations

import asyncio
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.book import book_path
from pkgindex_core.engines.advisories.packing import Item, grouped, write_book
from pkgindex_core.errors import Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.advisories import read_advisory
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory, FeedState

_RECORD_BYTES = 4 << 20
"""The largest record that is read."""
_REFUSED = 3


async def take_in(feed: Path, *, data: Path, label: str, now: Timestamp) -> None:
    """Replace the book of a data directory by that of a feed. Raises `Refused` for a feed that cannot be read; then the old book stays."""
    target = book_path(data)
    new = target.with_name(f"book.{os.getpid()}.new")
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pkgindex_core.engines.advisories.taking_in", str(feed), str(new), label, str(now)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, wrong = await child.communicate()
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        if child.returncode == _REFUSED:
            raise Refused(said.decode(errors="replace").splitlines() or ["the feed cannot be read"])
        if child.returncode:
            last = wrong.decode(errors="replace").strip().rpartition("\n")[2]
            raise Refused(f"the feed could not be taken in: {last or child.returncode}")
        failpoint("advisories.book_made")
        new.replace(target)
        _synchronise(target.parent)
    finally:
        new.unlink(missing_ok=True)


def make_book(feed: Path, target: Path, *, label: str, now: Timestamp) -> FeedState:
    """Write the book of a feed. Raises `Refused`."""
    with _opened(feed) as (names, read):
        projects: list[tuple[ProjectName, str]] = []
        places: dict[str, str] = {}
        newest = ""
        for name in names:
            advisory = _advisory(name, read(name))
            if advisory is None:
                continue
            if advisory.id in places:
                raise Refused(f"the feed has the record {advisory.id} twice")
            places[advisory.id] = name
            newest = max(newest, advisory.modified)
            projects += [(affected.project, advisory.id) for affected in advisory.affected]
        if not places:
            raise Refused(
                "the feed has no advisory about a package of PyPI",
                hint="it is a zip file or a directory of OSV records, such as PyPI/all.zip of OSV's export",
            )
        groups = grouped(projects)
        owners = {identifier: key for key, identifiers in reversed(groups) for identifier in identifiers}

        def items(key: int, identifiers: Sequence[str]) -> list[Item]:
            found: list[Item] = []
            for identifier in identifiers:
                record = read(places[identifier])
                advisory = _advisory(identifier, record)
                assert advisory is not None, "it was read before"
                found.append(Item(advisory, record if owners[identifier] == key else b""))
            return found

        state = FeedState(records=len(places), feed=label, taken=now, newest=newest)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_book(target, groups, items, state)
    return state


@contextmanager
def _opened(feed: Path) -> Iterator[tuple[Sequence[str], Callable[[str], bytes]]]:
    """The names of the records of a feed, in order, and how one is read."""
    if feed.is_dir():
        yield sorted(each.name for each in feed.glob("*.json")), lambda name: (feed / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(feed) as archive:
            records = sorted(each.filename for each in archive.infolist() if each.filename.endswith(".json"))

            def read(name: str) -> bytes:
                with archive.open(name) as stream:
                    record = stream.read(_RECORD_BYTES + 1)
                if len(record) > _RECORD_BYTES:
                    raise Refused(f"{name[:80]!r} is larger than {_RECORD_BYTES} bytes")
                return record

            yield records, read
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise Refused(f"the feed cannot be read: {error}", hint="fetch it again") from error


def _advisory(name: str, record: bytes) -> Advisory | None:
    try:
        return read_advisory(record)
    except Refused as error:
        raise Refused([f"{name[:80]!r}: {problem}" for problem in error.problems], hint=error.hint) from error


def _synchronise(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(feed: str, target: str, label: str, now: str) -> int:
    """The work of the process. Problems are on standard output, one a line."""
    os.nice(10)  # requests come first
    try:
        make_book(Path(feed), Path(target), label=label, now=Timestamp(int(now)))
    except Refused as error:
        os.write(sys.stdout.fileno(), "\n".join(error.problems).encode())
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
