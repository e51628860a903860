"""The role of a verifier of attestations: it checks a signature against a root of trust, and tells who signed."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class AttestationSigner(Struct, frozen=True, kw_only=True):
    """The signer of an attestation, as the certificate of the signature says."""

    publisher: str
    """As `formats.publishers` writes it, without an environment: certificates do not have it."""
    ref: str = ""
    commit: str = ""


class AttestationVerifier(Protocol):
    """Checks signatures. Blocks for some milliseconds, and asks no network."""

    def verify(self, attestation: bytes) -> AttestationSigner:
        """The signer of an attestation, a JSON object as PEP 740 has it. Raises `Refused` for a signature that does not hold, or a signer that no publisher can be made of.

        Does not compare the statement with a file.
        """
        ...
