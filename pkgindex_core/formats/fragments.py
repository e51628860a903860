"""Fragments: the stored, encoded form of a file, from which JSON pages are joined.

A fragment is the part of the file's JSON object that does not depend on the URL of the page:

    {"url":"  ../../  +f/b9b/94088c1a2fe8f/demo-1.0-py3-none-any.whl","filename":"demo-…","hashes":{…},…  }
              prefix  fragment ------------------------------------------------------------------------>

so that a page is `prefix.join(fragments)` and reading a page decodes nothing. Links name the *source* index and have no
host, so the bytes do not depend on the URL of the server. The path of a file is devpi's:
`+f/{first 3}/{next 13 digits of the sha256}/{filename}`; a mirrored file with an unknown sha256 has
`+e/{16 digits of its upstream URL's sha256}/{filename}`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.digests import PUBLISHED_IN_JSON
from pkgindex_core.models import File, PageRow, encode_file

_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_encoder = msgspec.json.Encoder()


def page_row(file: File) -> PageRow:
    """Encode a file once, when it is stored."""
    return PageRow(file.filename, file.version, fragment(file), encode_file(file))


def fragment(file: File) -> bytes:
    """The file's JSON object without the prefix of its URL at the start and the brace at the end."""
    return file_path(file).encode() + b'",' + _encoder.encode(_public(file))[1:-1]


def file_path(file: File) -> str:
    """The file's URL relative to the root of its index, percent-encoded."""
    return f"{directory(file)}/{quoted(file.filename)}"


def link_path(row: PageRow) -> str:
    """Return the link of a page to a file, without its prefix, percent-encoded."""
    return row.fragment.partition(b'"')[0].decode()


def quoted(filename: str) -> str:
    """A filename as a segment of a URL. `+` and `!` are not encoded, as in devpi's links, which scripts compare with filenames.

    RFC 3986 3.3 allows both in a path; requests may write them either way.
    """
    return quote(filename, safe="+!")


def directory(file: File) -> str:
    """The directory of a file's path, which names its bytes."""
    sha256 = file.sha256
    if sha256:
        return f"+f/{sha256[:3]}/{sha256[3:16]}"
    return f"+e/{hashlib.sha256(file.url.encode()).hexdigest()[:16]}"


def former_directories(file: File) -> frozenset[str]:
    """Other directories in paths of a mirrored file.

    The one from before its sha256 was known; and devpi's, which is made of the upstream's digest or, without a digest, of the URL at
    the upstream: scheme, host and path with `_` for all characters except letters, digits, `_`, `.` and `-`.
    """
    upstream = urlsplit(file.url)
    place = f"{upstream.scheme}/{upstream.netloc}{upstream.path.rpartition('/')[0]}"
    return frozenset(
        {
            f"+e/{hashlib.sha256(file.url.encode()).hexdigest()[:16]}",
            f"+e/{_NO_NAME.sub('_', place)}",
            *(f"+f/{digest[:3]}/{digest[3:16]}" for digest in file.digests.values()),
        }
    )


def _public(file: File) -> dict[str, Any]:
    """PEP 691 and its successors. Unknown keys are left out and never null, because uv rejects a page for one null."""
    # One algorithm only, the strongest common one: of two, a client checks one and refuses the file if that digest is wrong.
    sha256 = file.sha256
    entry: dict[str, Any] = {
        "filename": file.filename,
        "hashes": {"sha256": sha256}
        if sha256
        else {name: file.digests[name] for name in PUBLISHED_IN_JSON if name in file.digests},
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    if file.shown_size is not None:
        entry["size"] = file.shown_size
    if file.shown_time is not None:
        entry["upload-time"] = to_rfc3339(file.shown_time)
    if file.yanked:
        entry["yanked"] = file.yanked  # PEP 592: a reason is never empty here
    metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else file.metadata_offered
    if metadata:
        # The older key `dist-info-metadata` is left out: pip 22.3 to 23.0 read it and crash on an object, which is why
        # PEP 714 renamed the key (seen with 23.0.1 in tests/clients). These versions work without a sidecar.
        entry["core-metadata"] = metadata
    if file.gpg_sig is not None:
        entry["gpg-sig"] = file.gpg_sig
    if file.provenance:
        entry["provenance"] = file.provenance  # renderers make it absolute (`formats.provenance_links`)
    return entry
