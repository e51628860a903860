"""devpi's documents of a project and of a version: stored metadata with links spliced in, nothing decoded.

    {"1.0": {…Release.metadata…, "+links": [link, …], "+shadowing": [{…}, …]}, …}

A version is described by the first layer that has it; later layers that have it stand under `+shadowing`. Mirrors have only the
metadata on their pages. Links are absolute, since devpi's client recognises the index of a file by the beginning of its link.
A version has links to its files, its documentation (`doczip`), and its test results, which name the tested file by `for_href`.

A document is written record by record (see `project_outlines`), so that a large one is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from pkgindex_core.formats import version_documents
from pkgindex_core.formats.project_outlines import OutlineLink, OutlineVersion, hash_spec
from pkgindex_core.models import Event, Release
from pkgindex_core.names import ProjectName

_encode = msgspec.json.Encoder().encode

Named = Callable[[str], bool]
"""Whether a history may name the index of this name to the principal."""


def _anywhere(_index: str) -> bool:
    return True


class DocumentWriter:
    """Writes a project's document, or with `alone` that of one version, from the records of an outline."""

    def __init__(self, project: ProjectName, root: str, named: Named = _anywhere, *, alone: bool = False) -> None:
        """`root` is the server's URL, without a slash."""
        self._project = project
        self._root = root
        self._named = named
        self._alone = alone
        self._part: OutlineVersion | None = None
        self._linked = False

    def part(self, part: OutlineVersion, release: Release | None) -> bytes:
        """End the open version, and begin a version or an entry of `+shadowing`."""
        start = _opened(self._project, part, release) + b'"+links":['
        before = self._shut(part.shadow)
        if part.shadow:
            before += b',"+shadowing":[' if part.shadow == 1 else b","
        elif not self._alone:
            spelling = release.version if release is not None else part.spelled
            before += (b"{" if self._part is None else b",") + _encode(spelling) + b":"
        self._part, self._linked = part, False
        return before + start

    def link(self, link: OutlineLink) -> bytes:
        """Write a link of the last part."""
        assert self._part is not None, "links come behind their part"
        written = _encode(_link(link, f"{self._root}/{self._part.index}", self._named))
        before, self._linked = b"," if self._linked else b"", True
        return before + written

    def end(self) -> bytes:
        """Write the end of the document."""
        if self._alone:
            return self._shut(0)
        return self._shut(0) + (b"{}" if self._part is None else b"}")

    def _shut(self, shadow: int) -> bytes:
        """End the links of the open part, and all objects that do not contain a part at this depth."""
        if self._part is None:
            return b""
        if self._part.shadow == 0:
            return b"]" if shadow else b"]}"
        return b"]}" if shadow else b"]}]}"


def _link(link: OutlineLink, place: str, named: Named) -> dict[str, Any]:
    document: dict[str, Any] = {
        "rel": link.rel,
        "hash_spec": hash_spec(link.digests),
        "hashes": link.digests,
        "href": f"{place}/{link.path}",
    }
    if link.for_path:
        document["for_href"] = f"{place}/{link.for_path}"
    if link.history or not link.is_file:
        document["log"] = _log(link.history, named)
    return document


def _log(history: Iterable[Event], named: Named) -> list[dict[str, Any]]:
    """A history as devpi writes it: times are lists of year, month, day, hour, minute and second, in UTC."""
    return [_logged(event, named) for event in history]


def _logged(event: Event, named: Named) -> dict[str, Any]:
    when = datetime.fromtimestamp(event.at // 1_000_000, UTC)
    places = {"src": event.source, "dst": event.target}
    further = {**{key: index for key, index in places.items() if index and named(index)}, "count": event.count}
    return {
        "what": event.what,
        "who": event.who or None,
        "when": [when.year, when.month, when.day, when.hour, when.minute, when.second],
        **{key: value for key, value in further.items() if value},
    }


def _opened(project: ProjectName, part: OutlineVersion, release: Release | None) -> bytes:
    """The beginning of a version's object."""
    if part.mirrored:
        said = {"name": project, "version": part.spelled}
        if part.requires_python:
            said["requires_python"] = part.requires_python
        stored = _encode(said)
    elif release is not None:
        stored = release.metadata.strip()
    else:
        stored = version_documents.bare(project, part.spelled, part.requires_python)
    opened = stored[:-1].rstrip()
    if not (opened.startswith(b"{") and stored.endswith(b"}")):
        spelling = release.version if release is not None else part.spelled
        opened = version_documents.bare(project, spelling, part.requires_python)[:-1]
    if part.yanked:
        opened += b',"yanked":' + _encode(part.yanked)
    return opened if opened == b"{" else opened + b","
