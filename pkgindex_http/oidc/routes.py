"""The routes of trusted publishing, which twine and `uv publish` ask at the host of the upload URL, for any path of it.

    GET  /_/oidc/audience      {"audience": "pkgindex"}
    POST /_/oidc/mint-token    {"token": JWT} -> {"success": true, "token": "pkgi_…", "expires": seconds since 1970}
    POST /_/oidc/burn-token    {"token": "pkgi_…"}: uv ends its token after the uploads

The answers are PyPI's. An error is JSON with `message` and `errors`, which both clients print, whatever `Accept` says.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Missing, PkgIndexError, Unavailable
from pkgindex_core.tokens import parse_token
from pkgindex_http.errors import retry_headers, status_of
from pkgindex_http.oidc.minting import TokenRefused
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply, json_reply

_MOST_BYTES: Final = 64 * 1024
_HEADERS: Final = {"Cache-Control": "no-store"}


class _MintQuestion(Struct, frozen=True):
    token: str
    index: str = ""


async def audience(ask: Ask) -> Reply:
    """The audience that tokens of issuers must have."""
    if not ask.minting.is_enabled:
        return json_reply({"message": "trusted publishing is not set up on this server"}, status=403, headers=_HEADERS)
    return json_reply({"audience": ask.minting.audience}, headers=_HEADERS)


async def mint(ask: Ask) -> Reply:
    """Exchange the token of an issuer."""
    try:
        question = await read_json(ask.request, _MintQuestion, limit=_MOST_BYTES)
        minted = await ask.minting.mint(question.token, question.index)
    except TokenRefused as error:
        return _failed(error, error.code, 422)
    except Unavailable as error:
        return _failed(error, "unavailable", 503)
    except PkgIndexError as error:
        return _failed(error, "invalid-payload", 422 if status_of(error) == 400 else status_of(error))
    expires = (minted.token.expires or 0) // 1_000_000
    return json_reply({"success": True, "token": minted.text, "expires": expires}, headers=_HEADERS)


async def burn(ask: Ask) -> Reply:
    """End a token that was minted here. The token itself is the permission."""
    question = await read_json(ask.request, _MintQuestion, limit=_MOST_BYTES)
    text = parse_token(question.token)
    token = await ask.engine.store.token(text.id) if text is not None else None
    if text is None or token is None or token.kind != "publish" or token.secret_sha256 != text.secret_sha256:
        raise Missing("token", "of trusted publishing", hint="it has ended already, or was not minted here")
    await ask.engine.tokens.revoke(token.id, who=f"[{token.publisher}]")
    return json_reply({"success": True}, headers=_HEADERS)


def _failed(error: PkgIndexError, code: str, status: int) -> Reply:
    description = f"{error.message}. {error.hint}" if error.hint else error.message
    document = {"message": "Token request failed", "errors": [{"code": code, "description": description}]}
    return json_reply(document, status=status, headers={**_HEADERS, **retry_headers(error)})
