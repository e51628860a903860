"""Exchanges the token of an issuer (a JWT) for one that may upload to one index for some minutes.

    JWT -> a configured issuer? -> signature, audience, times -> fits a trusted publisher? -> never used before? -> token

The token may upload to the index that names the publisher, and to the projects of the lines that fit. It is stamped with the publisher, the ref
and the commit, which every commit of its uploads carries. Errors tell the claims that do not fit, expected and found; the JWT itself is
never logged, and neither is the token.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import Change, IndexIs, PutIndex
from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.models import IndexConfig, Token, Tree
from pkgindex_core.names import owner
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.trusted_publishers import (
    OPTION,
    SUBJECTS,
    Mismatch,
    TrustedPublisher,
    fitting,
    pinned,
    published_by,
    publishers_of,
    stamp_of,
)
from pkgindex_core.tools.committing import until_committed
from pkgindex_http.oidc.configured import Issuer
from pkgindex_http.oidc.keys import IssuerKeys

KIND: Final = "oidc-used"
"""The kind of the notes about tokens of issuers that were used."""
TOKEN_SECONDS: Final = 900
LEEWAY: Final = 30
"""Seconds by which the clocks of an issuer and of this server may differ."""
_LONGEST: Final = 86_400
"""The most seconds between issue and end of a token of an issuer."""
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with public keys. A token with another one, or `none`, is refused whatever its issuer says."""
_TOLD: Final = 5

_log = logging.getLogger(__name__)


