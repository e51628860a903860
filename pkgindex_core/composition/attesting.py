"""Makes the verifier of attestations, at its first use: its packages take most of a second to load."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from pkgindex_core.engines.sigstore import SigstoreVerifier, is_installed
from pkgindex_core.protocols.attestations import AttestationVerifier


def attestation_verifier(trusted_root: str) -> Callable[[], AttestationVerifier | None]:
    """A function that returns the one verifier; None without the packages of the extra `attestations`."""

    @cache
    def verifier() -> AttestationVerifier | None:
        return SigstoreVerifier(Path(trusted_root) if trusted_root else None) if is_installed() else None

    return verifier
