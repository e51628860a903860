"""Transcripts of devpi's protocol: requests as its client sends them, and what a server answered, as files that a person reads.

    {"about": "…", "exchanges": [{"says": "a taken name is refused", "request": {…}, "answer": {…}}, …]}

The requests are written by hand and played in order. What differs from run to run is masked: hosts, times, tokens, serials,
identities, and digests of the tiny distributions that are sent. `answer` is what devpi-server said (`record_transcripts`).

A request: `method`, `path`, perhaps `as` (a user; the password is `pw-NAME`, root's is empty), `headers`, `json` or `form`. In a
form a part named `content` names the distribution to send. `<NAME>` in a path stands for the `aaa/bbbbbbbbbbbbb` of its digest. `boundary`
is another one for the form, `NAME in other bytes` another distribution of that name, and `shows` names response headers that are recorded and compared for this request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import aiohttp

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, zip_of

DIRECTORY: Final = Path(__file__).parents[1] / "golden" / "devpi"
FILES: Final = sorted(path for path in DIRECTORY.glob("*.json") if path.stem != "differences")
CLIENT: Final = {
    "User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)",
    "Accept": "application/json",
    "content-type": "application/json",
}
"""What devpi's client sends with a command; an upload has `Accept: */*` and the type of its form."""

OTHER: Final = " in other bytes"
"""What stands behind a file name for another distribution that is called the same."""

_BOUNDARY = "a-boundary-of-the-transcripts"
_HEADERS = ("location", "www-authenticate", "x-devpi-api-version", "x-pypi-last-serial")


def read(path: Path) -> dict[str, Any]:
    transcript: dict[str, Any] = json.loads(path.read_text())
    return transcript


@cache
def distribution(filename: str) -> bytes:
    """The bytes sent under a file name: a tiny real distribution or a documentation archive, else the name itself."""
    if filename.endswith(".doc.zip"):
        return zip_of({"index.html": f"<h1>{filename}</h1>".encode(), "more/page.html": b"<p>more</p>"}, stored=True)
    if filename.removesuffix(OTHER).endswith("-py3-none-any.whl"):
        return _built(build_wheel, filename).data
    if filename.endswith(".tar.gz"):
        return _built(build_sdist, filename).data
    return filename.encode()


def _built(build: Any, filename: str) -> BuiltFile:
    plain = filename.removesuffix(OTHER)
    name, version = plain.removesuffix(".tar.gz").split("-")[:2]
    description = "" if plain == filename else "other bytes"
    built: BuiltFile = build(name.replace("_", "-"), version, metadata_version="2.1", description=description)
    return built


