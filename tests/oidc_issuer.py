"""An OIDC issuer on loopback: a discovery document, keys, and tokens that are really signed. Its token endpoint is GitHub's.

GitHub itself cannot vouch for a test, so this stands in for it: everything but the account behind the claims is real.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

GITHUB_CLAIMS: dict[str, Any] = {
    # The form of subjects since July 2026, with ids.
    "sub": "repo:octo@583231/demo@1296269:environment:pypi",
    "repository": "octo/demo",
    "repository_id": "1296269",
    "repository_owner": "octo",
    "repository_owner_id": "583231",
    "job_workflow_ref": "octo/demo/.github/workflows/release.yml@refs/tags/v1.0",
    "workflow_ref": "octo/demo/.github/workflows/release.yml@refs/tags/v1.0",
    "environment": "pypi",
    "ref": "refs/tags/v1.0",
    "sha": "0123456789abcdef0123456789abcdef01234567",
}


class OidcIssuer:
    """A running issuer. `claims` are those of the tokens that its endpoint gives."""

    def __init__(self, claims: dict[str, Any] | None = None) -> None:
        self.claims = {**GITHUB_CLAIMS} if claims is None else claims
        self.url = ""
        self.asked: list[str] = []
        self.is_down = False
        self.jwks_uri = ""
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is not published any more."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = uuid.uuid4().hex

    def token(
        self, *, key: Any = None, headers: dict[str, Any] | None = None, algorithm: str = "RS256", **claims: Any
    ) -> str:
        """A signed token; a claim of None is left out."""
        now = int(time.time())
        given = {
            "iss": self.url, "aud": "pkgindex", "iat": now, "nbf": now, "exp": now + 300, "jti": uuid.uuid4().hex,
            **self.claims, **claims,
        }  # fmt: skip
        payload = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(
            payload, key or self.key, algorithm=algorithm, headers={"kid": self.key_id, **(headers or {})}
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a job at GitHub has."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?x=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner",
        }

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.is_down:
            return web.Response(status=500)
        if request.path == "/.well-known/openid-configuration":
            document: Any = {"issuer": self.url, "jwks_uri": self.jwks_uri or f"{self.url}/keys"}
        elif request.path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            document = {"keys": [{**key, "kid": self.key_id, "use": "sig", "alg": "RS256"}]}
        elif request.path == "/token":
            document = {"value": self.token(aud=request.query["audience"])}
        else:
            return web.Response(status=404)
        return web.json_response(document)


@asynccontextmanager
async def oidc_issuer(claims: dict[str, Any] | None = None) -> AsyncIterator[OidcIssuer]:
    """Run an issuer."""
    issuer = OidcIssuer(claims)
    runner = web.ServerRunner(web.Server(issuer._answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
