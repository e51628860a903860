"""Writes PyPI's JSON documents: `info` of one version, its files as `urls`, all files as `releases`.

    https://docs.pypi.org/api/json/, and the part that devpi-json-info shows

All keys of PyPI's documents are present. Unknown values are null, an empty text where PyPI has one, or -1 (downloads). URLs are
absolute, since readers of the document do not know its URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.formats.advisories import fixed_in
from pkgindex_core.formats.filenames import FileKind, kind_of
from pkgindex_core.formats.fragments import link_path, quoted
from pkgindex_core.formats.package_paths import package_directory
from pkgindex_core.formats.versions import canonical_version, is_stable, version_key
from pkgindex_core.models import File, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory
from pkgindex_core.protocols.policies import MergedPage, PageEntry

_PACKAGE_TYPES: Final[Mapping[FileKind, str]] = {
    "wheel": "bdist_wheel",
    "sdist": "sdist",
    "egg": "bdist_egg",
    "wininst": "bdist_wininst",
    "msi": "bdist_msi",
    "rpm": "bdist_rpm",
    "dmg": "bdist_dmg",
    "dumb": "bdist_dumb",
}
_TEXTS: Final = (
    "author",
    "author_email",
    "description",
    "description_content_type",
    "download_url",
    "home_page",
    "keywords",
    "license",
    "license_expression",
    "maintainer",
    "maintainer_email",
    "requires_python",
    "summary",
)


class Vulnerability(Struct, frozen=True):
    """An advisory about the version, with its OSV record."""

    advisory: Advisory
    record: bytes


class ProjectFacts(Struct, frozen=True, kw_only=True):
    """A project as an index shows it, and the metadata of one version."""

    page: MergedPage
    """The page, with absolute prefixes."""
    version: str
    metadata: bytes
    """A JSON object with the keys of `version_documents`; `{}` when there is none."""
    root: str
    """The URL of the index, with a slash at its end."""
    packages: str = ""
    """The URL below which files have PyPI's layout, with a slash at its end; empty: files have their own URLs."""
    vulnerabilities: tuple[Vulnerability, ...] = ()


def newest(page: MergedPage) -> str:
    """The version that represents a project: the newest stable one that is not yanked, otherwise the newest; empty when there is none."""
    offered = {canonical_version(version) for version, files in _by_version(page).items() if _is_offered(files)}
    return max(
        page.versions,
        key=lambda version: (canonical_version(version) in offered, is_stable(version), version_key(version)),
        default="",
    )


def project_json(facts: ProjectFacts, *, releases: bool) -> bytes:
    """Write the document. As on PyPI, that of a single version has no `releases`."""
    groups = _by_version(facts.page)
    wanted = canonical_version(facts.version)
    own = next((files for version, files in groups.items() if canonical_version(version) == wanted), [])
    document: dict[str, Any] = {"info": _info(facts, own), "last_serial": facts.page.serial}
    if releases:
        document["releases"] = {version: [_file(facts, *each) for each in files] for version, files in groups.items()}
    document["urls"] = [_file(facts, *each) for each in own]
    document["vulnerabilities"] = [_vulnerability(each, facts.page.project) for each in facts.vulnerabilities]
    document["ownership"] = {"roles": [], "organization": None}
    return msgspec.json.encode(document)


class _Reference(Struct):
    url: str = ""


class _PublishedRecord(Struct):
    """The part of an OSV record that PyPI's document shows."""

    details: str = ""
    references: list[_Reference] = []


def _vulnerability(found: Vulnerability, project: ProjectName) -> dict[str, Any]:
    advisory = found.advisory
    try:
        published = msgspec.json.decode(found.record, type=_PublishedRecord)
    except msgspec.DecodeError:  # the parts that nothing else reads are as their author wrote them
        published = _PublishedRecord()
    return {
        "id": advisory.id,
        "aliases": advisory.aliases,
        "summary": advisory.summary or None,
        "details": published.details,
        "fixed_in": fixed_in(advisory, project),
        "link": next(
            (each.url for each in published.references if each.url), f"https://osv.dev/vulnerability/{advisory.id}"
        ),
        "source": "osv",
        "withdrawn": advisory.withdrawn or None,
    }


_Placed = tuple[PageEntry, File]


def _by_version(page: MergedPage) -> dict[str, list[_Placed]]:
    """The files of each listed version, in the order of the page."""
    groups: dict[str, list[_Placed]] = {version: [] for version in page.versions}
    spelled = {canonical_version(version): version for version in page.versions}
    for entry in page.entries:
        version = spelled.get(canonical_version(entry.row.version))
        if version is not None:
            groups[version].append((entry, decode_file(entry.row.body)))
    return groups


def _is_offered(files: Sequence[_Placed]) -> bool:
    return not files or any(not file.yanked for _, file in files)


def _info(facts: ProjectFacts, own: Sequence[_Placed]) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(facts.metadata)
    project = facts.page.project
    url = f"{facts.root}{project}"
    yanked = bool(own) and not _is_offered(own)
    info: dict[str, Any] = {key: said.get(key) or "" for key in _TEXTS}
    info |= {
        "bugtrack_url": None,
        "classifiers": said.get("classifiers") or [],
        "docs_url": None,
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "dynamic": said.get("dynamic") or None,
        "license_files": said.get("license_file") or None,
        "name": said.get("name") or facts.page.head.display_name or project,
        "package_url": url,
        "platform": ", ".join(said.get("platform") or ()),
        "project_url": url,
        "project_urls": _labelled(said.get("project_urls") or ()),
        "provides_extra": said.get("provides_extras") or None,
        "release_url": f"{url}/{facts.version}",
        "requires_dist": said.get("requires_dist") or None,
        "requires_python": said.get("requires_python")
        or next((file.requires_python for _, file in own if file.requires_python), ""),
        "version": facts.version,
        "yanked": yanked,
        "yanked_reason": next((file.yanked for _, file in own if isinstance(file.yanked, str)), None)
        if yanked
        else None,
    }
    return dict(sorted(info.items()))


def _labelled(urls: Iterable[str]) -> dict[str, str] | None:
    """`Label, URL` lines as a table; a URL without a label is its own key."""
    table = {}
    for line in urls:
        label, _, url = line.partition(",")
        table[label.strip()] = url.strip() or label.strip()
    return table or None


def _file(facts: ProjectFacts, entry: PageEntry, file: File) -> dict[str, Any]:
    kind = kind_of(file.filename)
    moment = to_rfc3339(file.shown_time) if file.shown_time is not None else None
    packaged = package_directory(file) if facts.packages else None
    metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else file.metadata_offered
    return {
        "comment_text": None,
        "core-metadata": metadata,
        "digests": dict(file.digests),
        "downloads": -1,
        "filename": file.filename,
        "has_sig": bool(file.gpg_sig),
        "md5_digest": file.digests.get("md5"),
        "packagetype": _PACKAGE_TYPES.get(kind),
        "python_version": _python_version(file.filename, kind),
        "requires_python": file.requires_python or None,
        "size": file.shown_size,
        "upload_time": moment[:19] if moment else None,
        "upload_time_iso_8601": moment,
        "url": f"{facts.packages}{packaged}/{quoted(file.filename)}"
        if packaged
        else f"{entry.prefix}{link_path(entry.row)}",
        "yanked": bool(file.yanked),
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
    }


def _python_version(filename: str, kind: FileKind) -> str:
    """PyPI's `python_version` of a file: the Python tag of a wheel, `source`, or `any` when the name has none."""
    if kind == "sdist":
        return "source"
    parts = filename.split("-")
    return parts[-3] if kind == "wheel" and len(parts) >= 5 else "any"