class Player:
    """Plays a transcript's requests against one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, upstream: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._upstream = upstream.rstrip("/")
        self._sent = {"up-1.0-py3-none-any.whl"}  # what the upstream has
        self._result = ""

    async def play(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request; return its answer, masked."""
        headers = dict(CLIENT)
        boundary = request.get("boundary", _BOUNDARY)
        data: Any = json.dumps(self._opened(request["json"])).encode() if "json" in request else None
        if "form" in request:
            headers = {
                "User-Agent": CLIENT["User-Agent"],
                "Accept": "*/*",
                "Content-Type": f"multipart/form-data; boundary={boundary}",
            }
            data = self._form(request["form"], boundary)
        if "as" in request:
            user = request["as"]
            credentials = f"{user}:{'' if user == 'root' else f'pw-{user}'}"
            headers["X-Devpi-Auth"] = base64.b64encode(credentials.encode()).decode()
        headers.update(self._opened(request.get("headers", {})))
        path = self._opened(request["path"])
        async with self._session.request(
            request["method"], f"{self._url}{path}", headers=headers, data=data, allow_redirects=False
        ) as answer:
            return await self._recorded(answer, request)

    def _opened(self, value: Any) -> Any:
        """A value with what stands for something replaced by it."""
        if isinstance(value, dict):
            return {key: self._opened(each) for key, each in value.items()}
        if not isinstance(value, str):
            return value
        value = value.replace("<upstream>", self._upstream).replace("<result>", self._result)
        return re.sub(r"<([\w.!+-]+\.(?:whl|gz|zip))>", lambda found: _digest_path(found[1]), value)

    def _form(self, fields: Mapping[str, Any], boundary: str) -> bytes:
        parts = []
        for name, value in fields.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
            if name == "content":
                self._sent.add(value)
                head += f'; filename="{value.removesuffix(OTHER)}"'
                parts.append(f"{head}\r\n\r\n".encode() + distribution(value) + b"\r\n")
            else:
                parts += [
                    f"{head}\r\n\r\n{each}\r\n".encode() for each in (value if isinstance(value, list) else [value])
                ]
        return b"".join(parts) + f"--{boundary}--\r\n".encode()

    async def _recorded(self, answer: aiohttp.ClientResponse, request: Mapping[str, Any]) -> dict[str, Any]:
        body = await answer.read()
        if found := re.search(rb"toxresult-\d+-\d+", body):
            self._result = found[0].decode()
        recorded: dict[str, Any] = {"status": answer.status, "type": answer.headers.get("Content-Type", "")}
        if "form" in request:
            recorded["reason"] = self.mask(answer.reason or "")
        kept = {name: self.mask(answer.headers[name]) for name in _HEADERS if name in answer.headers}
        if "www-authenticate" in kept:
            kept["www-authenticate"] = kept["www-authenticate"].split()[0]
        if kept:
            recorded["headers"] = kept
        if "shows" in request:
            recorded["shown"] = {name: _shown(name, answer.headers.get(name)) for name in request["shows"]}
        recorded["body"] = self._body(
            body, answer.content_type, is_simple=answer.status == 200 and "pip/" in str(request.get("headers"))
        )
        return recorded

    def _body(self, body: bytes, kind: str, *, is_simple: bool) -> Any:
        for name in self._sent:
            if body == distribution(name):
                return f"<the bytes of {name}>"
        if kind.endswith("json"):
            value = json.loads(body)
            if kind == "application/json" and isinstance(value, dict) and value.get("type") == "status":
                return {**value, "result": _shape(value["result"])}
            return self.mask(value)
        if kind == "text/html":
            if not is_simple:
                return "<a page for a person>" if body else ""
            return {"links": self.mask(_links(body.decode()))}
        return self.mask(body.decode(errors="replace"))

    def mask(self, value: Any) -> Any:
        """A value without what differs from run to run."""
        if isinstance(value, dict):
            return {key: _masked_field(key, self.mask(each)) for key, each in sorted(value.items())}
        if isinstance(value, list):
            return [self.mask(each) for each in value]
        if not isinstance(value, str):
            return value
        value = value.replace(self._url, "http://host").replace(self._upstream, "<upstream>")
        for name in self._sent:
            value = value.replace(_digest_path(name), f"<{name}>").replace(_digest(name), f"<sha256 of {name}>")
        value = re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", value)
        value = re.sub(r"0x[0-9a-f]{6,}", "<address>", value)
        value = re.sub(r"toxresult-\d{14}-\d+", "<result>", value)
        return re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z", "<time>", value)


def _shown(name: str, value: str | None) -> Any:
    """A header of the answer: a list in order, a serial only as a number."""
    if value is None:
        return None
    if name == "x-devpi-serial":
        return "<serial>" if value.isdigit() else value
    return sorted(value.split(", "))


def _digest(filename: str) -> str:
    return hashlib.sha256(distribution(filename)).hexdigest()


def _digest_path(filename: str) -> str:
    digest = _digest(filename)
    return f"{digest[:3]}/{digest[3:16]}"


def _masked_field(key: str, value: Any) -> Any:
    if key == "when" and isinstance(value, list):
        return "<when>"
    if key in {"last_modified", "upload-time"}:
        return "<time>"
    if key == "_last-serial":
        return "<serial>"
    if key == "password" and isinstance(value, str):
        return "<token>"
    return value


def _shape(value: Any) -> Any:
    """Only which keys there are: the values say how a server is doing."""
    return {key: type(each).__name__ for key, each in sorted(value.items())}


class _LinkReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append({"text": "", **{name: value or "" for name, value in attrs}})
            self._inside = True

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.links[-1]["text"] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False


def _links(page: str) -> list[dict[str, str]]:
    reader = _LinkReader()
    reader.feed(page)
    return reader.links
