"""Plays the matrix of uploads against a real devpi-server and a real pypiserver, and counts what each takes.

    uv venv /tmp/peers && uv pip install --python /tmp/peers devpi-server==6.20.3 devpi-web==5.1.1 pypiserver==2.4.2
    .venv/bin/python -m tests.http.compare_uploads /tmp/peers/bin

This server is asked twice, by both `upload_rules`. The status is 1 if `lenient` refuses what both others take and the matrix does not call dangerous.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from operator import attrgetter
from pathlib import Path
from socket import socket

import aiohttp
from msgspec import Struct

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.models import IndexConfig, User
from pkgindex_core.names import IndexName
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import ServerSettings
from tests.devpi_server import devpi_server
from tests.http.conftest import basic, hash_of
from tests.http.forms import CONTENT_TYPE, encode_form
from tests.http.upload_matrix import Cell, cells

_DEVPI_ROOT = {"X-Devpi-Auth": "cm9vdDo="}  # root, with an empty password


class Door(Struct, frozen=True, kw_only=True):
    """Where one server takes uploads and lists them."""

    name: str
    upload: str
    listing: str
    headers: dict[str, str]

    async def take(self, session: aiohttp.ClientSession, cell: Cell) -> tuple[int, bool]:
        """Upload; return the status, and whether the file is listed afterwards."""
        body = io.BytesIO(encode_form(cell.parts))
        headers = {"Content-Type": CONTENT_TYPE.decode(), **self.headers}
        async with session.post(self.upload, data=body, headers=headers) as answer:
            status = answer.status
            await answer.read()
        async with session.get(f"{self.listing}{cell.project}/", headers={"Accept": "text/html"}) as answer:
            return status, answer.status == 200 and cell.filename in await answer.text()


@asynccontextmanager
async def ours() -> AsyncIterator[list[Door]]:
    """This server, in memory, with an index for each of the rules."""
    settings = ServerSettings(data=Path("unused"), store="memory://", blobs="memory://", access_log=False)
    async with opened_engine(settings, mirrors=False) as engine:
        doors = []
        await engine.store.apply([PutUser(User(name="root", password_hash=hash_of("x")))], who="[test]")
        for rules in ("lenient", "pypi"):
            index = IndexConfig(name=IndexName(f"root/{rules}"), upload_rules=rules, acl_upload=("root",))
            await engine.store.apply([PutIndex(index)], who="[test]")
        server = Server(engine, settings)
        host, port = (await server.start("127.0.0.1", 0))[0]
        for rules in ("lenient", "pypi"):
            url = f"http://{host}:{port}/root/{rules}/"
            doors.append(Door(name=rules, upload=url, listing=f"{url}+simple/", headers=basic("root", "x")))
        try:
            yield doors
        finally:
            await server.stop()


@asynccontextmanager
async def devpi(commands: Path) -> AsyncIterator[Door]:
    """A fresh devpi-server with one index."""
    async with devpi_server(commands, upstream="http://127.0.0.1:9/") as url, aiohttp.ClientSession() as session:
        index = {"type": "stage", "bases": [], "volatile": True}
        async with session.put(f"{url}/root/dev", json=index, headers=_DEVPI_ROOT) as answer:
            assert answer.status == 200, await answer.text()
        here = f"{url}/root/dev/"
        yield Door(name="devpi", upload=here, listing=f"{here}+simple/", headers=_DEVPI_ROOT)


@asynccontextmanager
async def pypiserver(commands: Path) -> AsyncIterator[Door]:
    """A fresh pypiserver without passwords."""
    with tempfile.TemporaryDirectory() as packages, closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ("run", "-i", "127.0.0.1", "-p", str(port), "-P", ".", "-a", ".", "--disable-fallback", packages)
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(commands / "pypi-server", *words, stdout=quiet, stderr=quiet)
        url = f"http://127.0.0.1:{port}/"
        try:
            async with aiohttp.ClientSession() as session:
                while not await _answers(session, url):
                    assert process.returncode is None
                    await asyncio.sleep(0.2)
            yield Door(name="pypiserver", upload=url, listing=f"{url}simple/", headers={})
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url):
            return True
    except aiohttp.ClientConnectionError:
        return False


def table(answers: dict[tuple[int, str], tuple[int, bool]], names: list[str], of: Callable[[Cell], str]) -> str:
    """Which server takes how many of each kind, age or form."""
    taken: Counter[tuple[str, str]] = Counter()
    total: Counter[str] = Counter()
    for cell in cells():
        total[of(cell)] += 1
        for name in names:
            taken[of(cell), name] += answers[cell.number, name][0] == 200
    lines = [" | ".join(["", "uploads", *names])]
    lines += [" | ".join([row, str(total[row]), *(str(taken[row, name]) for name in names)]) for row in total]
    everything = [str(sum(taken[row, name] for row in total)) for name in names]
    return "\n".join([*lines, " | ".join(["all", str(total.total()), *everything])])


async def compare(commands: Path) -> int:
    """Play the matrix against all; print the tables; return the exit status."""
    answers: dict[tuple[int, str], tuple[int, bool]] = {}
    async with AsyncExitStack() as stack:
        doors = await stack.enter_async_context(ours())
        doors.append(await stack.enter_async_context(devpi(commands)))
        doors.append(await stack.enter_async_context(pypiserver(commands)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for cell in cells():
            for door in doors:
                answers[cell.number, door.name] = await door.take(session, cell)
    names = [door.name for door in doors]
    for of in ("kind", "age", "form"):
        print(table(answers, names, attrgetter(of)), end="\n\n")
    for name in names:
        answered = [answer for (_, of_name), answer in answers.items() if of_name == name]
        unlisted = sum(status == 200 and not seen for status, seen in answered)
        statuses = Counter(status for status, _ in answered)
        print(f"{name}: statuses {json.dumps(dict(sorted(statuses.items())))}, taken but not listed {unlisted}")
    shut = []
    for cell in cells():
        statuses = {name: answers[cell.number, name][0] for name in names}
        if statuses["lenient"] != 200 and statuses["devpi"] == statuses["pypiserver"] == 200:
            shut.append(cell)
    print(f"refused by lenient, taken by both others: {len(shut)}")
    for cell in shut:
        print(f"    {cell.name}{' (dangerous)' if cell.dangerous else ''}")
    return 0 if all(cell.dangerous for cell in shut) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(compare(Path(sys.argv[1]).absolute())))
