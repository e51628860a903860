"""A scripted upstream: an HTTP server on the loopback interface that serves wheels and misbehaves on demand.

    async with ScriptedUpstream() as upstream:
        upstream.add("demo", build_wheel("demo", "1.0"))
        upstream.script("page", behaviours.status(503), times=1)
        … ask upstream.url …
        assert upstream.count("page") == 2

All requests are recorded. The usual answer is an `Answer`; a behaviour turns it into another one, or into `Raw` bytes with pauses
and an abrupt end. `pkgindex_mirror.testing.behaviours` has behaviours.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import re
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, unquote

from aiohttp import web
from msgspec import Struct

from pkgindex_core.testing.wheels import BuiltFile

Place = Literal["names", "page", "file", "sidecar", "head", "document"]
"""The kind of a request; `head` is a HEAD for a file or sidecar."""


class Answer(Struct, kw_only=True):
    """A plain HTTP answer."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""


class Raw(Struct, kw_only=True):
    """Bytes on the wire, with the head. A number is a pause in seconds; infinity pauses until the server stops."""

    pieces: Sequence[bytes | float]
    end: Literal["close", "reset"] = "close"


class Asked(Struct, frozen=True, kw_only=True):
    """One request that arrived."""

    place: Place | Literal["other"]
    method: str
    path: str
    headers: Mapping[str, str]


Behaviour = Callable[[Asked, Answer], Answer | Raw]


class Hosted(Struct, kw_only=True):
    """One file of a project, with further keys of its JSON object. The value None leaves a usual key out."""

    built: BuiltFile
    says: dict[str, Any] = {}


