"""Real uv and twine publish with trusted publishing: they get a token of the issuer, exchange it here, and upload with that."""

from __future__ import annotations

import ssl
import sys
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
    """twine 7 asks by itself only at PyPI. Its own exchange is called for another URL here, and `twine upload` uses the token."""
    exchange = (
        "import sys; from twine.auth import CredentialInput, Resolver;"
        "print(Resolver({'repository': sys.argv[1]}, CredentialInput()).make_trusted_publishing_token())"
    )
    async with oidc_issuer() as issuer:
        issuers: dict[str, Any] = {"github": {"url": issuer.url, "shape": "github"}}
        async with serve(issuers=issuers) as served:
            await served.index(HOSTED, volatile=False, options={OPTION: [LINE]})
            port = await listening(served.server, authority)
            url = f"https://localhost:{port}/legacy/"
            environment = {**issuer.environment, "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")}
            got = await run(sys.executable, "-c", exchange, url, env=environment)
            assert got.status == 0, got.output
            token = got.output.split()[-1]
            words = ("upload", "--non-interactive", "--repository-url", url, wheel)
            secret = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token}
            done = await run(executable("twine"), *words, env={**environment, **secret})
            assert done.status == 0, done.output
            assert "github:octo/demo//release.yml#pypi refs/tags/v1.0" in await author(served)
            # Another repository: twine prints the code and the description.
            issuer.claims["repository_id"] = "999"
            refused = await run(sys.executable, "-c", exchange, url, env=environment)
            assert refused.status != 0
            assert "`invalid-publisher`" in refused.output
            assert "repository_id: expected 1296269, found 999" in refused.output


async def listening(server: Server, authority: trustme.CA) -> int:
    """Let the server listen at another port, with TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    sockets = bound("localhost", 0)
    await server.listen(sockets, tls=tls)
    return int(sockets[0].getsockname()[1])
