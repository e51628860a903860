"""The keys of bundles: Ed25519. The private key signs on the near side; the far side has the public key and needs no package.

FILE        private key, PEM (PKCS#8), mode 0600
FILE.pub    public key, PEM, as `openssl pkey -pubout` writes it
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pkgindex_core.errors import Missing, Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NEEDED = "install the extra `bundles`: pip install 'pkgindex[bundles]'"


class BundleSigner:
    """Signs with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """Sign. Equal data give equal signatures (RFC 8032, 5.1.6)."""
        return self._key.sign(data)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


def make_keys(private: Path) -> Path:
    """Write a new pair of keys. Returns the file of the public key. Raises `Refused` when one of the files is there."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise Refused("keys are made by the package cryptography, which is not installed", hint=_NEEDED) from error
    public = private.with_name(f"{private.name}.pub")
    for place in (private, public):
        if place.exists():
            raise Refused(f"{place} is there already", hint="a key that was used is not replaced; name another file")
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(private, text, 0o600)
    told = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(public, told, 0o644)
    return public


def load_signer(private: Path) -> BundleSigner:
    """Read a private key. Raises `Refused` for what is none, and `Missing`."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise Refused("bundles are signed by the package cryptography, which is not installed", hint=_NEEDED) from error
    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise Missing("key", str(private), hint="`bundle keygen FILE` makes one") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused(
            f"{private} is no private key in PEM without a password: {error}", hint="`bundle keygen FILE` makes one"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{private} is a private key of another kind", hint="bundles are signed with Ed25519")
    return BundleSigner(key)


def _write(place: Path, text: bytes, mode: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
