"""The record behind a member's data, where its writer did not know the sizes beforehand (APPNOTE 4.3.9).

It has a signature or none and sizes of four bytes or of eight, and nothing says which. Who knows the values from the
directory can tell: one of the four spellings of them stands there.
"""

from __future__ import annotations

import struct

LONGEST_DESCRIPTOR = 24
_SIGNATURE = b"PK\x07\x08"
_FOUR_BYTES = 0xFFFFFFFF


def descriptor_size(found: bytes, crc: int, packed: int, size: int) -> int | None:
    """The length of the descriptor that `found` begins with; None when it says anything else than these values.

    The longest that fits: zeros may follow zeros.
    """
    spellings = [struct.pack("<IQQ", crc, packed, size)]
    if max(packed, size) <= _FOUR_BYTES:
        spellings.append(struct.pack("<III", crc, packed, size))
    fitting = [
        len(signature) + len(spelling)
        for spelling in spellings
        for signature in (_SIGNATURE, b"")
        if found.startswith(signature + spelling)
    ]
    return max(fitting, default=None)
