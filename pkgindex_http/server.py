"""The server: the dispatcher from requests to handlers, and the start and stop of its sockets.

    path -> route -> credentials -> permission -> handler -> answer | error

All requests pass these steps, so no handler runs without the permission of its route, and every exception becomes a status. It
uses aiohttp's low-level server with its own dispatcher: routes and permissions are one table, and a general router costs
more than a cached page.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp.http import HttpVersion10, HttpVersion11
from msgspec.structs import replace

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Corrupt, Denied, Missing, PkgIndexError, Refused, Unavailable
from pkgindex_core.names import IndexName, parse_index_name
from pkgindex_core.protocols.measuring import Figures
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.currency import Moment
from pkgindex_http.access_log import CLIENT, AccessLog, AccessLogger
from pkgindex_http.admitting import admit
from pkgindex_http.assembling import assembled
from pkgindex_http.conditions import check_change, check_read
from pkgindex_http.errors import MethodNotAllowed
from pkgindex_http.listening.connections import Connection, Connections, Patience
from pkgindex_http.listening.figures import answer_figures
from pkgindex_http.listening.replays import Replays
from pkgindex_http.listening.siblings import Siblings
from pkgindex_http.listening.sockets import BACKLOG, address_of, bound
from pkgindex_http.oidc.configured import read_issuers
from pkgindex_http.oidc.minting import Minting
from pkgindex_http.readiness import Readiness
from pkgindex_http.refusing import Refusing
from pkgindex_http.routing import Answer, Match, RoutedAsk
from pkgindex_http.settings import ServerSettings
from pkgindex_http.templates import Templates
from pkgindex_http.troubles import Troubles
from pkgindex_http.wire import web
from pkgindex_http.wire.attempts import LoginAttempts
from pkgindex_http.wire.bodies import check_framing, is_awaiting, is_misframed
from pkgindex_http.wire.descriptions import Descriptions
from pkgindex_http.wire.handing_over import Handover
from pkgindex_http.wire.marks import marks
from pkgindex_http.wire.origin import OriginReader
from pkgindex_http.wire.paths import origin_form, split_path
from pkgindex_http.wire.read_log import ReadLog
from pkgindex_http.wire.remote_user import RemoteUsers
from pkgindex_http.wire.replies import Reply, WholeResponse
from pkgindex_http.wire.sending import FileResponse, StreamedResponse
from pkgindex_http.wire.served_files import ServedFiles

logger = logging.getLogger("pkgindex.http")

HEADER_LIMIT = 16_384
"""The most bytes of one header line. All header lines together may have about twice as many."""
_MATCHES: Final = 4096
"""The most paths whose routes are remembered. They take some megabytes."""
_REMEMBERED_PATH: Final = 256
"""The most characters of such a path."""
_CUT_SECONDS = 0.5
"""Seconds that handlers of cut requests have for their cleanup."""


class Server:
    """Answers requests for one engine."""

    def __init__(self, engine: Engine, settings: ServerSettings, *, siblings: Siblings | None = None) -> None:
        """`siblings`: the other processes of this server."""
        self.engine = engine
        self.siblings = siblings
        self.settings = settings
        self.default_index = parse_index_name(settings.default_index)
        self.origin = OriginReader(
            outside_url=settings.outside_url, trusted_proxies=settings.trusted_proxies, mount=settings.mount
        )
        self._mount = split_path(settings.mount) or ()
        self.remote_users = RemoteUsers(settings, self.origin)
        self._attempts = LoginAttempts(settings.failed_logins, engine.clock)
        self.handover = Handover(settings, self.origin)
        self.readiness = Readiness(engine)
        self.templates = Templates(engine.plugins, engine.context)
        self._refusing = Refusing(engine, settings, self.origin, self.templates)
        self.descriptions = Descriptions()
        self.served_files = ServedFiles()
        self.read_log = ReadLog(
            Path(settings.data),
            clock=engine.clock,
            workers=engine.workers,
            enabled=settings.audit_reads,
            required=settings.audit_reads_required,
        )
        self._minting = Minting(engine, read_issuers(settings.issuers), audience=settings.oidc_audience)
        self.routes = assembled(engine.plugins, engine.context)
        self._matches: BoundedCache[str, tuple[tuple[str, ...], Match]] = BoundedCache(_MATCHES)
        self._troubles = Troubles(engine.clock, logger)
        self.replays = (
            Replays(
                engine.currency,
                limit=settings.replay_bytes,
                by_peer=self.origin.trusts_proxies,
                is_shown=engine.replica.is_whole if engine.replica is not None else None,
            )
            if settings.replay_bytes
            else None
        )
        self._access_log = None if settings.access_log is False else AccessLog()
        self._connections: Connections | None = None
        self._listeners: list[asyncio.Server] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        answer = await self._answer(request)
        # A client that waits for `100 Continue` and gets the answer instead may next send the body or another request. The two
        # cannot be told apart, so the connection is closed (RFC 9110 10.1.1), and also when a body was not read to its end.
        connection = request.protocol
        gave_up = isinstance(connection, Connection) and connection.gave_up
        close = gave_up or is_awaiting(request) or is_misframed(request)
        if isinstance(answer, Reply):
            return WholeResponse(answer, close=close)
        if close:
            answer.force_close()
        return answer

    async def start(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        """Start to listen, and return the addresses. Port 0 picks a free port."""
        sockets = await self.engine.in_worker(partial(bound, host, port))
        await self.listen(sockets)
        return [address_of(each) for each in sockets]

    async def listen(self, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections of these sockets, which other processes may share, until `stop`."""
        settings = self.settings
        self._connections = Connections(
            self.handle,
            patience=Patience(settings.stall_timeout, settings.least_body_rate, settings.max_connections),
            replays=self.replays,
            access_log_class=AccessLogger,
            access_log=self._access_log,
            keepalive_timeout=75,
            lingering_time=30,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
            auto_decompress=False,  # request bodies are bounded by their size on the wire
        )
        loop = asyncio.get_running_loop()
        for each in sockets:
            self._listeners.append(await loop.create_server(self._connections, sock=each, backlog=BACKLOG, ssl=tls))

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self.readiness.stopping

    @property
    def busy(self) -> int:
        """The number of connections whose request is not answered yet."""
        return self._connections.busy if self._connections is not None else 0

    def figures(self, names: Container[IndexName]) -> Sequence[Figures]:
        """The counts of this process, those about indexes only of the named ones."""
        caches = [
            *self.engine.caches(),
            NamedCache("routes", self._matches),
            NamedCache("failed_log_ins", self._attempts._known),
            NamedCache("descriptions", self.descriptions._rendered, "characters"),
            NamedCache("troubles", self._troubles._known),
        ]
        if self.replays is not None:
            caches.append(NamedCache("answers", self.replays.kept, "bytes"))
        return [
            *self.served_files.figures(names),
            *self.read_log.figures(),
            *answer_figures(
                self._connections.requests_count if self._connections is not None else 0,
                self.replays.repeated if self.replays is not None else {},
                caches,
            ),
        ]

    async def stop(self) -> None:
        """Stop gracefully: `/+ready` is 503 at once, no new connections are accepted, requests under way finish."""
        self.readiness.stopping = True
        if self._connections is None:
            return
        clock = asyncio.get_running_loop().time
        end = clock() + self.settings.shutdown_timeout
        for listener in self._listeners:
            listener.close()
        await self._connections.drain(self.settings.shutdown_timeout)
        self._connections.pre_shutdown()
        await self._connections.shutdown(_CUT_SECONDS)
        if self._access_log is not None:
            await self._access_log.close(end - clock())
        await self.read_log.close()

    def locate(self, request: web.BaseRequest, target: str, method: str) -> RoutedAsk:
        """The route of a request target. Raises `Missing` if there is none. Only the path decides, not a header."""
        path, _, query = origin_form(target).partition("?")
        segments, match = self._matches.get(path) or self._matched(path)
        route = match.methods.get("GET" if method == "HEAD" else method)
        if route is None and method in {"GET", "HEAD"}:
            # 404, not 405: installers try such paths, and understand 404.
            raise Missing("page", path[:160])
        if route is None:
            raise MethodNotAllowed(method, match.methods, simple=not {"simple", "+simple"}.isdisjoint(segments))
        if method not in {"GET", "HEAD"} and self.origin.is_foreign(request):
            # A browser adds its remembered password to forms of all sites.
            raise Denied(
                "a page of another site sent this request",
                anonymous=False,
                hint="use a client instead of that page; if the page is behind a proxy of yours, set outside_url",
            )
        return RoutedAsk(
            engine=self.engine,
            settings=self.settings,
            default_index=self.default_index,
            origin=self.origin,
            remote_users=self.remote_users,
            attempts=self._attempts,
            templates=self.templates,
            descriptions=self.descriptions,
            served_files=self.served_files,
            figures=self.figures,
            minting=self._minting,
            read_log=self.read_log,
            siblings=self.siblings,
            handover=self.handover,
            stopping=lambda: self.stopping,
            readiness=self.readiness.report,
            judge=self.judge,
            request=request,
            route=route,
            query_string=query.partition("#")[0],
            values=match.values,
            segments=segments,
            handler=route.handler,
            envelope=route.envelope,
            people=route.people,
        )

    def _matched(self, path: str) -> tuple[tuple[str, ...], Match]:
        """The segments of a path, and its routes. Raises `Missing` if there are none."""
        segments = split_path(path)
        if segments is not None and self._mount and segments[: len(self._mount)] == self._mount:
            segments = segments[len(self._mount) :] or ("",)
        match = self.routes.match(segments) if segments is not None else None
        if match is None or segments is None:
            raise Missing("page", path[:160])
        if len(path) <= _REMEMBERED_PATH:
            self._matches.put(path, (segments, match))
        return segments, match

    async def judge(self, request: web.BaseRequest, target: str, method: str) -> None:
        """Raise the error if a request for this target is not permitted. An empty method means GET, or the target's own method."""
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
        moment = self.engine.currency.moment()
        connection = request.protocol
        data = connection.whole(request) if isinstance(connection, Connection) else None
        try:
            request[CLIENT] = self.origin.client(request)
            if request.version < HttpVersion10:
                raise Refused("the HTTP version is too old", hint="use HTTP/1.0 or newer")
            check_framing(request)
            hosts = len(request.headers.getall("Host", []))
            if hosts > 1 or (not hosts and request.version >= HttpVersion11):
                raise Refused("the request must have one Host header (RFC 9112 3.2)")
            ask = self.locate(request, request.raw_path, request.method)
            await admit(ask)
            await check_change(ask)
            answer = await check_read(ask, _whole(ask, await ask.handler(ask)))
            if request.method not in {"GET", "HEAD"} and answer.status < 300:
                self._troubles.wrote()
            if ask.envelope:
                answer = await self._marked(answer)
            if isinstance(answer, FileResponse | StreamedResponse):
                answer.refuse = partial(self._failure, request=request, ask=ask)
            self._keep(ask, answer, data, moment)
            return answer
        except PkgIndexError as error:
            return await self._failure(error, request, ask)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                # Not a defect: the system refused a call (no descriptor left, a failing disk), which may pass.
                return await self._failure(storage_failure(error, "answering"), request, ask, cause=error)
            # An unforeseen exception: the log gets the traceback, and the client a reference to it.
            reference = self._refusing.reference(request)
            logger.exception("request %s failed", reference)
            failure = PkgIndexError(
                "the server failed; the request is not the cause",
                hint=f"ask the administrator: the log has the reason under {reference}",
            )
            return await self._refusing.answer(failure, request, ask)

    def _keep(self, ask: RoutedAsk, answer: Reply | web.StreamResponse, data: bytes | None, moment: Moment) -> None:
        """Keep an answer for requests with the same bytes, if it can be kept."""
        if self.replays is None or data is None or not ask.route.repeats or ask.identified is None:
            return
        kind = "file" if "filename" in ask.values else "page"
        learn = partial(self.replays.learn, data, ask.request, ask.identified, moment, kind)
        if isinstance(answer, Reply):
            learn(answer, len(answer.body))
        elif isinstance(answer, FileResponse) and answer.reply.holding is not None:
            answer.keep = learn  # its bytes are read when they are sent

    async def _marked(self, answer: Reply | web.StreamResponse) -> Reply | web.StreamResponse:
        """The answer with the headers that devpi's client needs."""
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
    ) -> Reply:
        """Answer an error. If it is the server's fault the log gets its cause, which the client does not get."""
        cause = cause or error.__cause__
        if isinstance(error, Corrupt) or (isinstance(error, Unavailable) and cause is not None):
            self._troubles.happened(error, cause)
        return await self._refusing.answer(error, request, ask)


def _whole(ask: RoutedAsk, answer: object) -> Answer:
    """The answer of a handler. A plugin's handler may forget to return one."""
    if not isinstance(answer, Reply | web.StreamResponse):
        route = f"{ask.route.method} {ask.route.path}"
        raise TypeError(f"the handler of {route} returned {type(answer).__name__} and no answer")
    return answer