class TokenRefused(PkgIndexError):
    """The token of an issuer is refused. `code` is one of PyPI's words."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Minted(Struct, frozen=True):
    """A new token."""

    text: str
    token: Token


class Minting:
    """Mints tokens. `issuers` by name; none: trusted publishing is off."""

    def __init__(self, engine: Engine, issuers: Mapping[str, Issuer], *, audience: str) -> None:
        self._engine = engine
        self._by_url = {each.url: each for each in issuers.values()}
        self._keys = IssuerKeys(engine.clock)
        self.audience = audience

    @property
    def is_enabled(self) -> bool:
        return bool(self._by_url)

    async def mint(self, text: str, index: str = "") -> Minted:
        """Exchange a token. `index`: the index to upload to, where the publisher is one of several.

        Raises `TokenRefused`, and `Unavailable` when the issuer or the store cannot be asked.
        """
        if not self.is_enabled:
            raise TokenRefused(
                "not-enabled",
                "trusted publishing is not set up on this server",
                hint="the operator configures [issuers]",
            )
        issuer, claims = await self._verified(text)

        async def attempt(turn: int) -> Minted:
            tree = await self._engine.store.tree()
            config, lines = _chosen(tree, issuer, claims, index)
            if not turn:
                await self._use_once(text, issuer, claims)
            return await self._stored(config, lines, issuer, claims)

        minted = await until_committed(attempt, "the publishers of the index change all the time")
        _log.info(
            "token %s for %s of %s (%s)",
            minted.token.id,
            minted.token.projects,
            minted.token.indexes,
            minted.token.publisher,
        )
        return minted

    async def _verified(self, text: str) -> tuple[Issuer, dict[str, Any]]:
        """The issuer of a token and its claims, after all checks that are not about publishers."""
        try:
            import jwt
        except ModuleNotFoundError as error:
            raise Unavailable(
                "trusted publishing needs the package PyJWT", retry_after=None, hint="install the extra `oidc`"
            ) from error
        try:
            head = jwt.get_unverified_header(text)
            said = jwt.decode(text, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise TokenRefused("invalid-payload", "the token is no JWT") from error
        found = said.get("iss")
        issuer = self._by_url.get(found) if isinstance(found, str) else None
        if issuer is None:
            raise TokenRefused(
                "invalid-token",
                f"the issuer is not known: expected {' or '.join(sorted(self._by_url))}, found {str(found)[:200]!r}",
            )
        algorithm, key_id = head.get("alg"), head.get("kid")
        if algorithm not in _ALGORITHMS:
            raise TokenRefused(
                "invalid-token", f"alg: expected {', '.join(_ALGORITHMS)}, found {str(algorithm)[:40]!r}"
            )
        key = await self._keys.key(issuer, str(key_id))
        if key is None:
            raise TokenRefused("invalid-token", f"kid: the issuer {issuer.name} has no key {str(key_id)[:100]!r}")
        if key.get("alg", algorithm) != algorithm:
            raise TokenRefused("invalid-token", f"alg: expected {key['alg']}, found {algorithm}")
        return issuer, self._checked(text, issuer, key, algorithm, said)

    def _checked(
        self, text: str, issuer: Issuer, key: Mapping[str, Any], algorithm: str, said: Mapping[str, Any]
    ) -> dict[str, Any]:
        import jwt

        now = self._engine.clock.now() / 1_000_000
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                jwt.PyJWK(dict(key), algorithm),
                algorithms=[algorithm],
                audience=self.audience,
                issuer=issuer.url,
                # The times are compared with the clock of the engine below.
                options={
                    "require": ["aud", "iss", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            times = {name: float(claims[name]) for name in ("iat", "nbf", "exp") if name in claims}
        except jwt.InvalidAudienceError as error:
            raise TokenRefused(
                "invalid-token", f"aud: expected {self.audience!r}, found {str(said.get('aud'))[:200]!r}"
            ) from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenRefused("invalid-token", f"the token does not hold: {str(error)[:200]}") from error
        if times["exp"] <= now - LEEWAY:
            raise TokenRefused("invalid-token", f"exp: the token has ended {now - times['exp']:.0f} s ago")
        if max(times["iat"], times.get("nbf", 0.0)) > now + LEEWAY:
            raise TokenRefused("invalid-token", "iat: the token is of the future; compare the clocks of both machines")
        if times["exp"] - times["iat"] > _LONGEST:
            raise TokenRefused("invalid-token", f"exp: the token is valid for more than {_LONGEST} s")
        return claims

    async def _use_once(self, text: str, issuer: Issuer, claims: Mapping[str, Any]) -> None:
        """Note that a token is used; refuse it if it was. Of several servers over a store, one takes it."""
        mark = str(claims.get("jti") or hashlib.sha256(text.encode()).hexdigest())
        key = hashlib.sha256(f"{issuer.url}\0{mark}".encode()).hexdigest()
        left = float(claims["exp"]) - self._engine.clock.now() / 1_000_000 + 2 * LEEWAY
        if await self._engine.store.put_note(KIND, key, b"", seconds=max(left, 1.0), expected=0) is None:
            raise TokenRefused(
                "invalid-reuse-token", "jti: the token was used already", hint="every run gets a token of its own"
            )

    async def _stored(
        self, config: IndexConfig, lines: list[TrustedPublisher], issuer: Issuer, claims: Mapping[str, Any]
    ) -> Minted:
        """Store the token, and pin the ids of the publishers in the same commit."""
        pins = {str(line): str(pinned(line, issuer.shape, claims)) for line in lines}
        kept = [pins.get(line, line) for line in config.options.get(OPTION, ())]
        changes: list[Change] = []
        if kept != [*config.options.get(OPTION, ())]:
            changes.append(PutIndex(replace(config, options={**config.options, OPTION: kept})))
        text, token = await self._engine.tokens.make_for_publisher(
            owner(config.name),
            index=config.name,
            projects=tuple(dict.fromkeys(line.project for line in lines)),
            publisher=str(published_by(lines[0], issuer.shape, claims)),
            stamp=stamp_of(claims),
            action=Action.UPLOAD,
            seconds=TOKEN_SECONDS,
            beside=changes,
            require=[IndexIs(config)],
        )
        return Minted(text, token)


def _chosen(
    tree: Tree, issuer: Issuer, claims: Mapping[str, Any], wanted: str
) -> tuple[IndexConfig, list[TrustedPublisher]]:
    """The index that names the publisher of a token, and the lines that fit."""
    found: list[tuple[IndexConfig, list[TrustedPublisher]]] = []
    told: list[str] = []
    for config in tree.indexes.values():
        if OPTION not in config.options or (wanted and config.name != wanted):
            continue
        fits, others = fitting(publishers_of(config), issuer.name, issuer.shape, issuer.url, claims)
        if fits:
            found.append((config, fits))
        told += [
            f"{line.project} of {config.name}: {'; '.join(map(str, wrong))}"
            for line, wrong in others
            if _may_be_told(config, issuer, wrong)
        ]
    if not found:
        # The nearest publishers first: those of which the fewest claims do not fit.
        told.sort(key=lambda text: text.count("expected"))
        said = " | ".join(told[:_TOLD]) or f"no public index trusts a publisher of the issuer {issuer.name}"
        raise TokenRefused(
            "invalid-publisher", f"no trusted publisher fits the token. {said}", hint="pkgindex-serve publisher list"
        )
    if len(found) > 1:
        raise TokenRefused(
            "invalid-publisher",
            f"the token fits publishers of several indexes: {', '.join(config.name for config, _ in found)}",
            hint='give each index an environment of its own, or send the index in the body: {"token": …, "index": "user/index"}',
        )
    return found[0]


def _may_be_told(config: IndexConfig, issuer: Issuer, wrong: Sequence[Mismatch]) -> bool:
    """Whether the holder of any token of an issuer may learn what a line expects: everybody has tokens of a public issuer."""
    is_public = permits(Principal(), Action.READ, index=config, some_project=True).allowed
    is_its_own = issuer.shape != "generic" and not any(each.claim in SUBJECTS for each in wrong)
    return is_public or is_its_own
