"""devpi's documents of a project and of a version: stored metadata with links spliced in, nothing decoded.

    {"1.0": {…Release.metadata…, "+links": [link, …], "+shadowing": [{…}, …]}, …}

A version is told by the first layer that has it; what later layers have of it stands under `+shadowing`, so that nothing is
hidden and everybody sees which one counts. A mirror knows of a version what its page says, no more. Links are absolute, since
devpi's client tells by their beginning from which index a file comes; everything that a version has hangs there: its files, its
documentation (`doczip`), and test results, which name by `for_href` the file that was tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from pkgindex_core.formats import version_documents
from pkgindex_core.formats.fragments import directory, file_path
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import Attachment, Event, File, Page, Release, decode_file
from pkgindex_core.names import IndexName, ProjectName

_encode = msgspec.json.Encoder().encode

Shown = Callable[[IndexName, File], bool]
"""Whether a file is shown at all; what a page filter hides is linked nowhere. A file without a name stands for its version."""

Named = Callable[[str], bool]
"""Whether the one who asks may be told of the index of this name, which stands in a history."""


class Layer(Struct, frozen=True, kw_only=True):
    """What one index has of a project."""

    page: Page
    mirrored: bool
    releases: Sequence[Release] = ()
    attachments: Sequence[Attachment] = ()

    @property
    def index(self) -> IndexName:
        return self.page.index


class _Version(Struct, kw_only=True):
    """One version in one layer."""

    index: IndexName
    mirrored: bool
    spelled: str
    """As the first thing that names it spells it: a version without files, then files, then attachments."""
    release: Release | None = None
    files: list[File]
    attachments: list[Attachment]
    hides: bool = False
    """Whether a filter hides files of it."""

    @property
    def spelling(self) -> str:
        return self.release.version if self.release is not None else self.spelled


def _anywhere(_index: str) -> bool:
    return True


def project_document(layers: Sequence[Layer], root: str, shown: Shown, named: Named = _anywhere) -> bytes:
    """Every version of a project, oldest first. `layers` stand in resolution order; `root` is the server's URL, without a slash."""
    project: ProjectName | None = layers[0].page.project if layers else None
    found = [_versions(layer, shown) for layer in layers]
    canonical = {version: each for versions in reversed(found) for version, each in versions.items()}
    entries = []
    for version in sorted(canonical, key=version_key):
        parts = [versions[version] for versions in found if version in versions]
        entries.append(_encode(parts[0].spelling) + b":" + _document(project or ProjectName(""), parts, root, named))
    return b"{" + b",".join(entries) + b"}"


def version_document(
    layers: Sequence[Layer], version: str, root: str, shown: Shown, named: Named = _anywhere
) -> bytes | None:
    """One version, by any of its spellings; None when no layer has it."""
    wanted = canonical_version(version)
    parts = [each for layer in layers for found, each in _versions(layer, shown, wanted).items() if found == wanted]
    return _document(layers[0].page.project, parts, root, named) if parts else None


def link_of(file: File, index: IndexName, root: str, named: Named = _anywhere) -> dict[str, Any]:
    """A file, as a link."""
    link: dict[str, Any] = {
        "rel": "releasefile",
        "hash_spec": hash_spec(file.digests),
        "hashes": shown_digests(file.digests),
        "href": f"{root}/{index}/{file_path(file)}",
    }
    return {**link, "log": log_of(file.history, named)} if file.history else link


def attachment_path(attachment: Attachment, tested: File | None) -> str:
    """The path of an attachment below its index. A test result lies beside the file that was tested."""
    place = directory(tested) if tested is not None else f"+f/{attachment.sha256[:3]}/{attachment.sha256[3:16]}"
    return f"{place}/{quote(attachment.filename, safe='')}"


def hash_spec(digests: Mapping[str, str]) -> str:
    """Devpi's spelling of one digest, the best there is."""
    for algorithm in ("sha256", *sorted(digests, reverse=True)):
        if algorithm in digests:
            return f"{algorithm}={digests[algorithm]}"
    return ""


