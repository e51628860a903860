"""Logging in on a page, and out.

    GET  /+login    a form for name and password
    POST /+login    with a form: checks them as every other request does, and sets a cookie with a log-in token
    POST /+logout   revokes the token and removes the cookie

The cookie has the token that devpi's client gets for a password. So a new password ends other log-ins, a revoked token is refused by all servers
from their next request on, and ten hours later it has expired. Each log-in makes a new token, and ends that of the cookie that came with it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec.structs import replace

from pkgindex_core.errors import Denied, Missing
from pkgindex_core.protocols import Credentials
from pkgindex_core.tokens import parse_token
from pkgindex_http.errors import TooManyAttempts
from pkgindex_http.requests import Ask
from pkgindex_http.wire.cookies import read_cookie, written_cookie
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.forms import form_page, read_form, seen_after

_BACK: Final = re.compile(r"(?!/)[A-Za-z0-9+@._~%/-]*(?:\?[A-Za-z0-9+@._~%/=&:-]*)?")


async def page(ask: Ask) -> Reply:
    """The form."""
    ended = ask.query("ended") is not None
    return await form_page(ask, "working/log-in.html", name="", back=_back(ask.query("back") or ""), ended=ended)


async def submit(ask: Ask) -> Reply:
    """Log in, and go back to the page that needed it."""
    form = await read_form(ask)
    name, back = form.text("name"), _back(form.text("back"))
    credentials = Credentials(username=name, secret=form.exact("password"))
    log_in = partial(ask.engine.tokens.login, credentials.username, credentials.secret)
    try:
        token, seconds = await ask.judged(credentials, log_in)
    except (Denied, TooManyAttempts) as error:
        return await form_page(ask, "working/log-in.html", error=error, name=name, back=back, ended=False)
    await _end(ask)
    reply = seen_after(ask)
    cookie = written_cookie("login", token, ask.url, seconds=seconds)
    return replace(reply, headers={**reply.headers, "Location": f"./{back}", "Set-Cookie": cookie})


async def log_out(ask: Ask) -> Reply:
    """End the log-in of the cookie."""
    if ask.session:  # otherwise there is nothing to protect
        await read_form(ask)
        await _end(ask)
    reply = seen_after(ask)
    cookie = written_cookie("login", "", ask.url, seconds=0)
    return replace(reply, headers={**reply.headers, "Set-Cookie": cookie})


async def _end(ask: Ask) -> None:
    """Revoke the token of the cookie that came with the request, if it is a log-in."""
    text = parse_token(read_cookie(ask.request.headers, "login", ask.url))
    with suppress(Denied, Missing):
        if text is not None:
            principal = await ask.engine.identity.identify(Credentials(username="__token__", secret=str(text)))
            if principal.log_in:
                await ask.engine.tokens.revoke(principal.log_in, who=principal.label)


def _back(text: str) -> str:
    """A page of this server, relative to its root; the start page for any other text."""
    return text if _BACK.fullmatch(text) and ".." not in text and "//" not in text else ""
