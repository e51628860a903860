"""twine, uv and pip with a server of two processes that speaks HTTPS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_packages_are_published_and_installed(
    tmp_path: Path, upstream: ScriptedUpstream, installers: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    trusted, files = tmp_path / "authority.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(trusted)
    made.private_key_and_cert_chain_pem.write_to_path(files)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))  # for uv
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))  # for twine; a machine's own value would win over --cert
    server = ServerProcess(
        tmp_path / "data", upstream.url, "--workers", "2", "--tls-certificate", str(files), scheme="https"
    )
    await server.start()
    try:
        wheel = build_wheel("acme-demo", "1.0", files={"acme_demo/large.bin": os.urandom(3_000_000)})
        (tmp_path / wheel.filename).write_bytes(wheel.data)
        sent = await run(
            executable("twine"), "upload", "--non-interactive", "--cert", trusted, "--repository-url", f"{server.url}/legacy/",
            "-u", "root", "-p", server.password, tmp_path / wheel.filename,
        )  # fmt: skip
        assert sent.status == 0, sent.output
        for client in installers.names:
            words = () if client == "uv" else ("--cert", trusted)
            ran, found = await installers.install(client, f"{server.url}/simple/", "acme-demo", *words)
            assert (ran.status, found) == (0, ["acme_demo-1.0"]), ran.output
    finally:
        assert await server.stop() == 0
