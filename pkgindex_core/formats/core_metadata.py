"""Reads core metadata (METADATA and PKG-INFO): leniently for showing, strictly for uploads.

The format is RFC 822 headers in UTF-8 and a body, the description (core-metadata specification, 1.0 to 2.6). This module
parses it without `email`, which is quadratic in the number of different headers, guesses encodings, and interprets MIME,
which metadata is not. `packaging.metadata` checks the values of fields that it knows.

`read_metadata` never fails, since mirrors show everything. `check_metadata` reports everything that is wrong with an upload,
including text that tools read differently (a bare carriage return, a line that is not a header).
"""

from __future__ import annotations

import re

from msgspec import Struct

from pkgindex_core.formats import metadata_fields
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import Findings, Unusual

HEADER_LIMIT = 20_000
"""The most header lines. An upload with more is refused. The largest known metadata has some thousand."""
DESCRIPTION_LIMIT = 10 * 1024 * 1024
"""Bytes of a description in an upload."""


def read_metadata(data: bytes) -> CoreMetadata:
    """Read all readable fields; never fails."""
    return _fields(_split(data, Findings()))


def check_metadata(data: bytes, findings: Findings, *, installed_by: bool = True) -> CoreMetadata:
    """Read the metadata of an upload, and report all problems.

    `installed_by`: installers use this metadata, as they do for wheels, so all readers must see the same fields.
    """
    split = _split(data, findings, installed_by=installed_by)
    metadata = _fields(split)
    if split.readable:
        _check_repeated(split, findings)
        metadata_fields.check_fields(metadata, findings)
    return metadata


class _Split(Struct):
    """Metadata split into headers and description, before fields are interpreted."""

    headers: dict[str, list[str]]
    """Values by lower-case header name, unfolded."""
    body: str
    readable: bool
    """False when so much is wrong that the fields are not checked."""


def _split(data: bytes, findings: Findings, *, installed_by: bool = True) -> _Split:
    head, body = _parts(data)
    readable = True
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        findings.unusual(
            Unusual.ENCODING, f"the metadata is not UTF-8: byte {head[error.start]:#04x} at offset {error.start}"
        )
        # distutils of Python 2 wrote an author's name in Latin-1, in which every byte is a character.
        text = head.decode("latin-1")
    try:
        description = body.decode()
    except UnicodeDecodeError:
        findings.unusual(Unusual.ENCODING, "the description is not UTF-8")
        description = body.decode("latin-1")
    if len(body) > DESCRIPTION_LIMIT:
        findings.refuse(f"the description has {len(body)} bytes; the limit is {DESCRIPTION_LIMIT}")
    if "\0" in text or "\r" in text.replace("\r\n", "\n"):
        # uv ends a line at line feeds only, Python's email at carriage returns too.
        findings.refuse("the metadata's headers have null bytes or bare carriage returns")
        readable = False
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > HEADER_LIMIT:
        findings.refuse(f"the metadata has {len(lines)} header lines; the limit is {HEADER_LIMIT}")
        readable = False
        del lines[HEADER_LIMIT:]
    return _Split(_headers(lines, findings, installed_by=installed_by), description, readable)


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Split at the first empty line into headers and body."""
    found = _EMPTY_LINE.search(data)
    return (data[: found.start()], data[found.end() :]) if found else (data, b"")


def _headers(lines: list[str], findings: Findings, *, installed_by: bool) -> dict[str, list[str]]:
    folded: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if line[0] in " \t":
            if folded:
                folded[-1][1].append(line)
            else:
                findings.refuse("the metadata begins with a continuation line")
            continue
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            text = f"line {number} of the metadata is not a header: {line[:60]!a}"
            if installed_by:
                # Python's email reads the line as the beginning of the body.
                findings.refuse(text)
            else:
                findings.unusual(Unusual.NO_HEADER, text)
            continue
        folded.append((name.lower(), [value]))
    headers: dict[str, list[str]] = {}
    for name, parts in folded:
        # A folded description was indented by eight blanks, or by seven and a bar (core metadata 1.0).
        value = (
            parts[0]
            if len(parts) == 1
            else "\n".join([parts[0], *(_INDENT.sub("", part, count=1) for part in parts[1:])])
        )
        headers.setdefault(name, []).append(value.strip())
    return headers


def _fields(split: _Split) -> CoreMetadata:
    headers = split.headers

    def once(name: str) -> str:
        return next((value for value in headers.get(name, ()) if _told(value)), "")

    def many(name: str) -> tuple[str, ...]:
        return tuple(value for value in headers.get(name, ()) if _told(value))

    return CoreMetadata(
        metadata_version=once("metadata-version"),
        name=once("name"),
        version=once("version"),
        summary=once("summary"),
        description=once("description") or split.body,
        description_content_type=once("description-content-type"),
        keywords=_keywords(once("keywords")),
        home_page=once("home-page"),
        download_url=once("download-url"),
        author=once("author"),
        author_email=once("author-email"),
        maintainer=once("maintainer"),
        maintainer_email=once("maintainer-email"),
        license=once("license"),
        license_expression=once("license-expression"),
        license_files=many("license-file"),
        classifiers=many("classifier"),
        platforms=many("platform"),
        supported_platforms=many("supported-platform"),
        requires_python=once("requires-python"),
        requires_dist=many("requires-dist"),
        requires_external=many("requires-external"),
        provides_extra=many("provides-extra"),
        provides_dist=many("provides-dist"),
        obsoletes_dist=many("obsoletes-dist"),
        requires=many("requires"),
        provides=many("provides"),
        obsoletes=many("obsoletes"),
        project_urls=tuple(_labelled(value) for value in many("project-url")),
        dynamic=many("dynamic"),
        import_names=many("import-name"),
        import_namespaces=many("import-namespace"),
    )


def _check_repeated(split: _Split, findings: Findings) -> None:
    """Report single fields that stand twice: readers differ in which one they take."""
    for name in metadata_fields.SINGLE:
        count = len(split.headers.get(name, ()))
        if count > 1:
            text = f"the metadata field {name} stands {count} times; it may stand once"
            if name in metadata_fields.DECIDING:
                findings.refuse(text)
            else:
                findings.unusual(Unusual.REPEATED, text)
    if split.headers.get("description") and split.body.strip():
        findings.unusual(Unusual.REPEATED, "the metadata has a description in a header and another in its body")


def _told(value: str) -> bool:
    return bool(value) and value != "UNKNOWN"


def _keywords(value: str) -> tuple[str, ...]:
    # The specification says commas; older tools wrote blanks.
    parts = value.split(",") if "," in value else value.split()
    return tuple(part.strip() for part in parts if part.strip())


def _labelled(value: str) -> tuple[str, str]:
    label, _, url = value.partition(",")
    return label.strip(), url.strip()


_EMPTY_LINE = re.compile(rb"(?:\A|\r?\n)\r?\n")
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_INDENT = re.compile(r"\A(?: {7}\|| {8}|[ \t]+)")
