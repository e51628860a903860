"""Reads the page of a project as the upstream sent it. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import PageHead
from pkgindex_core.names import normalized_or_none
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.pages import read_page
from pkgindex_mirror.syncing.values import Listed, UpstreamProject
from pkgindex_mirror.upstreams.upstream_answers import Document

_SERIAL = re.compile(r"[0-9]{1,18}")
_SERIAL_COMMENT = re.compile(rb"<!--SERIAL ([0-9]{1,18})-->\s*\Z")


class _PageFields(Struct):
    meta: Any = None
    name: Any = None


_fields_decoder = msgspec.json.Decoder(_PageFields)


class _DocumentParts(Struct):
    info: dict[str, Any]


_document_decoder = msgspec.json.Decoder(_DocumentParts)


def read_project(answer: Document, listed: Listed, now: Timestamp) -> tuple[UpstreamProject, str] | UnreadablePage:
    """The project, and why a page without files may not be its page (`PageListing.doubt`)."""
    listing = read_page(answer.body, answer.content_type, answer.url, listed.name)
    if isinstance(listing, UnreadablePage):
        return listing
    validators = dict(answer.validators)
    if "serial" not in validators:
        serial = serial_within(answer.body, answer.content_type)
        if serial:
            validators["serial"] = serial
    head = PageHead(
        display_name=listing.display_name,
        versions=listing.versions,
        status=listing.status,
        status_reason=listing.status_reason,
        validators=validators,
        fetched=now,
    )
    return UpstreamProject(
        name=listed.name,
        raw=listed.raw or listing.display_name,
        head=head,
        files=tuple(listing.files),
        remarks=listing.notes,
    ), listing.doubt or ("" if listing.files else _other_name(answer, listed))


def _other_name(answer: Document, listed: Listed) -> str:
    """Tell that a page is one of another project, as a cache may give it; empty when it is not."""
    if not is_json(answer.body, answer.content_type):
        return ""
    try:
        name = _fields_decoder.decode(answer.body).name
    except (msgspec.DecodeError, RecursionError):
        return ""
    if not isinstance(name, str) or normalized_or_none(name) == listed.name:
        return ""
    return f"the page calls itself {name[:80]!r}, and has no files"


def is_document(body: bytes) -> bool:
    """Whether a body is the JSON document of a project, and not a page of an error or of a login."""
    try:
        _document_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def serial_within(body: bytes, content_type: str) -> str:
    """The serial that a page has inside: static trees cannot send it in a header. Empty when there is none."""
    if not is_json(body, content_type):
        match = _SERIAL_COMMENT.search(body[-64:])
        return match[1].decode() if match else ""
    try:
        meta = _fields_decoder.decode(body).meta
    except (msgspec.DecodeError, RecursionError):
        return ""
    value = meta.get("_last-serial") if isinstance(meta, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and _SERIAL.fullmatch(value) else ""
