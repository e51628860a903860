"""Rows about what pages say (HT and JS)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pkgindex_http.checking.outcomes import Advised, CheckedRow, Skipped
from pkgindex_http.checking.subjects import CheckedSubject, links_of

_HEX: Final = re.compile(r"[0-9a-f]+")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")


def _files(subject: CheckedSubject) -> Sequence[Mapping[str, Any]]:
    document = subject.document
    if document is None:
        raise Skipped("there are no pages in JSON")
    files = document.get("files")
    return [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []


def _is_first(subject: CheckedSubject) -> bool:
    """Whether the page is of version 1.0, which knows no sizes, upload times and versions."""
    meta = (subject.document or {}).get("meta")
    return isinstance(meta, dict) and meta.get("api-version") == "1.0"


async def _texts(subject: CheckedSubject) -> str:
    return "" if all(link.text for link in links_of(subject.html)[0]) else "a link has no text"


async def _version(subject: CheckedSubject) -> str:
    said = links_of(subject.html)[1].get("pypi:repository-version", "")
    if not said:
        raise Advised("pypi:repository-version is missing, which means 1.0")
    return "" if re.fullmatch(r"1\.\d+", said) else f"pypi:repository-version is {said}"


async def _fragments(subject: CheckedSubject) -> str:
    for link in links_of(subject.html)[0]:
        algorithm, _, digest = link.fragment.partition("=")
        if not link.fragment:
            raise Advised(f"{link.filename} has no digest")
        if algorithm != "sha256" or not _HEX.fullmatch(digest):
            return f"{link.filename} has {link.fragment}"
    return ""


async def _sidecars_in_html(subject: CheckedSubject) -> str:
    links = [
        link
        for link in links_of(subject.html)[0]
        if "data-dist-info-metadata" in link.attributes or "data-core-metadata" in link.attributes
    ]
    if not links:
        if subject.wheel is None:
            return ""
        raise Advised("no file says that it has metadata")
    for link in links:
        new, old = (link.attributes.get(f"data-{name}-metadata") for name in ("core", "dist-info"))
        if new is None:
            return f"{link.filename} says it under the older name only"
        if old not in {None, new}:
            return f"{link.filename} says two things"
    if any("data-dist-info-metadata" not in link.attributes for link in links):
        raise Advised("the older name is missing, which pip before 23.2 reads")
    return ""


async def _api_version(subject: CheckedSubject) -> str:
    _files(subject)
    meta = (subject.document or {}).get("meta")
    said = meta.get("api-version") if isinstance(meta, dict) else None
    return "" if isinstance(said, str) and re.fullmatch(r"1\.\d+", said) else f"api-version is {said!r}"


async def _keys(subject: CheckedSubject) -> str:
    _files(subject)
    missing = [key for key in ("meta", "name", "files", "versions") if key not in (subject.document or {})]
    if missing == ["versions"] and _is_first(subject):
        raise Advised("versions is missing, which version 1.0 does not have")
    return f"{', '.join(missing)} is missing" if missing else ""


async def _versions(subject: CheckedSubject) -> str:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    if _is_first(subject) and "versions" not in (subject.document or {}):
        raise Skipped("version 1.0 has none")
    listed = set()
    for each in (subject.document or {}).get("versions", ()) if _files(subject) else ():
        try:
            listed.add(Version(str(each)))
        except InvalidVersion:
            continue
    for file in _files(subject):
        try:
            version = parse_wheel_filename(str(file.get("filename")))[1]
        except InvalidWheelFilename:
            continue
        if version not in listed:
            return f"versions lacks {version}, of {file['filename']}"
    return ""


async def _file_keys(subject: CheckedSubject) -> str:
    for file in _files(subject):
        missing = [key for key in ("filename", "url", "hashes", "size") if key not in file]
        if missing == ["size"] and _is_first(subject):
            raise Advised(f"{file['filename']} has no size, which version 1.0 does not have")
        if missing:
            return f"{file.get('filename', 'a file')} has no {', '.join(missing)}"
        if type(file["size"]) is not int:
            return f"the size of {file['filename']} is {file['size']!r}"
    return ""


async def _digests(subject: CheckedSubject) -> str:
    for file in _files(subject):
        hashes = file.get("hashes")
        if hashes == {}:
            raise Advised(f"{file.get('filename')} has no digest")
        if not isinstance(hashes, dict) or not re.fullmatch("[0-9a-f]{64}", str(hashes.get("sha256", ""))):
            return f"{file.get('filename')} has no sha256"
    return ""


async def _sidecars(subject: CheckedSubject) -> str:
    wheels = [file for file in _files(subject) if str(file.get("filename")).endswith(".whl")]
    if not wheels:
        raise Skipped("the project has no wheel")
    missing = [file for file in wheels if not file.get("core-metadata") and not file.get("dist-info-metadata")]
    if missing:
        raise Advised(f"{missing[0].get('filename')} has no core-metadata")
    return ""


async def _old_name(subject: CheckedSubject) -> str:
    for file in _files(subject):
        if "dist-info-metadata" not in file:
            continue
        if file["dist-info-metadata"] != file.get("core-metadata"):
            return f"dist-info-metadata of {file.get('filename')} differs from core-metadata"
        raise Advised(f"{file.get('filename')} has the key dist-info-metadata")
    return ""


async def _yanked(subject: CheckedSubject) -> str:
    for file in _files(subject):
        if (
            "yanked" in file
            and not isinstance(file["yanked"], bool)
            and not (isinstance(file["yanked"], str) and file["yanked"])
        ):
            return f"yanked of {file.get('filename')} is {file['yanked']!r}"
    return ""


async def _times(subject: CheckedSubject) -> str:
    for file in _files(subject):
        said = file.get("upload-time")
        if said is None:
            raise Advised(f"{file.get('filename')} has no upload-time")
        if not isinstance(said, str) or not _TIME.fullmatch(said):
            return f"the upload-time of {file.get('filename')} is {said!r}"
    return ""


async def _nulls(subject: CheckedSubject) -> str:
    for file in _files(subject):
        null = [key for key, value in file.items() if value is None and key != "requires-python"]
        if null:
            return f"{null[0]} of {file.get('filename')} is null"
    return ""


CONTENT_ROWS: Final = (
    CheckedRow("HT-3", "links have the filename as their text", "older pips and scripts find no files", _texts),
    CheckedRow("HT-4", "pages in HTML say their version", "clients cannot tell what the page may say", _version),
    CheckedRow("HT-5", "links in HTML have a sha256", "pip --require-hashes and uv lock have nothing to compare", _fragments),
    CheckedRow("HT-8", "HTML tells of metadata under both names", "pip and uv download whole wheels to read their dependencies", _sidecars_in_html),
    CheckedRow("JS-1", "pages in JSON say their version", "pip and uv refuse the page", _api_version),
    CheckedRow("JS-3", "pages in JSON have all keys", "uv refuses the page", _keys),
    CheckedRow("JS-4", "versions has that of each file", "tools that list versions miss some", _versions),
    CheckedRow("JS-5", "files have name, URL, hashes and size", "uv and pip cannot lock sizes (pylock.toml), and show no progress", _file_keys),
    CheckedRow("JS-6", "files have a sha256", "lock files have no hashes; uv --require-hashes fails", _digests),
    CheckedRow("JS-8", "wheels have core-metadata", "pip and uv download whole wheels to read their dependencies", _sidecars),
    CheckedRow("JS-9", "the older name of it is not in JSON", "pip 22.3 to 23.0 crash", _old_name),
    CheckedRow("JS-11", "yanked is true, false or a reason", "pip and uv refuse the page", _yanked),
    CheckedRow("JS-12", "files have an upload-time in UTC", "uv --exclude-newer, poetry's min-release-age and pip --uploaded-prior-to leave the files out or stop", _times),
    CheckedRow("JS-15", "no key is null", "uv refuses the page", _nulls),
)  # fmt: skip
