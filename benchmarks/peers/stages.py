"""Indexes that are made and filled over devpi's protocol, by the same code for devpi-server and for us.

What is uploaded goes in as devpi's client sends it: with the token of a log-in, one wheel a request.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.fixtures import upload_form
from benchmarks.load import Answer, Connection, Failed
from benchmarks.peers import Server, Target
from pkgindex_core.testing.wheels import BuiltFile, build_wheel


class Stages:
    """A running server that speaks devpi's protocol, with `root` logged in."""

    def __init__(self, server: Server, password: str) -> None:
        self.server = server
        self.token = ""
        """What `X-Devpi-Auth` carries."""
        answer = self.send("POST", "/+login", {"user": "root", "password": password})
        token = msgspec.json.decode(answer.body)["result"]["password"]
        self.token = base64.b64encode(f"root:{token}".encode()).decode()

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def make_index(self, index: str, bases: Sequence[str] = ()) -> None:
        """Make a volatile index."""
        self.send("PUT", f"/{index}", {"type": "stage", "volatile": "True", "bases": ",".join(bases)})

    def upload(self, index: str, project: str, wheels: Iterable[BuiltFile]) -> list[float]:
        """Put wheels into an index, one after another over one connection; how long each took."""
        # The forms are written before: what is measured is the server.
        requests = [self._upload(index, project, wheel) for wheel in wheels]
        taken = []
        with Connection(self.server.port) as connection:
            for request in requests:
                answer = connection.send(request, "POST")
                if answer.status != 200:
                    raise Failed(f"{self.name}: {answer.status} {answer.body[:400]!r}")
                taken.append(answer.seconds)
        return taken

    def document(self, path: str) -> Target:
        """A GET of devpi's client."""
        headers = {
            "User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Devpi-Auth": self.token,
        }
        return self.server.target(self.name, path, headers)

    def page(self, index: str, project: str, form: str) -> Target:
        """A project's page, as an installer asks for it."""
        return self.server.page_target(self.name, f"/{index}/+simple/{project}/", form, "identity")

    def send(self, method: str, path: str, document: Mapping[str, Any]) -> Answer:
        body = msgspec.json.encode(document)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["X-Devpi-Auth"] = self.token
        with Connection(self.server.port) as connection:
            answer = connection.send(self._request(method, path, body, headers), method)
        if answer.status not in {200, 201}:
            raise Failed(f"{self.name}: {method} {path}: {answer.status} {answer.body[:400]!r}")
        return answer

    def _upload(self, index: str, project: str, wheel: BuiltFile) -> bytes:
        kind, body = upload_form(wheel, project)
        return self._request("POST", f"/{index}/", body, {"Content-Type": kind, "X-Devpi-Auth": self.token})

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.server.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def small_wheels(project: str, count: int, *, first: int = 0) -> list[BuiltFile]:
    """Wheels of a few hundred bytes, each a version of its own."""
    return [build_wheel(project, f"1.{number}", requires_python=">=3.9") for number in range(first, first + count)]
