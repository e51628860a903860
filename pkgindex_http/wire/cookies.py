"""The two cookies of pages for people: the log-in, and the key of forms that are shown before a log-in.

    served as                                name of the log-in                path
    https://packages.example.com             __Host-pkgindex-login             /
    https://example.com/packages             __Secure-pkgindex-login           /packages/
    http://localhost:3141                    pkgindex-login                    /

Browsers accept a name with `__Host-` or `__Secure-` only over TLS (RFC 6265bis 4.1.3), and another subdomain cannot set the first. The server
reads one name only, so a cookie that was set over plain HTTP is no log-in over TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

Kind = Literal["login", "form"]

_LIMIT: Final = 4096
"""The most characters of a cookie's value that is read."""


def read_cookie(headers: Mapping[str, str], kind: Kind, url: str) -> str:
    """The value of a cookie of this server, whose root is `url`; empty if there is none.

    Two different values under one name count as none: one of them was set by somebody else (RFC 6265 8.6).
    """
    name = _name(kind, url)
    pairs = (pair.strip().partition("=") for pair in headers.get("Cookie", "").split(";"))
    values = {value for key, _, value in pairs if key == name}
    value = values.pop() if len(values) == 1 else ""
    return value if value.isascii() and len(value) <= _LIMIT else ""


def written_cookie(kind: Kind, value: str, url: str, *, seconds: int | None) -> str:
    """A `Set-Cookie` header. `seconds`: the life of the cookie; None: until the browser ends; 0: it is removed."""
    parts = urlsplit(url)
    name = _name(kind, url)
    path = "/" if name.startswith("__Host-") else f"{parts.path.rstrip('/')}/"
    secure = "; Secure" if parts.scheme == "https" else ""
    age = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path={path}; HttpOnly; SameSite=Lax{secure}{age}"


def new_form_key() -> str:
    """A key for the forms of a browser without a log-in."""
    return secrets.token_urlsafe(24)


def form_token(key: str) -> str:
    """The token that forms have for the cookie with this value. It does not tell the value."""
    return hmac.new(key.encode(), b"pkgindex form", hashlib.sha256).hexdigest()


def is_form_token(key: str, token: str) -> bool:
    """Whether a form has the token for this cookie."""
    return bool(key) and hmac.compare_digest(form_token(key).encode(), token.encode(errors="replace"))


def _name(kind: Kind, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https":
        return f"pkgindex-{kind}"
    return f"{'__Secure-' if parts.path.strip('/') else '__Host-'}pkgindex-{kind}"
