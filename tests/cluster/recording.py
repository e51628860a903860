"""Clients that change and read projects at several servers at once, and record what they asked, what they got, and when.

Each request has a connection of its own, so nothing sends it a second time. An answer that tells nothing (5xx, or none) is recorded as unknown.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Final

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.cluster.linearizability import Operation
from tests.cluster.project_model import Delete, Download, Held, Index, Look, Push, Recorded, Request, Upload, Yank
from tests.crash.oracle import JSON, ROOT, file_path, upload_request
from tests.crash.processes import ServerProcess
from tests.http.wire import RawAnswer, RawRequest, ask_raw

INDEXES: Final[dict[Index, str]] = {"made": "root/made", "kept": "root/kept"}
VERSIONS: Final = ("1", "2")
TAGS: Final = ("py3-none-any", "py2-none-any")
CONTENTS: Final = (1, 2)
_ROOT: Final = f"Authorization: {ROOT['Authorization']}".encode()
_LOOKS: Final = 0.25
"""The share of pages among the requests."""


class Recorder:
    """The operations of all clients, by project."""

    def __init__(self, servers: Sequence[ServerProcess], dice: random.Random) -> None:
        self.histories: dict[str, list[Recorded]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        """How often each answer was given."""
        self._up = list(servers)
        self._dice = dice
        self._pages: dict[str, frozenset[Held]] = {}
        """The content of a page by its ETag, whichever server has shown it."""
        self._tags: dict[tuple[str, Index], str] = {}

    @property
    def recorded(self) -> int:
        return sum(map(len, self.histories.values()))

    @contextmanager
    def without(self, server: ServerProcess) -> Iterator[None]:
        """Send no more requests to a server: it is killed, and another program may get its port."""
        self._up.remove(server)
        yield
        self._up.append(server)

    async def work(self, client: str, project: str, requests: int) -> None:
        """Send requests to a project, one after the other, each to any server."""
        for _ in range(requests):
            await self._record(client, project, self._request(project), self._dice.choice(self._up))

    async def look_everywhere(self, project: str) -> None:
        """Read both pages at each server."""
        for server in tuple(self._up):
            for index in INDEXES:
                await self._record("last", project, Look(index), server)

    def _request(self, project: str) -> Request:
        dice = self._dice
        index: Index = dice.choice(("made", "made", "kept"))
        if dice.random() < _LOOKS:
            return Look(index)
        # Every other project has one filename, so that requests meet more often.
        few = 1 if project.endswith(("1", "3", "5", "7", "9")) else 2
        version = dice.choice(VERSIONS[:few])
        filename = f"{project}-{version}-{dice.choice(TAGS[:few])}.whl"
        content = dice.choice(CONTENTS)
        match dice.choice(("upload", "upload", "push", "delete", "yank", "download")):
            case "upload":
                return Upload(index, filename, content)
            case "push":
                return Push(version)
            case "delete":
                return Delete(index, filename, content)
            case "yank":
                return Yank(index, filename, content, dice.random() < 0.6)
            case _:
                return Download(index, filename, content)

    async def _record(self, client: str, project: str, request: Request, server: ServerProcess) -> None:
        called = time.monotonic()
        try:
            got = await ask_raw(server.address, self._encoded(project, request))
        except (asyncio.IncompleteReadError, ConnectionError):
            got = None
        answered = time.monotonic()
        answer = None if got is None or got.status >= 500 else self._answer(project, request, got)
        told = "no answer" if got is None else f"{got.status}" if answer is None else answer
        self.counts[f"{type(request).__name__}: {told if isinstance(told, str) else 'page'}"] += 1
        done: Recorded = (
            Operation(client=client, called=called, request=request)
            if answer is None
            else Operation(client=client, called=called, answered=answered, request=request, answer=answer)
        )
        self.histories[project].append(done)

    def _encoded(self, project: str, request: Request) -> bytes:
        match request:
            case Upload(index):
                return upload_request(_built(request), path=f"/{INDEXES[index]}/".encode())
            case Push(version):
                document = {"name": project, "version": version, "targetindex": INDEXES["kept"]}
                path = f"/{INDEXES['made']}/".encode()
                return RawRequest("PUSH", path, (_ROOT,), json.dumps(document).encode()).encode()
            case Look(index):
                tag = self._tags.get((project, index))
                headers = {**JSON, **({"If-None-Match": tag} if tag and self._dice.random() < 0.5 else {})}
                lines = tuple(f"{name}: {value}".encode() for name, value in headers.items())
                return RawRequest("GET", f"/{INDEXES[index]}/+simple/{project}/".encode(), lines).encode()
        path = file_path(_built(request), INDEXES[request.index]).encode()
        match request:
            case Delete():
                return RawRequest("DELETE", path + b"?force", (_ROOT,)).encode()
            case Yank(yanked=yanked):
                return RawRequest("PATCH", path, (_ROOT,), json.dumps({"yanked": yanked}).encode()).encode()
            case Download():
                return RawRequest("GET", path).encode()

    def _answer(self, project: str, request: Request, got: RawAnswer) -> Hashable:
        """The outcome that an answer tells; None: it tells none."""
        told = got.body.decode(errors="replace")
        match request, got.status:
            case Look(index), 304:
                return self._pages[self._tags[project, index]]
            case Look(index), 200:
                return self._page(project, index, got)
            case Look(), 404:
                return frozenset[Held]()
            case Upload(), 200:
                return "stored"
            case Upload(), 400 | 409 if "already exists" in told or "previously used" in told:
                return "taken"
            case Push(), 200:
                return "pushed"
            case Push(), 409 if "nothing is missing" in told:
                return "same"
            case Push(), 409 if "already exists" in told or "previously used" in told:
                return "taken"
            case Push(), 400 | 404:
                return "absent"
            case Delete(), 200:
                return "deleted"
            case Yank(), 200:
                return "marked"
            case Download(), 200:
                assert got.body == _built(request).data, "wrong bytes"
                return "present"
            case ((Delete() | Yank() | Download()), 404 | 410):
                return "absent"
        raise AssertionError(f"{request}: {got.status} {told[:500]}")

    def _page(self, project: str, index: Index, got: RawAnswer) -> frozenset[Held]:
        files = json.loads(got.body)["files"]
        shown = frozenset(
            Held(
                index, each["filename"], _content(each["filename"], each["hashes"]["sha256"]), bool(each.get("yanked"))
            )
            for each in files
        )
        tag = got.header("ETag")
        assert tag is not None
        assert self._pages.setdefault(tag, shown) == shown, "two pages with one ETag"
        self._tags[project, index] = tag
        return shown


def _built(request: Upload | Delete | Yank | Download) -> BuiltFile:
    return _wheel(request.filename, request.content)


@cache
def _wheel(filename: str, content: int) -> BuiltFile:
    project, version, tag = filename.removesuffix(".whl").split("-", 2)
    return build_wheel(project, version, tag=tag, files={f"{project}.py": b"%d" % content})


def _content(filename: str, sha256: str) -> int:
    return next(content for content in CONTENTS if _wheel(filename, content).sha256 == sha256)
