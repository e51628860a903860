"""Attestations are verified by sigstore, against its own root of trust."""

from __future__ import annotations

import json

from pkgindex_core.engines.sigstore.verifier import SigstoreVerifier
from pkgindex_core.protocols.attestations import AttestationVerifier
from pkgindex_core.testing.attestation_verifiers import AttestationVerifierContract
from tests.attested import ATTESTATION, PUBLISHER


class TestSigstoreVerifier(AttestationVerifierContract):
    attestation = json.dumps(ATTESTATION).encode()
    publisher = PUBLISHER

    def make(self) -> AttestationVerifier:
        return SigstoreVerifier()
