"""Generated conversations: whole, cut, pipelined, malformed and smuggled requests, most of them repetitions of earlier ones."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from tests.http.replay_world import FILES, PROJECTS, PROXY_SECRET, World
from tests.http.test_bad_input import _MALFORMED_HTTP

_POOL = 16
_PAGES = [
    *(f"/{index}/+simple/{project}/" for index in ("root/dev", "anna/private", "root/both", "root/shelf") for project in PROJECTS),
    *(f"/root/timed/+simple/{project}/" for project in PROJECTS),
    *("/root/pypi/+simple/demo/", "/simple/demo/", "/simple/v1+json/demo/", "/simple/v1+html/other/", "/root/dev/demo/", "/root/both/demo"),
]  # fmt: skip
_OTHERS = ["/root/dev/+simple/", "/+live", "/+api", "/root/dev/+simple/absent/", "/root/dev/+simple/Demo/", "/nothing/here/+simple/x/"]  # fmt: skip
_ACCEPT = ["", "*/*", "text/html", "application/vnd.pypi.simple.v1+json", "application/json", "image/png"]
_CODING = ["", "gzip", "zstd, gzip", "identity"]
_ETAG = re.compile(rb'ETag: ("[^"\r]*")')


class Conversation(Struct):
    """The bytes that a client sends, divided as the server reads them."""

    pieces: list[bytes]
    requests: int
    apart: bool
    peer: str
    turns: int = 0
    """Turns of the loop behind each read."""


class Generator:
    """Makes conversations. It remembers the requests that it made, and repeats them."""

    def __init__(self, rng: random.Random, world: World, *, proxied: bool) -> None:
        self._rng = rng
        self._world = world
        self._proxied = proxied
        self._etags: list[str] = ['"x"', "*"]
        self._pool: list[bytes] = []

    def learn(self, said: bytes) -> None:
        """Remember the validators of answers."""
        self._etags = [*self._etags[-30:], *(each.decode("latin-1") for each in _ETAG.findall(said))]

    def conversation(self) -> Conversation:
        rng = self._rng
        peer = rng.choice(["127.0.0.1", "127.0.0.1", "127.0.0.2", "10.0.0.9"]) if self._proxied else "127.0.0.1"
        kind = rng.random()
        if kind < 0.6:  # one after the other
            requests = [self._request() for _ in range(rng.randrange(1, 6))]
            return Conversation(requests, len(requests), apart=True, peer=peer)
        if kind < 0.7:  # without waiting for answers, each in a read of its own
            requests = [self._request() for _ in range(rng.randrange(2, 6))]
            return Conversation(requests, len(requests), apart=False, peer=peer, turns=rng.randrange(5))
        if kind < 0.8:  # in one read, or cut anywhere
            requests = [self._request() for _ in range(rng.randrange(2, 5))]
            cuts = rng.randrange(4)
            return Conversation(self._cut(b"".join(requests), cuts), len(requests), apart=rng.random() < 0.5, peer=peer)
        if kind < 0.88:  # cut once, at every place in the course of time
            request = self._request()
            return Conversation(self._cut(request, 1), 1, apart=rng.random() < 0.5, peer=peer)
        if kind < 0.9:  # byte by byte
            request = self._request()
            return Conversation([request[at : at + 1] for at in range(len(request))], 1, apart=False, peer=peer)
        return self._odd(peer)

    def _odd(self, peer: str) -> Conversation:
        """Malformed, smuggled or with a body that looks like a request, with usual requests around it."""
        rng = self._rng
        request = self._request()
        odd = rng.choice(
            [
                rng.choice([case.data for case in _MALFORMED_HTTP if len(case.data) < 20_000]),
                b"POST /root/dev/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(request),
                b"POST /+login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(request),
                b"PUSH /root/dev/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(request),
                b"GET /+live HTTP/1.1\r\nHost: x\r\nX-Cut: ",
                b"GET /+live HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                b"\r\n",
                b"PUS",
                b"GE",
                request[: rng.randrange(1, len(request))],
                request.replace(b"HTTP/1.1", b"HTTP/1.0"),
                request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
                request.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
                request.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
                request.replace(b"\r\n", b"\n"),
            ]
        )
        pieces = [self._request(), odd, request, self._request()]
        if rng.random() < 0.3:
            pieces = self._cut(b"".join(pieces), rng.randrange(3))
        return Conversation(pieces, 4, apart=rng.random() < 0.5, peer=peer)

    def _request(self) -> bytes:
        """A request that was sent before, or a new one."""
        rng = self._rng
        if len(self._pool) < _POOL or rng.random() < 0.05:
            request = self._new()
            if len(self._pool) >= _POOL:
                self._pool.pop(rng.randrange(_POOL))
            self._pool.append(request)
            return request
        return rng.choice(self._pool)

    def _new(self) -> bytes:
        rng = self._rng
        kind = rng.random()
        path = rng.choice(_PAGES if kind < 0.6 else FILES if kind < 0.9 else _OTHERS)
        lines = [f"{rng.choice(['GET', 'GET', 'GET', 'HEAD'])} {path} HTTP/1.1", "Host: localhost"]
        headers = {"Accept": rng.choice(_ACCEPT), "Accept-Encoding": rng.choice(_CODING)}
        if rng.random() < 0.6:
            headers["Authorization"] = rng.choice(self._world.secrets)
        if rng.random() < 0.2:
            headers["If-None-Match"] = rng.choice(self._etags)
        if rng.random() < 0.1:
            headers[rng.choice(["If-Match", "User-Agent", "Connection"])] = rng.choice(['"x"', "pip/24", "keep-alive"])
        if path in FILES and rng.random() < 0.2:
            headers[rng.choice(["Range", "If-Modified-Since", "If-Unmodified-Since", "If-Range"])] = rng.choice(
                ["bytes=0-9", "bytes=-7", "bytes=99999999-", "Fri, 01 Jan 2100 00:00:00 GMT"]
            )
        if self._proxied and rng.random() < 0.5:
            headers["X-Remote-User"] = rng.choice(["anna", "ben", "root", ""])
            headers["X-Proxy-Secret"] = rng.choice([PROXY_SECRET, PROXY_SECRET, "wrong"])
            headers["X-Remote-Groups"] = rng.choice(["", "team", "other, team"])
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _cut(self, data: bytes, cuts: int) -> list[bytes]:
        places: Sequence[int] = sorted({0, len(data), *(self._rng.randrange(1, len(data)) for _ in range(cuts))})
        return [data[start:stop] for start, stop in pairwise(places)]
