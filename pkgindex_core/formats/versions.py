"""Compares versions by PEP 440, and accepts versions that are older than PEP 440.

A page may hold `2004d` or `1.0-beta-final` beside today's versions (PEP 700, "Versions"). Such legacy versions come before
all others, and among themselves in the order that people expect. Results are cached, within bounds, since a mirror's pages
repeat the same few versions.

Most versions are normalised, without epoch and local part, and are read here. `packaging` reads the others, and is loaded for the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from packaging.version import Version

_MEMORY = 65_536
_LENGTH_LIMIT = 512
"""The most characters of a PEP 440 version; a longer one is legacy. Real versions are much shorter."""

SortKey = tuple[Any, ...]
_usual_parts = re.compile(
    r"(N(?:\.N)*)(?:(a|b|rc)(N))?(?:\.post(N))?(?:\.dev(N))?".replace("N", "(?:0|[1-9][0-9]*)")
).fullmatch
"""Matches normalised versions without epoch and local part. Groups: release, letter and number of a pre-release, post-release, development release."""
_begins = re.compile(r"\s*[vV]?[0-9]").match
"""Matches the beginning of every version of PEP 440."""
_TRAILING_ZEROS = re.compile(r"(?:\.0)+\Z")
_NO_PRE = (2, "", 0)
_DEV_ONLY = (0, "", 0)
"""1.0.dev1 comes before 1.0a1."""
_NO_DEV = (1, 0)
LEGACY_MARKS: Final = re.compile(r"[A-Za-z0-9._+!~-]{1,100}")
"""Legacy versions that may be uploaded: they must be usable in filenames and URLs."""


def version_key(version: str) -> SortKey:
    """A key that sorts versions: legacy ones first, then by PEP 440. Equal versions have equal keys.

    >>> sorted(["1.10", "1.9", "2004d", "1.10rc1"], key=version_key)
    ['2004d', '1.9', '1.10rc1', '1.10']
    """
    return _key(version) if len(version) <= _LENGTH_LIMIT else _legacy_key(version)


def canonical_version(version: str, *, strip_zeros: bool = True) -> str:
    """The canonical spelling of a version: `1.0`, `1.0.0` and `v1.0` are `1`. Legacy versions are unchanged.

    Without `strip_zeros` the release keeps its zeros, as in filenames.
    """
    return _canonical(version, strip_zeros) if len(version) <= _LENGTH_LIMIT else version


def is_pep440(version: str) -> bool:
    """Whether a version follows PEP 440."""
    return len(version) <= _LENGTH_LIMIT and (_usual_parts(version) is not None or _parse(version) is not None)


def same_version(one: str, other: str) -> bool:
    """Whether two spellings mean one version. Filenames have `-` or `_` for other characters than letters, digits and dots.

    >>> same_version("1.0", "1.0.0"), same_version("1.0_final", "1.0-final"), same_version("1.0", "1.1")
    (True, True, False)
    """
    if canonical_version(one) == canonical_version(other):
        return True
    if is_pep440(one) and is_pep440(other):
        return False
    return _as_in_filenames(one) == _as_in_filenames(other)


def is_stable(version: str) -> bool:
    """Whether a version is a final or post-release of PEP 440, not a pre-release or a development release.

    >>> [is_stable(each) for each in ("1.0", "1.0.post1", "1.0rc1", "1.0.dev1", "2004d")]
    [True, True, False, False, False]
    """
    return _is_final(version_key(version))


def stable_last(version: str) -> SortKey:
    """A key that sorts stable versions after all others, and otherwise as `version_key` does.

    >>> sorted(["1.0", "2.0rc1", "1.1", "2004d"], key=stable_last)
    ['2004d', '2.0rc1', '1.0', '1.1']
    """
    key = version_key(version)
    return _is_final(key), key


def version_ranks(versions: Iterable[str]) -> dict[str, int]:
    """Number versions in order; equal ones (1.0, 1.0.0) share a number. Legacy versions have numbers too."""
    keyed = sorted((version_key(version), version) for version in versions)
    ranks: dict[str, int] = {}
    rank = -1
    last_key: object = None
    for key, version in keyed:
        if rank < 0 or key != last_key:
            rank, last_key = rank + 1, key
        ranks[version] = rank
    return ranks


def listed_versions(ranks: Mapping[str, int]) -> tuple[str, ...]:
    """One spelling of each version, in order. A file of unknown version adds none.

    PEP 700: normalised where possible. Zeros stay, since the author wrote 1.0.
    """
    spellings: dict[int, str] = {}
    for version, rank in ranks.items():  # ranks are in order, and equal versions in the order of their spelling
        if version:
            # Most versions are normalised. Finding that out takes less time than looking into a cache.
            usual = _usual_parts(version) is not None and len(version) <= _LENGTH_LIMIT
            spellings.setdefault(rank, version if usual else canonical_version(version, strip_zeros=False))
    return tuple(dict.fromkeys(spellings.values()))


def as_they_come(versions: Iterable[str]) -> tuple[str, ...]:
    """The same without sorting, for many versions."""
    return tuple(dict.fromkeys(canonical_version(version, strip_zeros=False) for version in versions if version))


def _is_final(key: SortKey) -> bool:
    return bool(key[0] >= 0 and key[2] == _NO_PRE and key[4] == _NO_DEV)


@lru_cache(maxsize=_MEMORY)
def _key(version: str) -> SortKey:
    usual = _usual_parts(version)
    if usual is not None:  # most versions match, and `packaging` takes ten times as long
        numbers, letter, number, post, dev = usual.groups()
        release = [int(part) for part in numbers.split(".")]
        while len(release) > 1 and not release[-1]:
            release.pop()
        pre = (1, letter, int(number)) if letter else _NO_PRE if dev is None or post is not None else _DEV_ONLY
        return (
            0,
            tuple(release),
            pre,
            -1 if post is None else int(post),
            _NO_DEV if dev is None else (0, int(dev)),
            (),
        )
    parsed = _parse(version)
    return _legacy_key(version) if parsed is None else _pep440_key(parsed)


@lru_cache(maxsize=_MEMORY)
def _canonical(version: str, strip_zeros: bool) -> str:
    usual = _usual_parts(version)
    if usual is not None:
        return _TRAILING_ZEROS.sub("", usual[1]) + version[usual.end(1) :] if strip_zeros else version
    parsed = _parse(version)
    if parsed is None:
        return version.strip()
    from packaging.utils import canonicalize_version

    return canonicalize_version(parsed, strip_trailing_zero=strip_zeros)


def _parse(version: str) -> Version | None:
    if len(version) > _LENGTH_LIMIT:  # this also keeps numbers within the digits that int() accepts
        return None
    if not _begins(version):  # the tags of wheels, of which `packaging` says so with an exception
        return None
    from packaging.version import Version

    try:
        return Version(version)
    except ValueError:
        return None


def _as_in_filenames(version: str) -> str:
    return canonical_version(_ESCAPED.sub("-", version.strip().lower()))


def _pep440_key(version: Version) -> SortKey:
    """PEP 440's order as nested tuples of numbers and strings, which compare without Python code."""
    release = version.release
    last = len(release)
    while last > 1 and release[last - 1] == 0:
        last -= 1
    pre: tuple[int, str, int]
    if version.pre is not None:
        pre = (1, *version.pre)
    elif version.post is None and version.dev is not None:
        pre = _DEV_ONLY
    else:
        pre = _NO_PRE
    post = -1 if version.post is None else version.post
    dev = _NO_DEV if version.dev is None else (0, version.dev)
    # In a local version, numbers sort after words.
    local = tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in (version.local.split(".") if version.local else ())
    )
    return (version.epoch, release[:last], pre, post, dev, local)


def _legacy_key(version: str) -> SortKey:
    """Sort numbers by value and words by letter. An epoch of -1 puts legacy versions before all others."""
    parts = []
    for digits, word in _PARTS.findall(version[:_LENGTH_LIMIT]):
        number = digits.lstrip("0")
        # The length comes first, so that digits can be compared as text: int() refuses long numbers.
        parts.append((1, len(number), number) if digits else (0, 0, word.lower()))
    return (-1, tuple(parts), version)


_PARTS = re.compile(r"([0-9]+)|([^0-9]+)")
_ESCAPED = re.compile(r"[^a-z0-9.+!]+")
