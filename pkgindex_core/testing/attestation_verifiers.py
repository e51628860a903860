"""The contract suite of `AttestationVerifier`: it checks a signature, and tells who signed.

class TestMyVerifier(AttestationVerifierContract):
    attestation = Path("demo.attestation").read_bytes()    # one that holds
    publisher = "github:octo/demo//release.yml"            # who signed it
    def make(self): return MyVerifier(...)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pkgindex_core.errors import Refused
from pkgindex_core.protocols.attestations import AttestationVerifier
from pkgindex_core.testing.needed import pytest


class AttestationVerifierContract:
    """Subclass, name it `Test…`, and provide an attestation."""

    attestation: bytes
    """A JSON object as PEP 740 has it, whose signature holds."""
    publisher: str
    """The signer, as `formats.publishers` writes it without an environment."""

    def make(self) -> AttestationVerifier:
        raise NotImplementedError

    def falsified(self) -> Iterable[bytes]:
        """The attestation with another statement, and with another signature."""
        for part in ("statement", "signature"):
            document: dict[str, Any] = json.loads(self.attestation)
            content = bytearray(base64.b64decode(document["envelope"][part]))
            content[len(content) // 2] ^= 1
            document["envelope"][part] = base64.b64encode(content).decode()
            yield json.dumps(document).encode()

    def test_the_signer_is_told(self) -> None:
        assert self.make().verify(self.attestation).publisher == self.publisher

    def test_what_was_changed_is_refused(self) -> None:
        verifier = self.make()
        for changed in self.falsified():
            with pytest.raises(Refused):
                verifier.verify(changed)
        assert verifier.verify(self.attestation).publisher == self.publisher

    @pytest.mark.parametrize("other", [b"", b"{}", b"[]", b"null", b'{"version": 1}', b"\xff"])
    def test_what_is_no_attestation_is_refused(self, other: bytes) -> None:
        with pytest.raises(Refused):
            self.make().verify(other)

    def test_threads_may_ask_at_once(self) -> None:
        verifier = self.make()
        with ThreadPoolExecutor(4) as workers:
            told = list(workers.map(verifier.verify, [self.attestation] * 4))
        assert {each.publisher for each in told} == {self.publisher}
