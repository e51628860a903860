"""The name of a page's bytes, before the page exists.

A page is a function of what the layers hold (their stamps), how they are linked to (their prefixes), how the indexes
are configured (the tree's serial), what is asked for (index, project, moment) and who writes it (the recipe: media type
and the fingerprints of renderer, admission and filters). So a hash over these names the bytes, and an `If-None-Match`
is answered without building anything. The same name is the cache key: a new serial is a new key, and
nothing is ever purged.

Tags are strong, so each content coding has its own (RFC 9110 8.8.3): `"<hash>"`, `"<hash>.gz"`, `"<hash>.zst"`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import AdmissionPolicy, PageFilter, Renderer
from pkgindex_core.rules.filtering import fingerprints

_FORMAT = 1
"""Raise when the meaning of anything below changes, so that tags from before an upgrade match nothing."""

_SUFFIXES: Mapping[str, str] = {"identity": "", "gzip": ".gz", "zstd": ".zst"}

# RFC 9110 8.8.3; a comma may stand inside an opaque tag, so a list of tags is scanned, not split. Empty members of a
# list are allowed (5.6.1).
_ENTITY_TAG = re.compile(r'[ \t,]*(?:W/)?("[^"\x00-\x20\x7f]*")[ \t]*(?:,|\Z)')
_HEADER_LIMIT = 8192


LayerStamp = tuple[IndexName, str, Serial] | tuple[IndexName, str, Serial, str]
"""A layer as an ETag names it: index, link prefix, stamp, and the name of a mirrored page's content (`Standing.content`) if it has one."""


def stamp_after(serial: Serial, before: Serial) -> Serial:
    """The stamp that a mirrored project gets from a commit that says none: never one that it had.

    `before`, the stamp that it has, may be that of the commit or a later one, since pages keep stamps under which they were
    shown before they were committed (`changes.MirrorPage.stamp`).
    """
    return max(serial, Serial(before + 1))


def recipe(renderer: Renderer, admission: AdmissionPolicy, filters: Mapping[str, PageFilter], moment: Timestamp) -> str:
    """Name everything about the writing of a page that is not data.

    `filters` are those that apply (see `filtering.applying`). One that looks at the time contributes its rounded
    cut-off, so that the recipe changes when its decisions may.
    """
    parts = (
        _FORMAT,
        renderer.media_type,
        renderer.fingerprint,
        admission.fingerprint,
        list(fingerprints(filters, moment)),
    )
    return _digest(parts)


def etag(
    *,
    tree: Serial,
    start: IndexName,
    project: ProjectName | None,
    layers: Sequence[LayerStamp],
    recipe: str,
    moment: Timestamp | None = None,
) -> str:
    """Name the exact bytes these layers would produce, without producing them: a strong tag, with its quotes.

    `layers` are those that join, in resolution order; two orders give two tags. `project`
    None names the project list. `moment` is given for views that are cut at a time.
    """
    return f'"{_digest((_FORMAT, tree, start, project, layers, recipe, moment))}"'


def coded(tag: str, coding: str) -> str:
    """The tag of the same bytes under a content coding.

    >>> coded('"b1946ac9"', "gzip")
    '"b1946ac9.gz"'
    """
    suffix = _SUFFIXES[coding]
    return f'{tag[:-1]}{suffix}"' if suffix else tag


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client has these bytes already (RFC 9110 13.1.2): weak comparison, lists, and `*` for anything.

    Never fails. What is not a list of entity tags matches nothing, from the place on where it stops being one.
    """
    if if_none_match is None:
        return False
    if if_none_match == tag:
        return True
    if len(if_none_match) > _HEADER_LIMIT:
        return False
    if if_none_match.strip(" \t") == "*":
        return True
    place = 0
    while match := _ENTITY_TAG.match(if_none_match, place):
        if match[1] == tag:
            return True
        place = match.end()
    return False


def _digest(parts: tuple[object, ...]) -> str:
    # msgpack is injective on these values: no two different inputs are written alike, as joined text could be.
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()
