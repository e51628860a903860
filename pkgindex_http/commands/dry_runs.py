"""Judges the downloads of an access log by a policy that is not in force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.models import File, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName, index_name_or_none
from pkgindex_core.protocols import Build, Projects, Trees
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.rules.filtering import releases_of
from pkgindex_core.rules.policing.kinds import KINDS
from pkgindex_core.rules.policing.lines import OPTION, ServerPolicies, policy_lines
from pkgindex_core.rules.policing.policy_filter import made

_FILE: Final = re.compile(r"/([^/]+)/([^/]+)/\+[fe]/.*/([^/]+?)(?:\.metadata)?\Z")


class LoggedStore(Trees, Projects, Protocol):
    """The roles of the store that a dry run uses."""


class LoggedDownload(Struct, frozen=True, kw_only=True):
    """One download of a file or a sidecar."""

    index: IndexName
    filename: str
    at: Timestamp
    who: str
    client: str


class Hit(Struct, frozen=True, kw_only=True):
    """Downloads that a policy would not have answered: those of one file by one client."""

    download: LoggedDownload
    """The first of them."""
    count: int
    reason: str
    until: Timestamp | None


def downloads(lines: Iterable[bytes]) -> Iterator[LoggedDownload]:
    """The successful downloads in an access log of JSON lines. Other lines are skipped."""
    for line in lines:
        try:
            entry: Any = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if not isinstance(entry, dict) or entry.get("method") != "GET" or entry.get("status") not in {200, 206, 302}:
            continue
        path = _FILE.search(str(entry.get("path", "")))
        at = from_rfc3339(str(entry.get("time", "")))
        index = index_name_or_none(unquote(path[1]), unquote(path[2])) if path else None
        if path is None or at is None or index is None:
            continue
        yield LoggedDownload(
            index=index,
            filename=unquote(path[3]),
            at=at,
            who=str(entry.get("who", "")),
            client=str(entry.get("client", "")),
        )


async def hit_by(
    store: LoggedStore, line: str, asked: Iterable[LoggedDownload], book: AdvisoryBook
) -> tuple[int, list[Hit]]:
    """The number of downloads, and those that a policy would have hidden or let wait, the most frequent first."""
    kept = policy_lines([line])
    if len(kept) != 1:
        raise Refused("this is not one policy", hint='write one line, such as "cooldown 7d"')
    kind = KINDS[kept[0].partition(" ")[0]]
    if kind.only_uploads:
        raise Refused("this rule is about uploads, and an access log has only downloads")
    if kind.reads_book and not book.revision:
        raise Refused("no advisories were taken in yet", hint="take a feed in: pkgindex-serve advisory update FILE")
    judge = made(kind, ServerPolicies(), book)
    tree = await store.tree()
    policed = Tree(
        serial=tree.serial,
        indexes={
            name: replace(config, options={**config.options, OPTION: list(kept)})
            for name, config in tree.indexes.items()
        },
    )
    files = _LoggedFiles(store)
    hits: dict[tuple[IndexName, str, str, str], Hit] = {}
    counted = 0
    for each in asked:
        counted += 1
        known = await files.find(each.index, each.filename)
        if known is None:
            continue
        project, file, release = known
        build = Build(
            tree=policed,
            start=each.index,
            project=project,
            moment=judge.cut_off(policed, each.index, each.at),
            release=release,
        )
        ruling = judge.judge(each.index, file, build)
        if ruling is not None and ruling.hides:
            key = (each.index, each.filename, each.who, each.client)
            before = hits.get(key)
            hits[key] = (
                replace(before, count=before.count + 1)
                if before is not None
                else Hit(download=each, count=1, reason=ruling.reason, until=ruling.until)
            )
    return counted, sorted(hits.values(), key=lambda hit: -hit.count)


class _LoggedFiles:
    """Finds files by index and name, with the files of their projects."""

    def __init__(self, store: LoggedStore) -> None:
        self._store = store
        self._known: dict[tuple[IndexName, str], tuple[ProjectName, File, Any] | None] = {}

    async def find(self, index: IndexName, filename: str) -> tuple[ProjectName, File, Any] | None:
        key = (index, filename)
        if key not in self._known:
            self._known[key] = await self._find(index, filename)
        return self._known[key]

    async def _find(self, index: IndexName, filename: str) -> tuple[ProjectName, File, Any] | None:
        pair = await self._store.find_file(index, filename, candidate_projects(filename))
        if pair is None:
            return None
        project, file = pair
        page = await self._store.page(index, project)
        rows = page.rows if page is not None else ()
        return project, file, releases_of((index, decode_file(row.body)) for row in rows)
