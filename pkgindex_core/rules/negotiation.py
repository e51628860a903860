"""Negotiation of the format and the content coding of an answer.

Headers are untrusted: both functions take any text, read a bounded part of it, and never fail. Clients repeat their
headers to the byte, so results are cached by the raw text, in a bounded cache.

The format (PEP 691, "Version + Format Selection"; RFC 9110 12.5.1) is chosen by, in this order: the highest q; the most
specific range that admits it (`text/html` before `application/*` before `*/*`, so that a browser's trailing wildcard
does not select JSON); the richest format. A bare `*/*` or no header selects the default: HTML, which PyPI uses and pipenv
needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from msgspec import Struct

JSON_V1 = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
TEXT_HTML = "text/html"
SIMPLE_FORMATS = (JSON_V1, HTML_V1, TEXT_HTML)
"""The formats of the simple API, the richest first: among equal weights the first one wins."""

Coding = Literal["identity", "gzip", "zstd"]
CODINGS: tuple[Coding, ...] = ("zstd", "gzip")
LIST_CODINGS: tuple[Coding, ...] = ("gzip", "zstd")
"""For lists of projects: only gzip is made of what changed, so it is the one that clients with several get."""

# PEP 691: clients may ask for "latest", but the answer names the version.
_LATEST: Mapping[str, str] = {
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
}

_PLAIN_JSON = "application/json"
"""A client that accepts this, but no offered type, gets the simple API's JSON. Many programs do not know PEP 691's media types."""

HEADER_LIMIT = 8192
ITEM_LIMIT = 64
_REMEMBERED = 256

_Q = re.compile(r"\A(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")
_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]+"  # noqa: S105  # the token of RFC 9110's grammar, not a password
_MEDIA_RANGE = re.compile(rf"\A{_TOKEN}/{_TOKEN}\Z")
_CODING = re.compile(rf"\A{_TOKEN}\Z")


class NotAcceptable(Struct, frozen=True):
    """No offered format is acceptable. `supported` lists the offered ones."""

    supported: tuple[str, ...]


def choose_format(
    accept: str | None,
    query_format: str | None = None,
    offered: Sequence[str] = SIMPLE_FORMATS,
    *,
    default: str = TEXT_HTML,
) -> str | NotAcceptable:
    """Choose a media type for an Accept header and a `?format=` parameter.

    `offered` are exact content types without parameters, the richest first. `*/*` or no header selects `default` or, if it is
    not offered, the richest one. A `query_format` outranks the header; one that is not offered is `NotAcceptable`.
    """
    formats = tuple(offered)
    if query_format is not None:
        return _named_format(query_format[:HEADER_LIMIT], formats)
    if accept is None:
        return _default(formats, default)
    return _best_format(_bounded(accept), formats, default)


def choose_coding(accept_encoding: str | None, offered: Sequence[Coding] = CODINGS) -> Coding:
    """Choose a content coding for an Accept-Encoding header. `identity` is always possible.

    The highest q wins; of several, the first of `offered`. `identity` wins only when the client prefers it or accepts
    no other coding. `identity;q=0` without another acceptable coding still gets plain bytes.
    """
    if not accept_encoding:
        return "identity"
    return _best_coding(_bounded(accept_encoding), tuple(offered))


@lru_cache(maxsize=_REMEMBERED)
def _named_format(name: str, offered: tuple[str, ...]) -> str | NotAcceptable:
    # A raw `+` in a query means a space, but people write `+` as in the content type.
    wanted = name.strip().replace(" ", "+").lower()
    wanted = _LATEST.get(wanted, wanted)
    return wanted if wanted in offered else NotAcceptable(offered)


@lru_cache(maxsize=_REMEMBERED)
def _best_format(accept: str, offered: tuple[str, ...], default: str) -> str | NotAcceptable:
    weights = _weights(accept, _MEDIA_RANGE)
    if not weights:
        return _default(offered, default)
    for latest, actual in _LATEST.items():
        if latest in weights:
            weights[actual] = max(weights[latest], weights.get(actual, 0))
    ranked = _ranked(weights, offered, default)
    if not ranked and _PLAIN_JSON in weights and JSON_V1 not in weights:
        ranked = _ranked({JSON_V1: weights[_PLAIN_JSON]}, offered, default)
    return max(ranked)[-1] if ranked else NotAcceptable(offered)


def _ranked(
    weights: Mapping[str, int], offered: tuple[str, ...], default: str
) -> list[tuple[int, int, bool, int, str]]:
    """The acceptable formats, each with the values by which they are compared."""
    return [
        (weight, specificity, specificity == 0 and media_type == default, -place, media_type)
        for place, media_type in enumerate(offered)
        for weight, specificity in [_weight_of(media_type, weights)]
        if weight > 0
    ]


@lru_cache(maxsize=_REMEMBERED)
def _best_coding(accept_encoding: str, offered: tuple[Coding, ...]) -> Coding:
    weights = _weights(accept_encoding, _CODING)
    best: Coding = "identity"
    best_weight = 0
    for coding in offered:
        # `x-gzip` is the same coding (RFC 9110 8.4.1.3). A wildcard admits gzip, which every such client can read. Only
        # clients that name zstd get it.
        names = ("gzip", "x-gzip", "*") if coding == "gzip" else (coding,)
        weight = next((weights[name] for name in names if name in weights), 0)
        if weight > best_weight:
            best, best_weight = coding, weight
    return best if best_weight >= weights.get("identity", 0) else "identity"


def _weight_of(media_type: str, weights: Mapping[str, int]) -> tuple[int, int]:
    """The q of the most specific matching range, in thousandths, and the specificity of the range."""
    for specificity, name in ((2, media_type), (1, f"{media_type.partition('/')[0]}/*"), (0, "*/*")):
        if name in weights:
            return weights[name], specificity
    return 0, 0


def _weights(header: str, grammar: re.Pattern[str]) -> dict[str, int]:
    """The items of a header, in lower case, with their q in thousandths.

    Items with a malformed name or q are skipped. Other parameters are ignored; of equal items the highest q counts. A comma
    in a quoted parameter splits an item into two malformed ones, but no type concerned has such a parameter.
    """
    weights: dict[str, int] = {}
    for item in header.split(",", ITEM_LIMIT)[:ITEM_LIMIT]:
        name, *parameters = item.split(";")
        token = name.strip().lower()
        weight = _weight(parameters)
        if weight is not None and grammar.match(token):
            weights[token] = max(weight, weights.get(token, 0))
    return weights


def _weight(parameters: Sequence[str]) -> int | None:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            text = value.strip()
            return round(float(text) * 1000) if _Q.match(text) else None
    return 1000


def _bounded(header: str) -> str:
    """The part of a header that is read: whole items of its first 8 KiB."""
    return header if len(header) <= HEADER_LIMIT else header[:HEADER_LIMIT].rpartition(",")[0]


def _default(offered: tuple[str, ...], default: str) -> str | NotAcceptable:
    if default in offered:
        return default
    return offered[0] if offered else NotAcceptable(offered)
