"""Checks attestations with sigstore and pypi-attestations (the extra `attestations`). Importing it loads neither."""

from pkgindex_core.engines.sigstore.verifier import SigstoreVerifier, is_installed

__all__ = ["SigstoreVerifier", "is_installed"]