class ScriptedUpstream:
    """An index of the simple API with sidecars, ranges and validators, each of which can be switched off."""

    def __init__(
        self,
        *,
        speaks: Literal["json", "html", "both"] = "both",
        announces_sidecars: bool = True,
        has_sidecars: bool = True,
        takes_ranges: bool = True,
        gives_validators: bool = True,
        algorithms: Sequence[str] = ("sha256",),
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.speaks = speaks
        self.announces_sidecars = announces_sidecars
        self.has_sidecars = has_sidecars
        self.takes_ranges = takes_ranges
        self.gives_validators = gives_validators
        self.algorithms = tuple(algorithms)
        self.asked: list[Asked] = []
        self.projects: dict[str, list[Hosted]] = {}
        self.page_says: dict[str, dict[str, Any]] = defaultdict(dict)
        """Further top-level keys of a project's JSON page."""
        self.page_headers: dict[str, str] = {}
        """Further headers of every page, such as X-PyPI-Last-Serial."""
        self.serials: dict[str, int] = {}
        """The serials of projects, for their pages and the list. Projects without one have none in the list."""
        self.listed: Callable[[], Sequence[str]] = lambda: [*self.projects]
        """The names in the list of projects."""
        self.documents: dict[str, dict[str, Any]] = {}
        """The JSON documents of projects (`/pypi/NAME/json`)."""
        self.files_at = ""
        """The base URL of files on pages; empty: pages have relative URLs."""
        self._host = host
        self._tls = tls
        self._scripts: dict[str, tuple[Behaviour, int | None]] = {}
        self._runner: web.ServerRunner | None = None
        self._port = 0
        self._ended = asyncio.Event()

    @property
    def root(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}/"

    @property
    def url(self) -> str:
        """The base of the simple API."""
        return f"{self.root}simple/"

    def add(self, project: str, *files: BuiltFile, **says: Any) -> None:
        """Host files of a project; `says` holds further keys of their JSON objects, with `_` for `-`."""
        extra = {key.replace("_", "-"): value for key, value in says.items()}
        self.projects.setdefault(project, []).extend(Hosted(built=built, says=dict(extra)) for built in files)

    def script(self, place: str, behaviour: Behaviour, *, times: int | None = None) -> None:
        """Misbehave at a place (`page`, `file`, `sidecar`, `head`, `names`, or one exact path), for `times` requests or always."""
        self._scripts[place] = (behaviour, times)

    def behave(self, place: str | None = None) -> None:
        """Drop the script of a place, or all scripts."""
        if place is None:
            self._scripts.clear()
        else:
            self._scripts.pop(place, None)

    def count(self, place: str) -> int:
        """How many requests came for a place or an exact path."""
        return sum(place in {asked.place, asked.path} for asked in self.asked)

    def file_url(self, filename: str) -> str:
        return f"{self.files_at or self.root + 'files/'}{quote(filename)}"

    async def start(self) -> None:
        server = web.Server(self._handle, access_log=None)  # the log of a test is that of the program under test
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections. `start` listens at the same port again."""
        self._ended.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        asked = Asked(
            place=_place(request.method, path), method=request.method, path=path, headers=dict(request.headers)
        )
        self.asked.append(asked)
        answer: Answer | Raw = self._answer(asked)
        for place in (path, asked.place):
            script = self._scripts.get(place)
            if script is not None:
                behaviour, times = script
                if times is not None:
                    self._scripts[place] = (behaviour, times - 1)
                    if times <= 1:
                        del self._scripts[place]
                assert isinstance(answer, Answer)
                answer = behaviour(asked, answer)
                break
        if isinstance(answer, Raw):
            return await self._write(request, _head_of(answer) if request.method == "HEAD" else answer)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _write(self, request: web.BaseRequest, raw: Raw) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        for piece in raw.pieces:
            if isinstance(piece, bytes):
                transport.write(piece)
                await asyncio.sleep(0)
            else:
                try:
                    await asyncio.wait_for(self._ended.wait(), None if piece == float("inf") else piece)
                except TimeoutError:
                    continue
                break
        if raw.end == "reset":
            transport.abort()
        else:
            transport.close()
        raise asyncio.CancelledError  # makes aiohttp write nothing more

    def _answer(self, asked: Asked) -> Answer:
        parts = [unquote(part) for part in asked.path.partition("?")[0].strip("/").split("/")]
        match parts:
            case ["simple"]:
                return self._page(asked, self._names(asked))
            case ["simple", project] if project in self.projects:
                return self._page(asked, self._project(asked, project), self._serial_header(project))
            case ["files", filename]:
                return self._file(asked, filename)
            case ["pypi", project, "json"] if project in self.documents:
                headers = {"Content-Type": "application/json", **self._serial_header(project)}
                return Answer(headers=headers, body=json.dumps(self.documents[project]).encode())
        return Answer(status=404, headers={"Content-Type": "text/plain"}, body=b"no such thing")

    def _wants_json(self, asked: Asked) -> bool:
        if self.speaks != "both":
            return self.speaks == "json"
        return "application/vnd.pypi.simple.v1+json" in asked.headers.get("Accept", "")

    def _serial_header(self, project: str) -> dict[str, str]:
        return {"X-PyPI-Last-Serial": str(self.serials[project])} if project in self.serials else {}

    def _page(self, asked: Asked, body: bytes, more: Mapping[str, str] | None = None) -> Answer:
        kind = "application/vnd.pypi.simple.v1+json" if self._wants_json(asked) else "text/html; charset=utf-8"
        headers = {"Content-Type": kind, **self.page_headers, **(more or {})}
        if self.gives_validators:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if asked.headers.get("If-None-Match") == headers["ETag"]:
                return Answer(status=304, headers=headers)
        return Answer(headers=headers, body=body)

    def _names(self, asked: Asked) -> bytes:
        if self._wants_json(asked):
            projects = [
                {"name": name} | ({"_last-serial": self.serials[name]} if name in self.serials else {})
                for name in self.listed()
            ]
            meta: dict[str, Any] = {"api-version": "1.1"}
            if self.serials:
                meta["_last-serial"] = max(self.serials.values())
            return json.dumps({"meta": meta, "projects": projects}).encode()
        links = "".join(f'<a href="/simple/{quote(name)}/">{html.escape(name)}</a><br>\n' for name in self.listed())
        return _document("Simple index", links)

    def _project(self, asked: Asked, project: str) -> bytes:
        files = [self._entry(hosted) for hosted in self.projects[project]]
        if self._wants_json(asked):
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": files, **self.page_says[project]}
            return json.dumps(page).encode()
        return _document(f"Links for {project}", "".join(_anchor(entry) for entry in files))

    def _entry(self, hosted: Hosted) -> dict[str, Any]:
        built = hosted.built
        entry: dict[str, Any] = {
            "filename": built.filename,
            "url": self.file_url(built.filename) if self.files_at else f"../../files/{quote(built.filename)}",
            "hashes": {name: hashlib.new(name, built.data).hexdigest() for name in self.algorithms},
            "size": built.size,
            "upload-time": "2026-01-02T03:04:05.678900Z",
            "requires-python": ">=3.8",
            "yanked": False,
        }
        if self.announces_sidecars and built.filename.endswith(".whl"):
            entry["core-metadata"] = {"sha256": hashlib.sha256(built.metadata).hexdigest()}
        entry |= hosted.says
        return {key: value for key, value in entry.items() if value is not None}

    def _file(self, asked: Asked, filename: str) -> Answer:
        hosted = {hosted.built.filename: hosted.built for files in self.projects.values() for hosted in files}
        wheel = hosted.get(filename.removesuffix(".metadata"))
        if wheel is None or (filename.endswith(".metadata") and not self.has_sidecars):
            return Answer(status=404, body=b"no such file")
        body = wheel.metadata if filename.endswith(".metadata") else wheel.data
        headers = {"Content-Type": "application/octet-stream"}
        if self.gives_validators:
            headers["ETag"] = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        if self.takes_ranges:
            headers["Accept-Ranges"] = "bytes"
            return _ranged(asked, headers, body)
        return Answer(headers=headers, body=body)


def _place(method: str, path: str) -> Place | Literal["other"]:
    if path.startswith("/files/"):
        if method == "HEAD":
            return "head"
        return "sidecar" if path.partition("?")[0].endswith(".metadata") else "file"
    if path == "/simple/":
        return "names"
    if path.startswith("/pypi/"):
        return "document"
    return "page" if path.startswith("/simple/") else "other"


def _head_of(raw: Raw) -> Raw:
    """The part of an answer that is sent to HEAD. Nothing comes after the head."""
    pieces: list[bytes | float] = []
    sent = b""
    for piece in raw.pieces:
        pieces.append(piece)
        if isinstance(piece, bytes):
            sent += piece
            beyond = len(sent.partition(b"\r\n\r\n")[2])
            if b"\r\n\r\n" in sent:
                return Raw(pieces=[*pieces[:-1], piece[: len(piece) - beyond]])
    return raw


def _ranged(asked: Asked, headers: dict[str, str], body: bytes) -> Answer:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("Range", ""))
    condition = asked.headers.get("If-Range")
    if match is None or (condition and condition != headers.get("ETag")):
        return Answer(headers=headers, body=body)
    first, last = match[1], match[2]
    if first:
        start, stop = int(first), min(int(last) + 1, len(body)) if last else len(body)
    else:
        start, stop = max(len(body) - int(last), 0), len(body)
    if start >= stop:
        return Answer(status=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return Answer(status=206, headers=headers, body=body[start:stop])


def _document(title: str, links: str) -> bytes:
    return (
        "<!DOCTYPE html>\n<html><head>"
        '<meta name="pypi:repository-version" content="1.1">'
        f"<title>{html.escape(title)}</title></head><body>\n<h1>{html.escape(title)}</h1>\n{links}</body></html>\n"
    ).encode()


def _anchor(entry: Mapping[str, Any]) -> str:
    hashes = entry.get("hashes") or {}
    fragment = "".join(f"#{name}={value}" for name, value in list(hashes.items())[:1])
    attributes = {"href": entry["url"] + fragment}
    if entry.get("requires-python"):
        attributes["data-requires-python"] = entry["requires-python"]
    if entry.get("yanked"):
        attributes["data-yanked"] = "" if entry["yanked"] is True else entry["yanked"]
    metadata = entry.get("core-metadata")
    if metadata:
        attributes["data-core-metadata"] = "true" if metadata is True else f"sha256={metadata['sha256']}"
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {written}>{html.escape(entry['filename'])}</a><br>\n"
