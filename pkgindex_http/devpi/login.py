"""Log-ins: exchange a password for a token that is valid for ten hours."""

from __future__ import annotations

from functools import partial

import msgspec

from pkgindex_core.errors import Denied, Refused
from pkgindex_core.protocols import Credentials
from pkgindex_core.tokens import LOGIN_SECONDS
from pkgindex_http.devpi.envelope import document, failure, said
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply


class _Login(msgspec.Struct):
    user: str
    password: str


async def login(ask: Ask) -> Reply:
    """Exchange a password for a token."""
    try:
        asked = await read_json(ask.request, _Login)
    except Refused as error:
        missing = isinstance(error.__cause__, msgspec.ValidationError)
        text = "no user/password specified" if missing else "could not decode json"
        return failure(f"Bad request: {text}", 400, hint=error.message)
    vouched = ask.vouched
    if vouched is not None and vouched.name == asked.user:
        # The proxy has authenticated the user, so no password is needed.
        token = await ask.engine.tokens.issue_login(vouched)
        return document({"password": token, "expiration": LOGIN_SECONDS}, "proxyauth", message="login successful")
    try:
        token, seconds = await ask.judged(
            Credentials(username=asked.user, secret=asked.password),
            partial(ask.engine.tokens.login, asked.user, asked.password),
        )
    except Denied:
        # With a `location` header the client would delete its present token.
        return said(f"user {asked.user[:80]!r} could not be authenticated", status=401)
    return document({"password": token, "expiration": seconds}, "proxyauth", message="login successful")
