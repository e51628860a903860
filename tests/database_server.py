"""A real PostgreSQL server for tests, and PgBouncer before it: processes on loopback, of the packages of the system.

PostgreSQL does not run as root, so as root it runs as its own user, in a directory of its own below the system's directory for temporary files.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.object_stores import free_ports

_START_SECONDS = 60


def programs() -> Path | None:
    """The directory of the newest installed server; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parents[1].name))
    if found:
        return found[-1].parent
    path = shutil.which("postgres")
    return Path(path).resolve().parent if path else None


class DatabaseServer:
    """A server with an empty database `postgres`. Any user may log in as `postgres`, without a password."""

    def __init__(
        self, bin_directory: Path, *, primary: DatabaseServer | None = None, port: int = 0, is_durable: bool = False
    ) -> None:
        """An empty server, or a standby of another one. No test cuts the power, so it synchronises nothing unless it has to be durable."""
        self.bin = bin_directory
        self.place = Path(tempfile.mkdtemp(prefix="pkgindex-postgresql-"))
        self.user = _runs_as()
        if self.user:
            shutil.chown(self.place, self.user)
        self.port = port or free_ports(1)[0]
        data = self.place / "data"
        if primary is None:
            self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        else:
            self._run("pg_basebackup", "-D", data, "-d", primary.url(), "-R", "-c", "fast", "--no-sync")
        settings = (
            f"port = {self.port}",
            "listen_addresses = '127.0.0.1'",
            f"unix_socket_directories = '{self.place}'",
            "max_connections = 200",
            "shared_buffers = 64MB",
            "log_min_messages = fatal",
            f"fsync = {'on' if is_durable else 'off'}",
        )
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(settings) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", **options: str) -> str:
        told = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}" + (f"?{told}" if told else "")

    def start(self) -> None:
        with (self.place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.place / "data"],
                stdout=log,
                stderr=log,
                user=self.user,
                cwd=self.place,
            )
        deadline = time.monotonic() + _START_SECONDS
        ready: Sequence[str | Path] = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL does not start:\n" + (self.place / "log").read_text())
            time.sleep(0.05)

    def standby(self, port: int = 0) -> DatabaseServer:
        """A standby that runs, for which each commit waits from now on."""
        one = DatabaseServer(self.bin, primary=self, port=port)
        one.start()
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        return one

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends all sessions first, SIGQUIT nothing, as when the machine fails."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.place, ignore_errors=True)

    def sql(self, text: str, database: str = "postgres") -> list[list[str]]:
        """Run SQL with psql; the rows, as texts."""
        command = [
            self.bin / "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-F",
            "\t",
            "-d",
            self.url(database),
            "-c",
            text,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            user=self.user,
            cwd=self.place,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")


class Pooler:
    """PgBouncer in transaction mode, with few connections to the server, so that clients share them."""

    def __init__(self, server: DatabaseServer, program: str) -> None:
        (self.port,) = free_ports(1)
        self._place = Path(tempfile.mkdtemp(prefix="pkgindex-pgbouncer-"))
        if server.user:
            shutil.chown(self._place, server.user)
        settings = self._place / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nlogfile = {self._place}/log\n"
            "ignore_startup_parameters = extra_float_digits\nserver_login_retry = 0.1\n"
        )
        self._process = subprocess.Popen(
            [program, "-q", settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=server.user,
            cwd=self._place,
        )

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def remove(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._place, ignore_errors=True)


def pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _runs_as() -> str | None:
    """The user of the server, as root; None: this user."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
