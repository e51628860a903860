"""Reads the credentials of a request: HTTP Basic, Bearer, or devpi's header. They are never logged."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from pkgindex_core.errors import Denied
from pkgindex_core.formats.macaroons import read_token
from pkgindex_core.protocols import Credentials

_LIMIT = 8192


def read_credentials(headers: Mapping[str, str]) -> Credentials | None:
    """The credentials of a request, or None. Malformed ones raise `Denied`: they do not count as anonymous."""
    devpi = headers.get("X-Devpi-Auth")
    if devpi is not None:
        # devpi's client may also send Basic credentials for a proxy, so its own header takes precedence.
        return _pair(devpi)
    authorization = headers.get("Authorization")
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    match scheme.lower():
        case "basic":
            return _pair(value)
        case "bearer" | "token":
            return Credentials(username="__token__", secret=_bearer(value.strip()))
        case _:
            raise Denied("the Authorization scheme is not known", anonymous=True, hint="use Basic or Bearer")


def presents_token(headers: Mapping[str, str]) -> bool:
    """Whether a request presents a token of this server, or uses the header of devpi's client."""
    if "X-Devpi-Auth" in headers:
        return True
    try:
        credentials = read_credentials(headers)
    except Denied:
        return False
    return credentials is not None and bool(read_token(credentials.secret) or read_token(credentials.username))


def _bearer(value: str) -> str:
    # RFC 6750 2.1: a token is ASCII. Bytes that are not UTF-8 arrive as lone surrogates, which cannot be hashed.
    if not value or len(value) > _LIMIT or not value.isascii():
        raise Denied("the token is empty, too long or not ASCII", anonymous=True)
    return value


def _pair(value: str) -> Credentials:
    if len(value) > _LIMIT:
        raise Denied("the credentials are too long", anonymous=True)
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Denied("the credentials are not valid base64", anonymous=True) from None
    if not raw:
        raise Denied("the credentials are empty", anonymous=True)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    username, _, secret = text.partition(":")
    return Credentials(username=username, secret=secret)
