"""Real uv and twine publish with trusted publishing: they get a token of the issuer, exchange it here, and upload with that."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from pkgindex_core.models import Serial
from pkgindex_core.rules.trusted_publishers import OPTION
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.listening.sockets import bound
from pkgindex_http.server import Server
from tests.clients.running import executable, run
from tests.http.conftest import HOSTED, Serve, Served
from tests.leading_proxy import leading_to
from tests.oidc_issuer import oidc_issuer

LINE = "demo github:octo/demo//release.yml#pypi"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    built = build_wheel("demo", "1.0")
    path = tmp_path / built.filename
    path.write_bytes(built.data)
    return path


async def author(served: Served) -> str:
    """The author of the newest upload."""
    head = await served.engine.store.head()
    commits = await served.engine.store.commits(Serial(0), limit=head)
    return next(each.who for each in reversed(commits) if type(each.changes[0]).__name__ == "PutFile")


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Both clients ask for trusted publishing over https only."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.mark.parametrize("path", ["/legacy/", "/root/dev/"])
async def test_uv_publishes(serve: Serve, wheel: Path, tmp_path: Path, authority: trustme.CA, path: str) -> None:
    async with oidc_issuer() as issuer:
        issuers: dict[str, Any] = {"github": {"url": issuer.url, "shape": "github"}}
        async with serve(issuers=issuers) as served:
            await served.index(HOSTED, volatile=False, options={OPTION: [LINE]})
            port = await listening(served.server, authority)
            url = f"https://localhost:{port}{path}"
            words = ("publish", "--trusted-publishing", "always", "--publish-url", url, wheel)
            environment = {**issuer.environment, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
            done = await run(executable("uv"), *words, env=environment)
            assert done.status == 0, done.output
            assert "github:octo/demo//release.yml#pypi refs/tags/v1.0" in await author(served)
            assert not [
                each for each in await served.engine.store.tokens("root") if each.kind == "publish"
            ]  # uv ends it
            # Another repository: uv prints what was expected and what was found.
            issuer.claims["repository_id"] = "999"
            refused = await run(executable("uv"), *words, env=environment)
            assert refused.status != 0
            assert "repository_id: expected 1296269, found 999" in refused.output


async def test_twine_publishes(serve: Serve, wheel: Path, tmp_path: Path, authority: trustme.CA) -> None:
    """twine 7 asks for trusted publishing at PyPI's host only, so a proxy leads it from there to this server."""
    async with oidc_issuer() as issuer:
        issuers: dict[str, Any] = {"github": {"url": issuer.url, "shape": "github"}}
        async with serve(issuers=issuers) as served:
            await served.index(HOSTED, volatile=False, options={OPTION: [LINE]})
            port = await listening(served.server, authority, "upload.pypi.org")
            async with leading_to(port) as proxy:
                trust = {"REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem"), "HTTPS_PROXY": proxy}
                words = ("upload", "--non-interactive", "--config-file", os.devnull, wheel)
                done = await run(executable("twine"), *words, env={**issuer.environment, **trust})
                assert done.status == 0, done.output
                assert "github:octo/demo//release.yml#pypi refs/tags/v1.0" in await author(served)
                # Another repository: twine prints the code and the description.
                issuer.claims["repository_id"] = "999"
                refused = await run(executable("twine"), *words, env={**issuer.environment, **trust})
            assert refused.status != 0
            assert "`invalid-publisher`" in refused.output
            assert "repository_id: expected 1296269, found 999" in refused.output


async def listening(server: Server, authority: trustme.CA, name: str = "localhost") -> int:
    """Let the server listen at another port, with TLS under a name."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(tls)
    sockets = bound("localhost", 0)
    await server.listen(sockets, tls=tls)
    return int(sockets[0].getsockname()[1])
