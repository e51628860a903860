"""`pkgindex-serve run` as real processes: several workers, TLS, signals, and a service manager."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.commands.supervising import Supervisor
from pkgindex_http.settings import ServerSettings
from pkgindex_mirror.statuses import ask_server
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0

_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


class Running:
    """A server of several processes."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, data: Path, log: Path) -> None:
        self.process = process
        self.url = url
        self.data = data
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, *, context: ssl.SSLContext | None = None, accept: str = "*/*") -> tuple[int, str, bytes]:
        """Status, challenge and body of an answer, over a connection of its own, as root."""
        password = (self.data / "root-password").read_text().strip()
        login = base64.b64encode(f"root:{password}".encode()).decode()
        asked = urllib.request.Request(
            f"{self.url}{path}", headers={"Authorization": f"Basic {login}", "Accept": accept}
        )
        try:
            with urllib.request.urlopen(asked, context=context, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, "", answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("WWW-Authenticate", ""), error.read()

    def workers(self) -> set[str]:
        """The numbers of the workers that tell their counts."""
        return set(re.findall(r'worker="(\d+)"', self.get("/+metrics")[2].decode()))

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in listed.split()]

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@asynccontextmanager
async def running(
    tmp_path: Path, *words: str | Path, env: dict[str, str] | None = None, started: bool = True, inherited: int = -1
) -> AsyncIterator[Running]:
    """`pkgindex-serve run`, ended and reaped. `inherited`: a socket that a service manager hands over."""
    data, log = tmp_path / "data", tmp_path / "server.log"
    command = [sys.executable, "-m", "pkgindex_http", "run", "--data", data, *words]
    if inherited >= 0:
        command = [sys.executable, "-c", _HAND_OVER, inherited, *command]
    else:
        command += ["--port", "0"]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), cwd=ROOT, env={**os.environ, **(env or {})}, stdout=asyncio.subprocess.PIPE,
            stderr=errors, pass_fds=[inherited] if inherited >= 0 else [],
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS) if started else b""
        assert line or not started, log.read_text()
        yield Running(process, line.decode().strip().rstrip("/"), data, log)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def until(holds: Callable[[], object], told: Callable[[], str] = lambda: "") -> None:
    """Wait until something is true. The event loop goes on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(OSError):
            if await asyncio.to_thread(holds):
                return
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(0.05)


class TestWorkers:
    async def test_all_answer_and_each_sees_what_another_took(self, tmp_path: Path):
        async with running(tmp_path, "--workers", "3") as server:
            await until(lambda: server.workers() == {"1", "2", "3"}, lambda: server.log)
            password = (server.data / "root-password").read_text().strip()
            for number in range(5):
                wheel = build_wheel("demo", f"1.{number}")
                login = base64.b64encode(f"root:{password}".encode()).decode()
                asked = urllib.request.Request(
                    f"{server.url}/legacy/",
                    data=encode_form(upload_parts(wheel)),
                    headers={"Authorization": f"Basic {login}", "Content-Type": CONTENT_TYPE.decode()},
                )
                with await asyncio.to_thread(urllib.request.urlopen, asked) as answer:
                    assert answer.status == 200
                pages = await asyncio.gather(*(asyncio.to_thread(server.get, "/simple/demo/") for _ in range(8)))
                assert all(wheel.filename.encode() in body for _, _, body in pages)

    async def test_counts_are_those_of_all(self, tmp_path: Path):
        async with running(tmp_path, "--workers", "2") as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            document = json.loads(server.get("/+metrics", accept="application/json")[2])
            labels = [each["labels"] for each in document["pkgindex_mirror_stored_pages"]]
            assert sorted(labels, key=str) == [
                {"worker": "1", "index": "root/pypi"},
                {"worker": "2", "index": "root/pypi"},
            ]
            password = (server.data / "root-password").read_text().strip()
            status = await ask_server(server.url, f"root:{password}")
            assert [each.index for each in status.mirrors] == ["root/pypi"], "one line for each mirror"

    async def test_one_that_dies_is_started_again(self, tmp_path: Path):
        async with running(tmp_path, "--workers", "2") as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            os.kill(server.children()[0], signal.SIGKILL)
            await until(lambda: "3" in server.workers() and len(server.workers()) == 2, lambda: server.log)
            assert "ended (signal 9), and another one starts" in server.log

    async def test_all_end_with_the_supervisor(self, tmp_path: Path):
        async with running(tmp_path, "--workers", "2") as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            workers = server.children()
            server.process.kill()
            await server.ended()
            await until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))

    async def test_a_stop_answers_requests_under_way(self, tmp_path: Path):
        async with running(tmp_path, "--workers", "2") as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
            await writer.drain()
            await until(lambda: server.get("/+live")[0] == 200)
            server.process.terminate()
            await until(lambda: "stopping: waiting for 1 request" in server.log, lambda: server.log)
            await until(lambda: len(server.children()) == 1)
            with pytest.raises(ConnectionRefusedError):  # a proxy sends the request to another server then
                await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"cd")
            assert (await reader.readline()).startswith(b"HTTP/1.1 4"), "an upload without credentials is refused"
            writer.close()
            assert await server.ended() == 0

    async def test_new_settings_are_read_without_refusing_a_connection(self, tmp_path: Path):
        config = tmp_path / "pkgindex.toml"
        config.write_text("realm = 'before'\nworkers = 2\n")
        async with running(tmp_path, "--config", config) as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            failed: list[OSError] = []
            done = asyncio.Event()

            async def ask_on() -> None:
                while not done.is_set():
                    try:
                        await asyncio.to_thread(server.get, "/+live")
                    except OSError as error:
                        failed.append(error)

            asking = asyncio.create_task(ask_on())
            config.write_text("realm = 'after'\nworkers = 2\n")
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: server.workers() == {"3", "4"}, lambda: server.log)
            done.set()
            await asking
            assert failed == []
            config.write_text("realm = 'bad\n")
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: "the old settings stay in use" in server.log, lambda: server.log)
            assert server.workers() == {"3", "4"}

    async def test_settings_with_which_no_worker_starts_are_given_up(self, tmp_path: Path):
        config = tmp_path / "pkgindex.toml"
        config.write_text("workers = 2\n")
        async with running(tmp_path, "--config", config) as server:
            await until(lambda: server.workers() == {"1", "2"}, lambda: server.log)
            config.write_text("workers = 2\ntls_certificate = '/nowhere.pem'\n")
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: "the old ones stay in use" in server.log, lambda: server.log)
            assert "/nowhere.pem" in server.log
            config.write_text("workers = 1\n")
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: server.workers() and not server.workers() & {"1", "2"}, lambda: server.log)
            assert len(server.workers()) == 1

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (("--store", "memory://"), "each worker would have a store of its own in memory"),
            (("--blobs", "memory://"), "each worker would have a store of its own in memory"),
            (("--tls-key", "/key.pem"), "tls_key is set without tls_certificate"),
            (("--tls-certificate", "/nowhere.pem"), "/nowhere.pem cannot be read"),
            (("--host", "no.such.host.invalid"), "the host name 'no.such.host.invalid' is not known here"),
        ],
    )
    async def test_what_prevents_a_start_is_said_once(self, tmp_path: Path, words: Sequence[str], problem: str):
        async with running(tmp_path, "--workers", "2", *words, started=False) as server:
            assert await server.ended() == 1
            assert server.log.count(problem) == 1, server.log

    def test_a_pause_that_is_over_is_not_waited_for(self):
        """It may end between the look at the clock and the wait, which would else last until the next event."""
        supervisor = Supervisor(ServerSettings(data=Path("unused")), lambda *_: None, ServerSettings)
        supervisor._resume_at = time.monotonic() - 1.0
        waiting = threading.Thread(target=supervisor._wait, args=(None,), daemon=True)
        waiting.start()
        waiting.join(PATIENCE_SECONDS)
        assert not waiting.is_alive()


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    def files(self, tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
        """A new certificate and its key, in the place of older ones."""
        made = authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        return certificate, key

    def serial(self, port: int, context: ssl.SSLContext) -> object:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            found = secure.getpeercert()
            assert found is not None
            return found["serialNumber"]

    @pytest.mark.parametrize("workers", ["1", "2"])
    async def test_a_new_certificate_is_used_and_a_bad_one_is_not(
        self, tmp_path: Path, authority: trustme.CA, workers: str
    ):
        certificate, key = self.files(tmp_path, authority)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        words = ("--workers", workers, "--tls-certificate", certificate, "--tls-key", key)
        async with running(tmp_path, *words) as server:
            assert server.url.startswith("https://127.0.0.1:")
            assert server.get("/+live", context=context)[2].strip() == b"alive"
            assert (
                f"https://127.0.0.1:{server.port}/simple/".encode()
                in server.get("/", context=context, accept="text/html")[2]
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /+live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in await reader.read(), "nothing is answered in plain text"
            writer.close()
            first = self.serial(server.port, context)
            self.files(tmp_path, authority)
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: self.serial(server.port, context) != first, lambda: server.log)
            if workers == "1":
                second = self.serial(server.port, context)
                key.write_text("not a key")
                server.process.send_signal(signal.SIGHUP)
                await until(lambda: "the old one stays in use" in server.log, lambda: server.log)
                assert self.serial(server.port, context) == second


class TestServiceManager:
    @asynccontextmanager
    async def manager(self, tmp_path: Path) -> AsyncIterator[tuple[dict[str, str], Callable[[], Awaitable[str]]]]:
        """A socket for notices; the environment that names it, and what comes next."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.bind(str(tmp_path / "notices"))
            notices.setblocking(False)
            loop = asyncio.get_running_loop()

            async def heard() -> str:
                return (await asyncio.wait_for(loop.sock_recv(notices, 4096), PATIENCE_SECONDS)).decode()

            yield {"NOTIFY_SOCKET": str(tmp_path / "notices")}, heard

    @pytest.mark.parametrize("workers", ["1", "2"])
    async def test_is_told_of_start_reload_and_stop(self, tmp_path: Path, workers: str):
        async with (
            self.manager(tmp_path) as (env, heard),
            running(tmp_path, "--workers", workers, env=env) as server,
        ):
            assert await heard() == "READY=1"
            assert server.get("/+live")[0] == 200
            server.process.send_signal(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", await heard())
            assert await heard() == "READY=1"
            server.process.terminate()
            assert await heard() == "STOPPING=1"
            assert await server.ended() == 0

    @pytest.mark.parametrize("workers", ["1", "2"])
    async def test_gets_signs_of_life(self, tmp_path: Path, workers: str):
        async with self.manager(tmp_path) as (env, heard):
            env["WATCHDOG_USEC"] = "200000"
            async with running(tmp_path, "--workers", workers, env=env):
                while await heard() != "READY=1":
                    pass
                assert [await heard() for _ in range(3)] == ["WATCHDOG=1"] * 3

    @pytest.mark.parametrize("workers", ["1", "2"])
    async def test_hands_over_a_socket(self, tmp_path: Path, workers: str):
        with socket.create_server(("127.0.0.1", 0)) as handed:
            port = handed.getsockname()[1]
            async with running(tmp_path, "--workers", workers, inherited=handed.fileno()) as server:
                assert server.port == port
                assert server.get("/+live")[0] == 200

    async def test_hands_over_what_is_no_socket(self, tmp_path: Path):
        with (tmp_path / "file").open("w") as handed:
            async with running(tmp_path, inherited=handed.fileno(), started=False) as server:
                assert await server.ended() == 1
                assert "descriptor 3, which is no TCP socket" in server.log


async def test_a_graceful_stop_writes_the_counts_of_all_workers(tmp_path: Path) -> None:
    """Downloads through several connections of two workers add up, and none of them is lost."""
    wheel = build_wheel("demo", "1.0")
    async with running(tmp_path, "--workers", "2") as server:
        await asyncio.to_thread(_publish, server, wheel)
        path = f"/root/dev/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
        for _ in range(12):
            status, _, body = await asyncio.to_thread(server.get, path)
            assert (status, body) == (200, wheel.data)
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
    async with Engine.open(Settings(data=tmp_path / "data"), mirrors=False) as engine:
        days = await engine.activity.days(IndexName("root/dev"), "demo")
    assert [(day.downloads, day.uploads) for day in days.values()] == [(12, 1)]


def _publish(server: Running, wheel: BuiltFile) -> None:
    """Upload a file as root."""
    password = (server.data / "root-password").read_text().strip()
    headers = {
        "Authorization": f"Basic {base64.b64encode(f'root:{password}'.encode()).decode()}",
        "Content-Type": CONTENT_TYPE.decode(),
    }
    asked = urllib.request.Request(
        f"{server.url}/root/dev/", data=encode_form(upload_parts(wheel)), headers=headers, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status == 200
