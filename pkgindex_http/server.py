"""The server: one dispatcher from requests to handlers, and the life of the sockets around it.

    path -> route -> credentials -> permission -> handler -> answer | error

Every step is here, once: a handler cannot be reached without its route's permission, and no exception leaves without a status.
It runs on aiohttp's low-level server: the dispatcher is ours because one table of routes and permissions is what keeps the
whole honest, and because a general router costs more than a cached page.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

from aiohttp import HttpVersion10, HttpVersion11, web
from msgspec.structs import replace

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Corrupt, Denied, Missing, PkgIndexError, Refused, Unavailable
from pkgindex_core.names import parse_index_name
from pkgindex_core.storage_failures import storage_failure
from pkgindex_http.access_log import CLIENT, AccessLogger
from pkgindex_http.access_log import logger as access_logger
from pkgindex_http.admitting import admit
from pkgindex_http.bodies import check_framing, is_awaiting, is_misframed
from pkgindex_http.conditions import check_change, check_read
from pkgindex_http.connections import Connection, Connections, Patience
from pkgindex_http.devpi.envelope import refusal
from pkgindex_http.errors import MethodNotAllowed, error_reply, problem_reply
from pkgindex_http.health import Readiness
from pkgindex_http.marks import marks
from pkgindex_http.origin import Origin
from pkgindex_http.paths import origin_form, split_path
from pkgindex_http.remote_user import RemoteUsers
from pkgindex_http.replies import Reply, WholeResponse
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import RoutedAsk, RouteTable
from pkgindex_http.troubles import Troubles

logger = logging.getLogger("pkgindex.http")

HEADER_LIMIT = 16_384
"""Bytes of one header line, and of all of them together about twice that."""
_CUT_SECONDS = 0.5
"""What requests that were cut have for cleaning up."""


class Server:
    """Answers requests for one engine."""

    def __init__(self, engine: Engine) -> None:
        settings = engine.settings
        self.engine = engine
        self.default_index = parse_index_name(settings.default_index)
        self.origin = Origin(outside_url=settings.outside_url, trusted_proxies=settings.trusted_proxies)
        self.remote_users = RemoteUsers(settings, self.origin)
        self.readiness = Readiness(engine)
        self.routes = RouteTable(ROUTES)
        self._troubles = Troubles(engine.clock, logger)
        self._runner: web.ServerRunner | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        answer = await self._answer(request)
        # A client that still waits for a `100 Continue` and gets the answer instead may send the body or the next request:
        # it cannot be told which, so the connection ends here (RFC 9110 10.1.1). It ends too where a body is not read to its end.
        connection = request.protocol
        gave_up = isinstance(connection, Connection) and connection.gave_up
        close = gave_up or is_awaiting(request) or is_misframed(request)
        if isinstance(answer, Reply):
            return WholeResponse(answer, close=close)
        if close:
            answer.force_close()
        return answer

    async def start(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        """Listen; return the addresses (port 0 picks a free one)."""
        settings = self.engine.settings
        server = Connections(
            self.handle,
            patience=Patience(settings.stall_timeout, settings.least_body_rate, settings.max_connections),
            access_log_class=AccessLogger,
            access_log=None if settings.access_log is False else access_logger,
            keepalive_timeout=75,
            lingering_time=30,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
            auto_decompress=False,  # of request bodies: bounds are on what comes over the wire
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_CUT_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        return [(str(address[0]), int(address[1])) for address in self._runner.addresses]

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self.readiness.stopping

    @property
    def busy(self) -> int:
        """How many connections have a request that is not answered yet."""
        server = self._runner.server if self._runner is not None else None
        return server.busy if isinstance(server, Connections) else 0

    async def stop(self) -> None:
        """Stop gracefully: readiness says so at once, nobody new is let in, requests under way finish."""
        self.readiness.stopping = True
        if self._runner is None:
            return
        for site in list(self._runner.sites):
            await site.stop()
        if isinstance(self._runner.server, Connections):
            await self._runner.server.drain(self.engine.settings.shutdown_timeout)
        await self._runner.cleanup()

    def locate(self, request: web.BaseRequest, target: str, method: str) -> RoutedAsk:
        """What a request target means; `Missing` when it is no URL of ours. The path decides alone, never a header."""
        path, _, query = origin_form(target).partition("?")
        segments = split_path(path)
        match = self.routes.match(segments) if segments is not None else None
        if match is None or segments is None:
            raise Missing("page", path[:160])
        route = match.methods.get("GET" if method == "HEAD" else method)
        if route is None and method in {"GET", "HEAD"}:
            # A path that only things are done to is no page; installers try such paths and understand 404.
            raise Missing("page", path[:160])
        if route is None:
            raise MethodNotAllowed(method, match.methods)
        if method not in {"GET", "HEAD"} and self.origin.is_foreign(request):
            # A browser adds the password that it remembers, whoever wrote the form.
            raise Denied(
                "this was sent by a page of another site", anonymous=False, hint="use a client, not a form there"
            )
        return RoutedAsk(
            engine=self.engine,
            default_index=self.default_index,
            origin=self.origin,
            remote_users=self.remote_users,
            readiness=self.readiness.parts,
            judge=self.judge,
            request=request,
            route=route,
            query_string=query.partition("#")[0],
            values=match.values,
            segments=segments,
            handler=route.handler,
            envelope=route.envelope,
        )

    async def judge(self, request: web.BaseRequest, target: str, method: str) -> None:
        """Raise what a request for this target is refused with before its handler is called. Without a method it is GET, or what there is."""
        try:
            ask = self.locate(request, target, method or "GET")
        except Missing:
            if method:
                raise
            try:
                ask = self.locate(request, target, "")
            except MethodNotAllowed as other:
                ask = self.locate(request, target, other.allowed[0])
        await admit(ask)

    async def _answer(self, request: web.BaseRequest) -> Reply | web.StreamResponse:
        ask: RoutedAsk | None = None
        try:
            request[CLIENT] = self.origin.client(request)
            if request.version < HttpVersion10:
                raise Refused("the oldest version of HTTP spoken here is 1.0")
            check_framing(request)
            hosts = len(request.headers.getall("Host", []))
            if hosts > 1 or (not hosts and request.version >= HttpVersion11):
                raise Refused("the request must have one Host header (RFC 9112 3.2)")
            ask = self.locate(request, request.raw_path, request.method)
            await admit(ask)
            await check_change(ask)
            answer = await check_read(ask, await ask.handler(ask))
            if request.method not in {"GET", "HEAD"} and answer.status < 300:
                self._troubles.wrote()
            return await self._marked(answer) if ask.envelope else answer
        except PkgIndexError as error:
            return await self._failure(error, request, ask)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                # No defect: the system has refused something (no descriptor left, a disk that fails), and that passes.
                return await self._failure(storage_failure(error, "answering"), request, ask, cause=error)
            # The border: what nobody foresaw is logged whole, and the client is told nothing but where to look.
            reference = secrets.token_hex(4)
            logger.exception("request %s failed", reference)
            return problem_reply(
                500,
                "Internal error",
                ("the server failed; this is not your mistake",),
                f"the administrator finds the reason in the log under {reference}",
                request.headers.get("Accept", ""),
                {"Cache-Control": "no-store"},
            )

    async def _marked(self, answer: Reply | web.StreamResponse) -> Reply | web.StreamResponse:
        """An answer with the headers that devpi's client looks for."""
        if not isinstance(answer, Reply):
            return answer
        return replace(answer, headers={**answer.headers, **await marks(self.engine)})

    async def _failure(
        self,
        error: PkgIndexError,
        request: web.BaseRequest,
        ask: RoutedAsk | None,
        *,
        cause: BaseException | None = None,
    ) -> Reply | web.StreamResponse:
        """Tell the client what is wrong, and the log what the client is not told: the cause of what is the server's trouble."""
        cause = cause or error.__cause__
        if isinstance(error, Corrupt) or (isinstance(error, Unavailable) and cause is not None):
            self._troubles.happened(error, cause)
        if ask is not None and ask.envelope:
            agent = request.headers.get("User-Agent", "")
            answer = refusal(error, request.method, realm=self.engine.settings.realm, agent=agent)
            try:
                return await self._marked(answer)
            except PkgIndexError:  # the store cannot even say where it stands
                return answer
        accept = request.headers.get("Accept", "")
        return error_reply(error, accept, phrase=request.method == "POST", realm=self.engine.settings.realm)
