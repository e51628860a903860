"""Ed25519 in pure Python agrees with RFC 8032 and with OpenSSL."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pkgindex_core.errors import Missing, Refused
from pkgindex_mirror.bundles.apply_bundle import _ORDER, _P, BundleRefused, read_key, signature_fits
from pkgindex_mirror.bundles.keys import load_signer, make_keys
from tests.mirror.snapshots.mirrors import run

VECTORS = [  # RFC 8032, 7.1: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_standard(key: str, message: str, signature: str) -> None:
    given = [bytes.fromhex(each) for each in (key, message, signature)]
    assert signature_fits(*given)
    assert not signature_fits(given[0], given[1] + b"x", given[2])


def test_signatures_of_the_package_fit_and_altered_ones_do_not() -> None:
    chance = random.Random(3)
    for _ in range(12):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        key, message = private.public_key().public_bytes_raw(), chance.randbytes(chance.randrange(200))
        signature = private.sign(message)
        assert signature_fits(key, message, signature)
        for data in (key, signature):
            at = chance.randrange(len(data))
            altered = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            assert not signature_fits(*((altered, message, signature) if data is key else (key, message, altered)))


def test_a_signature_has_one_form() -> None:
    """RFC 8032, 5.1.7: S is smaller than the order of the group, and points are decoded strictly (5.1.3)."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key, signature = private.public_key().public_bytes_raw(), private.sign(b"x")
    s = int.from_bytes(signature[32:], "little") + _ORDER
    assert not signature_fits(key, b"x", signature[:32] + s.to_bytes(32, "little"))
    # The neutral element as key and as R, with S = 0, fits any message. Its other encodings are none.
    neutral, zero = b"\1" + bytes(31), bytes(32)
    assert signature_fits(neutral, b"x", neutral + zero)
    for other in ((_P + 1).to_bytes(32, "little"), b"\1" + bytes(30) + b"\x80"):
        assert not signature_fits(neutral, b"x", other + zero)
        assert not signature_fits(other, b"x", neutral + zero)
    assert not signature_fits(key, b"x", signature[:63])
    assert not signature_fits(key[:31], b"x", signature)


def test_keys_are_made_once_and_read_by_both_sides(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    signer = load_signer(tmp_path / "key")
    assert read_key(public) == signer.public_key
    (tmp_path / "hex").write_text(signer.public_key.hex() + "\n")
    assert read_key(tmp_path / "hex") == signer.public_key
    assert signature_fits(read_key(public), b"x", signer.sign(b"x"))
    before = public.read_bytes(), (tmp_path / "key").read_bytes()
    assert run("bundle", "keygen", tmp_path / "key").exit_code == 1
    assert (public.read_bytes(), (tmp_path / "key").read_bytes()) == before


def test_openssl_reads_the_public_key(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    try:
        done = subprocess.run(["openssl", "pkey", "-in", tmp_path / "key", "-pubout"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    assert done.stdout == public.read_bytes()


@pytest.mark.parametrize(
    "text", ["", "x", "00" * 31, "02" + "00" * 31, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(BundleRefused):
        read_key(tmp_path / "key")


def test_a_private_key_is_not_taken_to_the_far_side(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    with pytest.raises(BundleRefused, match="stays on the near side"):
        read_key(tmp_path / "key")


def test_what_is_no_private_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        load_signer(tmp_path / "none")
    (tmp_path / "odd").write_text("x")
    with pytest.raises(Refused, match="no private key"):
        load_signer(tmp_path / "odd")
    text = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "other").write_bytes(text)
    with pytest.raises(Refused, match="another kind"):
        load_signer(tmp_path / "other")