def shown_digests(digests: Mapping[str, str]) -> dict[str, str]:
    return {"sha256": digests["sha256"]} if "sha256" in digests else dict(digests)


def log_of(history: Iterable[Event], named: Named = _anywhere) -> list[dict[str, Any]]:
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


def _versions(layer: Layer, shown: Shown, only: str | None = None) -> dict[str, _Version]:
    """What a layer has, by the one spelling of each version. One all of whose files are hidden is not told of."""
    found: dict[str, _Version] = {}

    judged: dict[str, bool] = {}

    def allowed(canonical: str, spelled: str) -> bool:
        if canonical not in judged:
            judged[canonical] = shown(layer.index, File(filename="", version=spelled))
        return judged[canonical]

    def version(spelled: str) -> _Version | None:
        canonical = canonical_version(spelled)
        if not spelled or only not in {None, canonical} or not allowed(canonical, spelled):
            return None
        return found.setdefault(
            canonical, _Version(index=layer.index, mirrored=layer.mirrored, spelled=spelled, files=[], attachments=[])
        )

    for release in layer.releases:
        if (entry := version(release.version)) is not None:
            entry.release = release
    for bare in layer.page.head.versions:
        version(bare)
    versions_of_files = {}
    for row in sorted(layer.page.rows, key=attrgetter("filename")):
        if (entry := version(row.version)) is None:
            continue
        file = decode_file(row.body)
        if shown(layer.index, file):
            entry.files.append(file)
            versions_of_files[file.filename] = row.version
        else:
            entry.hides = True
    for attachment in layer.attachments:
        if attachment.about and attachment.about not in versions_of_files:
            continue
        if (entry := version(versions_of_files.get(attachment.about, attachment.version))) is not None:
            entry.attachments.append(attachment)
    return {canonical: entry for canonical, entry in found.items() if entry.files or not entry.hides}


def _document(project: ProjectName, parts: Sequence[_Version], root: str, named: Named) -> bytes:
    """One version: the first part's, with what the others have of it below."""
    document = _open(project, parts[0]) + b'"+links":' + _encode(_links(parts[0], root, named))
    if len(parts) > 1:
        document += b',"+shadowing":[' + b",".join(_document(project, [part], root, named) for part in parts[1:]) + b"]"
    return document + b"}"


def _open(project: ProjectName, part: _Version) -> bytes:
    """The version's object up to where its next key goes."""
    requires_python = next((file.requires_python for file in part.files if file.requires_python), "")
    if part.mirrored:
        said = {"name": project, "version": part.spelling}
        if requires_python:
            said["requires_python"] = requires_python
        stored = _encode(said)
    elif part.release is not None:
        stored = part.release.metadata.strip()
    else:
        stored = version_documents.bare(project, part.spelling, requires_python)
    opened = stored[:-1].rstrip()
    if not (opened.startswith(b"{") and stored.endswith(b"}")):
        opened = version_documents.bare(project, part.spelling, requires_python)[:-1]
    yanked = next((file.yanked for file in part.files if file.yanked), False)
    if yanked:
        opened += b',"yanked":' + _encode(yanked)
    return opened if opened == b"{" else opened + b","


def _links(part: _Version, root: str, named: Named) -> list[dict[str, Any]]:
    files = {file.filename: file for file in part.files}
    links = [link_of(file, part.index, root, named) for file in files.values()]
    for attachment in part.attachments:
        tested = files.get(attachment.about)
        link: dict[str, Any] = {
            "rel": attachment.kind,
            "hash_spec": f"sha256={attachment.sha256}",
            "hashes": {"sha256": attachment.sha256},
            "href": f"{root}/{part.index}/{attachment_path(attachment, tested)}",
        }
        if tested is not None:
            link["for_href"] = f"{root}/{part.index}/{file_path(tested)}"
        links.append({**link, "log": log_of(attachment.history, named)})
    return links
