"""The data descriptor after a member's data, for writers that do not know the sizes beforehand (APPNOTE 4.3.9).

Its signature is optional, its sizes have four bytes or eight, and it does not say which. The values are known from the
directory, so it must be one of their four encodings.
"""

from __future__ import annotations

import struct

LONGEST_DESCRIPTOR = 24
_SIGNATURE = b"PK\x07\x08"
_FOUR_BYTES = 0xFFFFFFFF


def descriptor_size(found: bytes, crc: int, packed: int, size: int) -> int | None:
    """The length of the descriptor at the beginning of `found`; None when it has other values.

    Of several encodings that fit, the longest: zeros may follow zeros.
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
