"""Writes and reads tokens in the form of devpi-tokens (`devpi-…`), so that its client commands can use them.

A token of devpi-tokens is a macaroon: an identifier `{user}-{id}`, lines of restrictions, and a signature over them. Tokens here
have the same form, with the secret of the token as the signature. Only the stored limits count; those in the text are for
people. A macaroon with a restriction that its holder has added has another signature, and is refused: to verify it, the
server would have to store the signing key, with which a reader of the store could make tokens.

    02 | identifier 00 | restriction 00 … | 00 | signature      libmacaroons' format 2; a field is type, length, bytes
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from pkgindex_core.tokens import SECRET_BYTES, TokenText, parse_token, token_text

PREFIX: Final = "devpi-"

_VERSION: Final = b"\x02"
_END: Final = 0
_LOCATION, _IDENTIFIER, _KEY, _SIGNATURE = 1, 2, 4, 6
_FIELDS: Final = 1000
"""The most fields to read. Written tokens have far fewer."""


def write_macaroon(token: TokenText, user: str, restrictions: Sequence[str]) -> str:
    """The text of a token in the form of devpi-tokens."""
    parts = [_VERSION, _field(_LOCATION, b""), _field(_IDENTIFIER, f"{user}-{token.id}".encode()), bytes([_END])]
    for restriction in restrictions:
        parts += [_field(_IDENTIFIER, restriction.encode()), bytes([_END])]
    parts += [bytes([_END]), _field(_SIGNATURE, token.secret_bytes)]
    return PREFIX + base64.urlsafe_b64encode(b"".join(parts)).decode().rstrip("=")


def read_macaroon(text: str) -> TokenText | None:
    """Read the token in such a text; None when the text is something else."""
    text = text.strip()
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    encoded = text.removeprefix(PREFIX)
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    identifier, signature = _read(data)
    token_id = identifier.rpartition(b"-")[2]
    if len(signature) != SECRET_BYTES or not token_id.isalnum():
        return None
    written = str(token_text(token_id.decode("latin-1"), signature))
    return parse_token(written)


def read_token(text: str) -> TokenText | None:
    """Read a token in either form."""
    return parse_token(text) or read_macaroon(text)


def _read(data: bytes) -> tuple[bytes, bytes]:
    """The identifier and the signature; both empty when the data has another form."""
    if data[:1] != _VERSION:
        return b"", b""
    position, identifier = 1, b""
    for _ in range(_FIELDS):
        kind, position = _number(data, position)
        if kind == _END:
            continue
        length, position = _number(data, position)
        value = data[position : position + length]
        position += length
        if length < 0 or len(value) < length or kind not in {_LOCATION, _IDENTIFIER, _KEY, _SIGNATURE}:
            break
        if kind == _IDENTIFIER:
            identifier = identifier or value
        elif kind == _SIGNATURE:
            return (identifier, value) if position == len(data) else (b"", b"")
    return b"", b""


def _field(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A number of at most three bytes, and its end; -1 when there is none."""
    value = 0
    for shift in (0, 7, 14):
        if position >= len(data):
            return -1, position
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return -1, position
