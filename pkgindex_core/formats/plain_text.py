"""Makes text of strangers readable as it is: every character is visible, and none changes the order of others.

Characters that change the direction of text can make a line read otherwise than a compiler reads it (CVE-2021-42574). Control
sequences can do the same in a terminal that the text is copied to.
"""

from __future__ import annotations

from typing import Final

_DIRECTIONS: Final = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
_OTHERS: Final = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x2060, 0x2028, 0x2029, 0xFEFF]
_VISIBLE: Final = {
    each: f"\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}U+{each:04X}\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"
    for each in (*_DIRECTIONS, *_OTHERS)
}
_IN_LINES: Final = {key: value for key, value in _VISIBLE.items() if chr(key) not in "\t\n"}


def visible(text: str) -> str:
    r"""One line of text in which each invisible character is named.

    >>> visible("a\u202eb")
    'a⟦U+202E⟧b'
    """
    return text.translate(_VISIBLE)


def text_of(data: bytes, *, is_cut: bool) -> str | None:
    """Bytes as lines of visible text; None if they are no text in UTF-8. `is_cut`: the last character may be incomplete."""
    if b"\0" in data:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if not is_cut or error.start < len(data) - 3:
            return None
        text = data[: error.start].decode()
    return text.removeprefix("\ufeff").replace("\r\n", "\n").translate(_IN_LINES)
