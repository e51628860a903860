"""Folds texts into words that are compared: without case, accents and punctuation. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+")


def folded(text: str) -> tuple[str, ...]:
    """The words of a text.

    >>> folded("Müller-Lüdenscheidt's API")
    ('muller', 'ludenscheidt', 's', 'api')
    """
    if text.isascii():
        return tuple(_WORD.findall(text.lower()))
    # Twice: the folding of case makes characters that decompose again, and decomposing makes capitals.
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text).casefold()
    return tuple(_WORD.findall("".join(each for each in text if not unicodedata.combining(each))))


def has_words(text: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether words stand in a text one behind the other. The last may be the beginning of a longer one, as people are still typing it.

    >>> has_words(("fast", "json", "parser"), ("json", "par")), has_words(("fast", "json", "parser"), ("fa", "json"))
    (True, False)
    """
    *whole, last = wanted
    count = len(whole)
    return any(
        text[at + count].startswith(last) and list(text[at : at + count]) == whole for at in range(len(text) - count)
    )
