"""Fingerprints of filters: short texts that differ when other choices are made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

_LENGTH: Final = 16
_RULES: Final = 1
"""Goes up when filters with the same settings choose other files than before, so that all projects are looked at again."""


def fingerprint_of(word: str, settings: Any) -> str:
    """The fingerprint of one filter. `settings` are plain values; the order of the keys of a mapping does not matter."""
    return f"{word}:{_digest([_RULES, settings])}"


def joined_fingerprint(fingerprints: Iterable[str]) -> str:
    """One fingerprint for filters that follow each other."""
    return _digest(list(fingerprints))


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:_LENGTH]
