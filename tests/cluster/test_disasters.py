"""Clients upload and install through nginx while servers die, connections to the database end, the object store restarts, and the database fails over.

No upload that was acknowledged is lost, and nobody ever gets other bytes. twine and uv are the real ones; other clients send the same requests
faster. `PKGINDEX_TEST_DISASTERS=10` says how many rounds of disasters there are (see tests/README.md).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.clients.running import executable, run
from tests.cluster.installation import Installation, installation
from tests.conftest import Tally
from tests.crash.oracle import JSON, file_path, upload_request
from tests.crash.processes import Starter
from tests.database_server import programs
from tests.http.conftest import PASSWORD
from tests.http.wire import RawAnswer, RawRequest, ask_raw

pytestmark = pytest.mark.clients

ROUNDS = int(os.environ.get("PKGINDEX_TEST_DISASTERS", "1"))
UPLOADERS = 3
READERS = 2
_BEFORE_NEXT = 3
"""Uploads that are acknowledged between two disasters."""


class Clients:
    """The uploads of the clients, and the answers that they got."""

    def __init__(self, whole: Installation, place: Path, dice: random.Random) -> None:
        self.acknowledged: list[BuiltFile] = []
        self.counts: Counter[str] = Counter()
        self.is_over = asyncio.Event()
        self._whole = whole
        self._place = place
        self._dice = dice

    async def upload(self, name: str, kind: str, send: Callable[[BuiltFile], Awaitable[bool]]) -> None:
        """Upload files of a project, one after the other. Each is sent again until it is acknowledged."""
        for number in itertools.count():
            if self.is_over.is_set():
                return
            content = self._dice.randbytes(self._dice.choice([100, 10_000, 300_000]))
            built = build_wheel(name, f"{number}", files={f"{name}.bin": content}, stored=True)
            while not await send(built):
                self.counts[f"uploads by {kind} that were sent again"] += 1
                await asyncio.sleep(0.2)
            self.acknowledged.append(built)
            self.counts[f"uploads by {kind}"] += 1

    async def twine(self, built: BuiltFile) -> bool:
        """Upload with twine."""
        return await self._publish(
            built, executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
            f"{self._whole.url}/legacy/", "-u", "root", "-p", PASSWORD,
        )  # fmt: skip

    async def uv(self, built: BuiltFile) -> bool:
        """Upload with uv."""
        return await self._publish(
            built, executable("uv"), "publish", "--no-cache", "--publish-url", f"{self._whole.url}/legacy/",
            "-u", "root", "-p", PASSWORD,
        )  # fmt: skip

    async def _publish(self, built: BuiltFile, *command: str | Path) -> bool:
        path = self._place / built.filename
        path.write_bytes(built.data)
        ran = await run(*command, path, env={"HOME": str(self._place)})
        path.unlink()
        assert "already exists" not in ran.output, "the same bytes are taken again"
        return ran.status == 0

    async def raw(self, built: BuiltFile) -> bool:
        """Upload without a program."""
        answer = await self._ask(upload_request(built))
        assert answer is None or answer.status == 200 or answer.status >= 500, answer
        return answer is not None and answer.status == 200

    async def install(self) -> None:
        """Install files with uv, one after the other: what was acknowledged can be installed."""
        while not self.is_over.is_set():
            if not self.acknowledged:
                await asyncio.sleep(0.1)
                continue
            built = self._dice.choice(self.acknowledged)
            while not await self._installed(built):
                self.counts["installations by uv that were tried again"] += 1
                await asyncio.sleep(0.2)
            self.counts["installations by uv"] += 1

    async def _installed(self, built: BuiltFile) -> bool:
        name, version, _ = built.filename.split("-", 2)
        target = self._place / "target"
        ran = await run(
            executable("uv"), "pip", "install", "--no-cache", "--python", sys.executable, "--target", target,
            "--default-index", f"{self._whole.url}/simple/", f"{name}=={version}", env={"HOME": str(self._place)},
        )  # fmt: skip
        if ran.status:
            assert "no version of" not in ran.output, f"{built.filename} was acknowledged\n{ran.output}"
            assert "ash mismatch" not in ran.output, ran.output
            return False
        assert (target / f"{name}.bin").read_bytes() in built.data, "wrong bytes"
        shutil.rmtree(target)
        return True

    async def read(self) -> None:
        """Read pages and files of what was acknowledged."""
        while not self.is_over.is_set():
            await asyncio.sleep(0.02)
            if self.acknowledged:
                await self.see(self._dice.choice(self.acknowledged), self._whole.address)

    async def see_all(self, address: tuple[str, int]) -> None:
        """Read at one server what any server has acknowledged."""
        for built in self.acknowledged:
            await self.see(built, address)

    async def see(self, built: BuiltFile, address: tuple[str, int]) -> None:
        """Read the page of a file, the file and its metadata, each again until there is an answer."""
        page = await self._read(f"/simple/{built.filename.split('-')[0]}/", address)
        assert built.sha256.encode() in page, f"{built.filename} was acknowledged, and is on no page"
        assert await self._read(file_path(built), address) == built.data, "wrong bytes"
        assert await self._read(f"{file_path(built)}.metadata", address) == built.metadata, "wrong bytes"

    async def _read(self, path: str, address: tuple[str, int]) -> bytes:
        lines = tuple(f"{name}: {value}".encode() for name, value in JSON.items())
        while True:
            answer = await self._ask(RawRequest("GET", path.encode(), lines).encode(), address)
            if answer is not None and answer.status == 200:
                self.counts["pages and files read"] += 1
                return answer.body
            assert answer is None or answer.status >= 500, f"{path}: {answer}"
            self.counts["pages and files that were asked for again"] += 1
            await asyncio.sleep(0.2)

    async def _ask(self, request: bytes, address: tuple[str, int] | None = None) -> RawAnswer | None:
        try:
            return await ask_raw(address or self._whole.address, request)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


@pytest.mark.timeout(240 + 90 * ROUNDS)
async def test_no_acknowledged_upload_is_lost_in_any_disaster(
    starter: Starter, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    dice = random.Random(ROUNDS)
    async with installation(found, starter, tmp_path, monkeypatch.setenv) as whole:
        clients = Clients(whole, tmp_path, dice)
        working = [
            clients.upload("twine", "twine", clients.twine),
            clients.upload("uv", "uv", clients.uv),
            *(clients.upload(f"raw{number}", "other clients", clients.raw) for number in range(UPLOADERS)),
            *(clients.read() for _ in range(READERS)),
            clients.install(),
        ]
        disasters: dict[str, Callable[[], Awaitable[None]]] = {
            "kills of a server": lambda: whole.kill_server(dice.randrange(len(whole.servers))),
            "ends of all connections to the database": whole.end_backends,
            "kills of the object store": whole.restart_objects,
            "failovers of the database": whole.fail_over,
        }
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for work in working:
                group.create_task(work)
            for turn in range(ROUNDS):
                names = dice.sample(list(disasters), len(disasters))
                for several in (names,) if turn % 2 else ([name] for name in names):
                    await _more_uploads(clients)
                    print(f"{time.monotonic() - began:7.1f} s", *several, dict(clients.counts), sep=", ")
                    await asyncio.gather(*(disasters[name]() for name in several))
                    clients.counts.update(several)
            await _more_uploads(clients)
            clients.is_over.set()
        print(f"{time.monotonic() - began:7.1f} s, everything is read at each server")
        await asyncio.gather(*(clients.see_all(server.address) for server in whole.servers))
        assert whole.database.sql("SELECT count(*) FROM files", "cluster") == [[str(len(clients.acknowledged) + 1)]]
    for what, count in clients.counts.items():
        tally(what, count)
    tally(
        "uploads acknowledged in disasters, 0 lost, 0 with wrong bytes, at each of three servers",
        len(clients.acknowledged),
    )


async def _more_uploads(clients: Clients) -> None:
    """Wait until the installation takes uploads again."""
    before = len(clients.acknowledged)
    while len(clients.acknowledged) < before + _BEFORE_NEXT:
        await asyncio.sleep(0.05)
