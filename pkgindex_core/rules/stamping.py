"""ETags: the name of a page's bytes, known before the page is made.

A page depends on the layers' contents (their stamps), the links to them (their prefixes), the configuration of the indexes
(the tree's serial), the request (index, project, moment) and the recipe (media type, and the fingerprints of renderer,
admission and filters). A hash over these names the bytes, so `If-None-Match` is answered without making the page. The
same name is the cache key: a change makes a new key, and the cache is never purged.

Tags are strong, so each content coding has its own (RFC 9110 8.8.3): `"<hash>"`, `"<hash>.gz"`, `"<hash>.zst"`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Serial, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import AdmissionPolicy, Renderer
from pkgindex_core.rules.filtering import Fingerprints

_FORMAT = 1
"""Increase when the meaning of anything below changes, so that tags from before an upgrade no longer match."""

_SUFFIXES: Mapping[str, str] = {"identity": "", "gzip": ".gz", "zstd": ".zst"}

# RFC 9110 8.8.3; a comma may stand inside an opaque tag, so a list of tags is scanned, not split. Empty members of a
# list are allowed (5.6.1).
_ENTITY_TAG = re.compile(r'[ \t,]*(?:W/)?("[^"\x00-\x20\x7f]*")[ \t]*(?:,|\Z)')
_HEADER_LIMIT = 8192


LayerStamp = tuple[IndexName, str, Serial] | tuple[IndexName, str, Serial, str]
"""A layer in an ETag: index, link prefix, stamp, and the name of a mirrored page's content (`Standing.content`) if it has one."""


def layer_stamp(index: IndexName, standing: Standing, root: str) -> LayerStamp:
    """The part of a layer in an ETag. `root` is the link from the page to the root of the server."""
    stamp = (index, f"{root}{index}/", standing.stamp)
    return (*stamp, standing.content) if standing.content else stamp


def stamp_after(serial: Serial, before: Serial) -> Serial:
    """A new stamp for a mirrored project whose change has none; never one that the project had before.

    `before` is its present stamp. It may be the commit's serial or above it, because pages keep the stamp under which they were
    shown before their commit (`changes.MirrorPage.stamp`).
    """
    return max(serial, Serial(before + 1))


def recipe(renderer: Renderer, admission: AdmissionPolicy, decisions: Fingerprints = ()) -> str:
    """Name everything that a page depends on besides its data. `decisions` are what its filters depend on (`filtering.fingerprints`)."""
    parts = (
        _FORMAT,
        renderer.media_type,
        renderer.fingerprint,
        admission.fingerprint,
        list(decisions),
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
    """Name the exact bytes of a page without making it: a strong tag, with its quotes.

    `layers` are the joining layers in resolution order; two orders give two tags. `project` None means the project list.
    `moment` is given for pages as of a past time.
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

    Never fails. A malformed list matches nothing from the malformed place on.
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
    # msgpack is injective on these values, unlike joined text: different inputs have different encodings.
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()
