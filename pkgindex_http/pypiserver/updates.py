"""Which projects of some directories have a newer version at an upstream.

A version counts when one of its files is not yanked. An upstream that cannot be asked says nothing of a project, which is told apart from having
nothing newer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import aiohttp
import msgspec
from msgspec import Struct

from pkgindex_core.engines.directory.listing import project_of
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.formats.versions import canonical_version, is_stable, version_key
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.tools.side_by_side import side_by_side

_AT_ONCE: Final = 8
_BODY_BYTES: Final = 64 * 1024 * 1024
_SECONDS: Final = 60
_ABSENT: Final = frozenset({404, 410})

Asked = Literal["newer", "newest", "absent", "unknown"]


class Kept(Struct, frozen=True):
    """The newest file of a project in the directories."""

    project: ProjectName
    version: str
    path: Path


class Update(Struct, frozen=True):
    """A version to be fetched."""

    kept: Kept
    version: str


class FoundUpdates(Struct):
    """The answers of the upstream."""

    updates: list[Update] = []
    absent: list[ProjectName] = []
    unknown: dict[ProjectName, str] = {}
    """Why nothing is known, by project."""


class _OfferedFile(msgspec.Struct):
    filename: str
    yanked: bool | str = False


class _UpstreamPage(msgspec.Struct):
    files: list[_OfferedFile]


def newest_kept(directories: Iterable[Path], *, ignored: Collection[str] = ()) -> list[Kept]:
    """The newest version of each project that lies in the directories and below; names that begin with a dot are passed over."""
    newest: dict[ProjectName, Kept] = {}
    for path in _files(directories):
        project = project_of(path.name)
        if project is None or project in ignored:
            continue
        kept = Kept(project, version_in(path.name, project), path)
        before = newest.get(project)
        if before is None or version_key(kept.version) > version_key(before.version):
            newest[project] = kept
    return [newest[project] for project in sorted(newest)]


def _files(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        for here, within, names in os.walk(directory):
            within[:] = sorted(name for name in within if not name.startswith("."))
            yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


async def find_updates(
    kept: Iterable[Kept], *, index_url: str, unstable: bool, tell: Callable[[Asked], None]
) -> FoundUpdates:
    """Ask the upstream for each project, a few at a time. `tell` hears what came of each."""
    findings = FoundUpdates()
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(trust_env=True, timeout=timeout, headers={"Accept": JSON_V1}) as client:

        async def ask(one: Kept) -> None:
            try:
                versions = await _versions(client, f"{index_url.rstrip('/')}/{one.project}/", one.project)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                findings.unknown[one.project] = str(error) or type(error).__name__
                tell("unknown")
                return
            if not versions:
                findings.absent.append(one.project)
                tell("absent")
                return
            version = newest_version(versions, unstable=unstable)
            is_newer = version is not None and version_key(version) > version_key(one.version)
            if version is not None and is_newer:
                findings.updates.append(Update(one, version))
            tell("newer" if is_newer else "newest")

        await side_by_side(kept, ask, at_once=_AT_ONCE)
    findings.updates.sort(key=lambda update: update.kept.project)
    findings.absent.sort()
    return findings


def newest_version(versions: Mapping[str, bool], *, unstable: bool) -> str | None:
    """The newest of versions that are not yanked; without `unstable` no pre-release and no development release."""
    wanted = [each for each, offered in versions.items() if offered and (unstable or is_stable(each))]
    return max(wanted, key=version_key, default=None)


async def _versions(client: aiohttp.ClientSession, url: str, project: ProjectName) -> dict[str, bool]:
    """The versions at the upstream, and whether each has a file that is not yanked; empty when there is no such project."""
    async with client.get(url) as answer:
        if answer.status in _ABSENT:
            return {}
        answer.raise_for_status()
        if answer.content_type != JSON_V1:
            raise ValueError(f"{url} has no page in JSON (PEP 691)")
        body = bytearray()
        async for data in answer.content.iter_chunked(256 * 1024):
            body += data
            if len(body) > _BODY_BYTES:
                raise ValueError(f"the page {url} is larger than {_BODY_BYTES} bytes")
    page = await asyncio.to_thread(msgspec.json.decode, bytes(body), type=_UpstreamPage)
    versions: dict[str, bool] = {}
    for file in page.files:
        version = canonical_version(version_in(file.filename, project), strip_zeros=False)
        if version:
            versions[version] = versions.get(version, False) or file.yanked is False or file.yanked == ""
    return versions
