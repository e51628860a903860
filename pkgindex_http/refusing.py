"""Answers errors in the form that the client reads: devpi's envelope, a page for a browser, and a short document or text for others.

A page, and every answer that is the server's fault, has a reference in the header `X-Request-ID`, which the log has too. A trusted proxy may
choose it by the same header of the request.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Denied, PkgIndexError
from pkgindex_http.access_log import REFERENCE
from pkgindex_http.devpi.envelope import refusal
from pkgindex_http.errors import error_reply
from pkgindex_http.handlers.welcome import names_xhtml
from pkgindex_http.routing import RoutedAsk
from pkgindex_http.settings import ServerSettings
from pkgindex_http.templates import Templates
from pkgindex_http.wire import web
from pkgindex_http.wire.marks import marks
from pkgindex_http.wire.origin import OriginReader
from pkgindex_http.wire.replies import Reply, redirect

HEADER: Final = "X-Request-ID"
_CHOSEN: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_log = logging.getLogger("pkgindex.http")


class Refusing:
    """Answers the errors of one server."""

    def __init__(self, engine: Engine, settings: ServerSettings, origin: OriginReader, templates: Templates) -> None:
        self._engine = engine
        self._settings = settings
        self._origin = origin
        self._templates = templates

    def reference(self, request: web.BaseRequest) -> str:
        """The reference of a request, which is chosen at the first call."""
        known: str = request.get(REFERENCE, "")
        if not known:
            chosen = request.headers.get(HEADER, "") if self._origin.is_trusted(request) else ""
            known = chosen if _CHOSEN.fullmatch(chosen) else secrets.token_hex(4)
            request[REFERENCE] = known
        return known

    async def answer(self, error: PkgIndexError, request: web.BaseRequest, ask: RoutedAsk | None) -> Reply:
        """The answer for an error. `ask`: None if the request has no route."""
        if ask is not None and ask.people and is_for_log_in(error, request):
            return log_in_first(ask)
        accept = request.headers.get("Accept", "")
        if names_xhtml(accept) and (ask is None or ask.people or not ask.envelope):
            return await self._page(error, request, ask)
        if ask is not None and ask.envelope:
            answer = await self._enveloped(error, request)
        else:
            answer = error_reply(error, accept, phrase=request.method == "POST", realm=self._settings.realm)
        return answer if answer.status < 500 else self._referenced(answer, request)

    async def _enveloped(self, error: PkgIndexError, request: web.BaseRequest) -> Reply:
        agent = request.headers.get("User-Agent", "")
        answer = refusal(error, request.method, realm=self._settings.realm, agent=agent)
        try:
            return replace(answer, headers={**answer.headers, **await marks(self._engine)})
        except PkgIndexError:  # the store does not answer, so there is no serial
            return answer

    async def _page(self, error: PkgIndexError, request: web.BaseRequest, ask: RoutedAsk | None) -> Reply:
        from pkgindex_http.pages.problems import problem_page  # most servers never need it

        realm = self._settings.realm
        try:
            answer = await problem_page(
                error,
                ask,
                self._templates,
                url=self._origin.url(request),
                realm=realm,
                reference=self.reference(request),
            )
        except Exception:  # a template of a plugin may be wrong
            _log.exception("the page of request %s failed", self.reference(request))
            answer = error_reply(error, "text/html", realm=realm)
        return self._referenced(answer, request)

    def _referenced(self, answer: Reply, request: web.BaseRequest) -> Reply:
        return replace(answer, headers={**answer.headers, HEADER: self.reference(request)})


def is_for_log_in(error: PkgIndexError, request: web.BaseRequest) -> bool:
    """Whether a person needs a log-in for this request. Wrong credentials are told instead."""
    has_credentials = "Authorization" in request.headers or "X-Devpi-Auth" in request.headers
    is_browser = "html" in request.headers.get("Accept", "").lower()
    return isinstance(error, Denied) and error.anonymous and is_browser and not has_credentials


def log_in_first(ask: RoutedAsk) -> Reply:
    """Send a person to the form for the log-in, and from there back to the page. What a form held is lost."""
    page = "/".join(quote(segment, safe="+") for segment in ask.segments)
    back = f"back={quote(page, safe='/')}" if ask.request.method in {"GET", "HEAD"} else "ended="
    headers = {"Cache-Control": "no-store", "Vary": "Accept, Authorization, Cookie"}
    reply = redirect(f"{ask.root or './'}+login?{back}", status=303)
    return replace(reply, headers={**reply.headers, **headers})
