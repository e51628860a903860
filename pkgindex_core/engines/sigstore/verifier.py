"""Checks attestations against Sigstore's public root of trust, or that of the operator. Asks no network.

The root that the sigstore package brings is the default. A certificate is judged by the time of its entry in the transparency log, so old
attestations stay valid. The publisher is read from the claims of the certificate (Fulcio's OIDs 1.3.6.1.4.1.57264.1.8 to .18).
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.errors import Refused
from pkgindex_core.formats.publishers import GITHUB, GITLAB, GOOGLE, PublisherIdentity
from pkgindex_core.protocols.attestations import AttestationSigner, AttestationVerifier

_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_ISSUER, _REPOSITORY, _COMMIT, _REF, _CONFIG = (_FULCIO + part for part in ("8", "12", "13", "14", "18"))
_ISSUERS: Final = {
    "https://token.actions.githubusercontent.com": GITHUB,
    "https://gitlab.com": GITLAB,
    "https://accounts.google.com": GOOGLE,
}
_PLACES: Final = {GITHUB: "https://github.com/", GITLAB: "https://gitlab.com/"}
_WORKFLOWS: Final = {
    GITHUB: re.compile(r"/\.github/workflows/([^@]+)@.*", re.DOTALL),
    GITLAB: re.compile(r"//([^@]+)@.*", re.DOTALL),
}
_SHOWN: Final = 300


def is_installed() -> bool:
    """Whether the packages of the extra are there."""
    return find_spec("pypi_attestations") is not None and find_spec("sigstore") is not None


class SigstoreVerifier:
    """Checks signatures. `trusted_root`: a file `trusted_root.json`; None: the one in the sigstore package."""

    def __init__(self, trusted_root: Path | None = None) -> None:
        self._trusted_root = trusted_root
        self._verifier: Any = None
        self._making = Lock()

    def verify(self, attestation: bytes) -> AttestationSigner:
        from pydantic import ValidationError
        from pypi_attestations import Attestation as Model
        from pypi_attestations import AttestationError
        from sigstore.errors import Error

        try:
            model = Model.model_validate_json(attestation)
            self._made().verify_dsse(model.to_bundle(), _Anybody())
            claims = model.certificate_claims
        except (ValidationError, AttestationError, Error, ValueError) as error:
            raise Refused(
                f"the signature of the attestation does not hold: {_line(error)}",
                hint="attest the file again; the root of trust is Sigstore's, or the one of the setting trusted_root",
            ) from error
        return _signer(claims, model)

    def _made(self) -> Any:
        from sigstore.models import TrustedRoot
        from sigstore.verify import Verifier

        with self._making:
            if self._verifier is None:
                self._verifier = Verifier(
                    trusted_root=TrustedRoot.from_file(str(self._trusted_root or _shipped_root()))
                )
            return self._verifier


class _Anybody:
    """A policy of sigstore that accepts every identity: the publisher is compared afterwards, to tell what was expected."""

    def verify(self, cert: Any) -> None: ...


def _shipped_root() -> Path:
    from importlib.resources import files

    store = files("sigstore._store").joinpath("https%3A%2F%2Ftuf-repo-cdn.sigstore.dev")
    return Path(str(store.joinpath("trusted_root.json")))


def _signer(claims: dict[str, str], model: Any) -> AttestationSigner:
    """The signer by the claims of a certificate that was verified."""
    issuer = claims.get(_ISSUER, "")
    kind = _ISSUERS.get(issuer)
    if kind == GOOGLE:
        return AttestationSigner(publisher=str(PublisherIdentity(kind=kind, subject=_address(model))))
    if kind is None:
        raise Refused(
            f"the issuer of the certificate is no known one: expected {', '.join(_ISSUERS)}, found {issuer[:_SHOWN]!a}",
            hint="attest in a workflow of GitHub or GitLab",
        )
    place, repository, config = _PLACES[kind], claims.get(_REPOSITORY, ""), claims.get(_CONFIG, "")
    found = _WORKFLOWS[kind].fullmatch(config.removeprefix(repository)) if config.startswith(repository) else None
    if not repository.startswith(place) or found is None:
        raise Refused(
            f"the certificate names no workflow: its repository is {repository[:_SHOWN]!a}, its workflow {config[:_SHOWN]!a}"
        )
    return AttestationSigner(
        publisher=str(PublisherIdentity(kind=kind, subject=repository.removeprefix(place), workflow=found[1])),
        ref=claims.get(_REF, ""),
        commit=claims.get(_COMMIT, ""),
    )


def _address(model: Any) -> str:
    """The address in the certificate of an account."""
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(model.verification_material.certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    addresses = names.get_values_for_type(x509.RFC822Name) if names is not None else []
    if len(addresses) != 1:
        raise Refused("the certificate names no address of an account")
    return str(addresses[0])


def _line(error: Exception) -> str:
    """The message of a foreign error, on one line."""
    return ascii(" ".join(str(error).split())[:_SHOWN])[1:-1]


if TYPE_CHECKING:
    _: type[AttestationVerifier] = SigstoreVerifier
