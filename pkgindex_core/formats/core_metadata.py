"""Core metadata: METADATA and PKG-INFO, read leniently for showing, strictly for uploads.

The format is RFC 822 headers in UTF-8 and a body, the description (core-metadata specification, 1.0 to 2.6). It is
split here, not by `email`: that is quadratic in the number of different headers, guesses at encodings, and knows MIME,
which metadata is not. What single fields may hold is asked of `packaging.metadata` where it knows.

`read_metadata` never fails: mirrors show what there is. `check_metadata` says everything an upload does wrong;
what other tools would read differently (a bare carriage return, a line that is no header) is wrong too.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pkgindex_core.formats import metadata_fields
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import Findings, Unusual

HEADER_LIMIT = 20_000
"""Header lines that are read; beyond, an upload is refused. The most that was ever seen has some thousand."""
DESCRIPTION_LIMIT = 10 * 1024 * 1024
"""Bytes of a description in an upload."""


def read_metadata(data: bytes) -> CoreMetadata:
    """Read whatever can be read; never fails."""
    return _fields(_split(data, Findings()))


def check_metadata(data: bytes, findings: Findings, *, installed_by: bool = True) -> CoreMetadata:
    """Read metadata that is to be published, and say everything that is wrong with it.

    `installed_by` means that installers go by it, as they do for wheels: then all must read the same fields.
    """
    split = _split(data, findings, installed_by=installed_by)
    metadata = _fields(split)
    if split.readable:
        _check_repeated(split, findings)
        metadata_fields.check_fields(metadata, findings)
    return metadata


def normalized_label(label: str) -> str:
    """A Project-URL's label as well-known ones are compared (PEP 753).

    >>> normalized_label("Home-Page ")
    'homepage'
    """
    return _LABEL_NOISE.sub("", label).lower()


class _Split(Struct):
    """Metadata taken apart into lines, before anything is known about its fields."""

    headers: dict[str, list[str]]
    """Values by lower-case header name, unfolded."""
    body: str
    readable: bool
    """False when so much is wrong that field by field only more noise would come."""


def _split(data: bytes, findings: Findings, *, installed_by: bool = True) -> _Split:
    head, body = _parts(data)
    readable = True
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        findings.unusual(
            Unusual.ENCODING, f"the metadata is not UTF-8: byte {head[error.start]:#04x} at offset {error.start}"
        )
        # What distutils of Python 2 wrote where an author's name was Latin-1. Every byte has a meaning there.
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
    """The headers and the body: what stands before and behind the first empty line."""
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
            text = f"line {number} of the metadata is no header: {line[:60]!a}"
            if installed_by:
                # Python's email takes it for the beginning of the body.
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
    """Fields that may stand once and stand twice; readers differ in which one they take."""
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
_LABEL_NOISE = re.compile(r"[\s!-/:-@\[-`{-~]+")
