"""Which format and which content coding a client gets.

Headers are data from strangers: both choosers take any text, look at a bounded part of it, and never fail. Clients
repeat their headers to the byte, so answers are kept by the raw text, in a bounded cache.

Formats (PEP 691, "Version + Format Selection"; RFC 9110 12.5.1). Among what is offered wins, in this order of importance:
the highest q; the most specific range that admits it (`text/html` before `application/*` before `*/*`, so that a
browser's trailing wildcard does not earn it JSON); the richest format. Under a bare `*/*` or without a header the
default wins: HTML, which is what PyPI does and what pipenv needs.
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
"""What the simple API offers, richest first: among equal weights the first one wins."""

Coding = Literal["identity", "gzip", "zstd"]
CODINGS: tuple[Coding, ...] = ("zstd", "gzip")

# PEP 691: "latest" is asked for and never answered; the answer says which version it is.
_LATEST: Mapping[str, str] = {
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
}

_PLAIN_JSON = "application/json"
"""A client that names this and nothing that is offered gets the simple API's JSON. Many programs do not know PEP 691's media types."""

HEADER_LIMIT = 8192
ITEM_LIMIT = 64
_REMEMBERED = 256

_Q = re.compile(r"\A(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")
_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]+"  # noqa: S105  # RFC 9110's grammar calls it a token; it is no password
_MEDIA_RANGE = re.compile(rf"\A{_TOKEN}/{_TOKEN}\Z")
_CODING = re.compile(rf"\A{_TOKEN}\Z")


class NotAcceptable(Struct, frozen=True):
    """Nothing that is offered is acceptable. `supported` says what would be."""

    supported: tuple[str, ...]


def choose_format(
    accept: str | None,
    query_format: str | None = None,
    offered: Sequence[str] = SIMPLE_FORMATS,
    *,
    default: str = TEXT_HTML,
) -> str | NotAcceptable:
    """Choose a media type for an Accept header and a `?format=` parameter.

    `offered` are exact content types without parameters, richest first. `default` answers `*/*` and no header; when
    it is not offered, the richest does. A `query_format` outranks the header, and one that is not offered is not
    acceptable: who names one format does not want another.
    """
    formats = tuple(offered)
    if query_format is not None:
        return _named_format(query_format[:HEADER_LIMIT], formats)
    if accept is None:
        return _default(formats, default)
    return _best_format(_bounded(accept), formats, default)


def choose_coding(accept_encoding: str | None, offered: Sequence[Coding] = CODINGS) -> Coding:
    """Choose a content coding for an Accept-Encoding header; `identity` is always possible.

    The highest q wins, the first of `offered` where several share it; plain bytes only when the client wants them more
    or takes nothing else. `identity;q=0` with nothing else in common still gets plain bytes.
    """
    if not accept_encoding:
        return "identity"
    return _best_coding(_bounded(accept_encoding), tuple(offered))


@lru_cache(maxsize=_REMEMBERED)
def _named_format(name: str, offered: tuple[str, ...]) -> str | NotAcceptable:
    # A raw `+` in a query means a space, and people type the content type as it is.
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
    """What of `offered` is acceptable, with all that it is compared by."""
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
        # `x-gzip` is the same coding (RFC 9110 8.4.1.3). A wildcard admits gzip, which whoever writes one can read; zstd
        # goes to those who name it.
        names = ("gzip", "x-gzip", "*") if coding == "gzip" else (coding,)
        weight = next((weights[name] for name in names if name in weights), 0)
        if weight > best_weight:
            best, best_weight = coding, weight
    return best if best_weight >= weights.get("identity", 0) else "identity"


def _weight_of(media_type: str, weights: Mapping[str, int]) -> tuple[int, int]:
    """The q that the most specific matching range gives, in thousandths, and how specific it is."""
    for specificity, name in ((2, media_type), (1, f"{media_type.partition('/')[0]}/*"), (0, "*/*")):
        if name in weights:
            return weights[name], specificity
    return 0, 0


def _weights(header: str, grammar: re.Pattern[str]) -> dict[str, int]:
    """What a header names, in lower case, with its q in thousandths.

    An item that is malformed, in its name or its q, is absent. Foreign parameters are ignored, and of
    items that then are the same the highest q counts. A comma in a quoted parameter splits an item in two malformed
    ones; none of the types concerned has such a parameter.
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
    """The part of a header that is looked at: whole items of its first 8 KiB."""
    return header if len(header) <= HEADER_LIMIT else header[:HEADER_LIMIT].rpartition(",")[0]


def _default(offered: tuple[str, ...], default: str) -> str | NotAcceptable:
    if default in offered:
        return default
    return offered[0] if offered else NotAcceptable(offered)
