"""A server that takes posts, for tests: keeps what came, answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from msgspec import Struct

Answer = Callable[["Post"], web.Response]


class Post(Struct, frozen=True, kw_only=True):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    fields: dict[str, list[str]] = {}
    """Text fields of a form."""
    files: dict[str, tuple[str, bytes]] = {}
    """Files of a form: name and content."""


class Receiver:
    """The fake. `answer` says what comes back; `hold`, when it is set, keeps every answer back until the event."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[Post] = []
        self.answer: Answer = lambda _post: web.Response()
        self.hold: asyncio.Event | None = None
        self.came = asyncio.Condition()

    async def wait_for(self, count: int) -> None:
        """Wait until so many posts have come."""
        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(lambda: len(self.posts) >= count)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        post = await _read(request)
        async with self.came:
            self.posts.append(post)
            self.came.notify_all()
        if self.hold is not None:
            await self.hold.wait()
        return self.answer(post)


async def _read(request: web.BaseRequest) -> Post:
    body = await request.read()
    headers = dict(request.headers)
    fields: dict[str, list[str]] = {}
    files: dict[str, tuple[str, bytes]] = {}
    kind = request.content_type
    if kind == "multipart/form-data":
        boundary = request.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        assert body.endswith(b"--" + boundary + b"--\r\n")
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            disposition = next(line for line in lines if line.lower().startswith("content-disposition:"))
            words = dict(word.split("=", 1) for word in disposition.split("; ") if "=" in word)
            name = words["name"].strip('"')
            if "filename" in words:
                files[name] = (words["filename"].strip('"'), value.removesuffix(b"\r\n"))
            else:
                fields.setdefault(name, []).append(value.removesuffix(b"\r\n").decode())
    return Post(path=request.path, headers=headers, body=body, fields=fields, files=files)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver("")
    runner = web.ServerRunner(web.Server(receiver.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}/"
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        await runner.cleanup()
