"""The settings of the filters that bandersnatch does not have, in a form that a TOML file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.quantities import quantity
from pkgindex_core.spelling import suggestion

Kind = Literal["wheel", "sdist", "egg", "wininst", "msi", "rpm", "deb", "dmg", "dumb", "other"]
KeepOrDrop = Literal["keep", "drop"]
_LARGEST_SIZE: Final = 10**18
_LONGEST_TIME: Final = 10**12
_MOST_RELEASES: Final = 10**9
"""Larger numbers are mistakes, and their fingerprints could not be written."""


class FilterSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field for each key. An empty list and 0 mean no limit. `README.md` says what each key means."""

    names: tuple[str, ...] = ()
    except_names: tuple[str, ...] = ()
    except_statuses: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    except_licences: tuple[str, ...] = ()
    unknown_licence: KeepOrDrop = "keep"
    kinds: tuple[Kind, ...] = ()
    yanked: KeepOrDrop = "keep"
    prereleases: Literal["keep", "newer", "drop"] = "keep"
    pythons: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    sdists: Literal["always", "where-no-wheel-fits", "never"] = "always"
    uploaded_after: str = ""
    uploaded_before: str = ""
    cooldown: int | str = 0
    unknown_upload_time: KeepOrDrop = "keep"
    max_file_size: int | str = 0
    latest: int = 0
    latest_per_minor: int = 0
    latest_minors: int = 0
    max_release_size: int | str = 0
    max_project_size: int | str = 0


def read_settings(settings: Mapping[str, Any]) -> FilterSettings:
    """Read the keys of a table. Raises `Refused` for unknown keys and wrong values, with the nearest known key."""
    known = [field.name for field in fields(FilterSettings)]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise Refused(
            [f"there is no filter setting {key!r}" for key in unknown], hint=suggestion(str(unknown[0]), known)
        )
    # A date without quotes is a date in TOML.
    plain = {key: value.isoformat() if isinstance(value, date) else value for key, value in settings.items()}
    try:
        read = msgspec.convert(plain, FilterSettings)
    except msgspec.ValidationError as error:
        raise Refused(f"the filter settings cannot be read: {error}", hint="correct the value") from error
    for key in ("latest", "latest_per_minor", "latest_minors"):
        if not 0 <= getattr(read, key) <= _MOST_RELEASES:
            raise Refused(
                f"the filter setting {key} is not from 0 to {_MOST_RELEASES}",
                hint="write a number of releases, or 0 for all",
            )
    return read


def byte_count(key: str, value: int | str) -> int:
    """A size in bytes, from a number or a text such as `500MB`. Raises `Refused`."""
    found = quantity(str(value), "bytes")
    if found is None or found > _LARGEST_SIZE:
        raise Refused(f"the filter setting {key} = {value!r} is no size", hint="write a size such as 500MB or 2GiB")
    return int(found)


def seconds(key: str, value: int | str) -> int:
    """A time in seconds, from a number or a text such as `7d`. Raises `Refused`."""
    found = quantity(str(value), "seconds")
    if found is None or found > _LONGEST_TIME:
        raise Refused(f"the filter setting {key} = {value!r} is no time", hint="write a time such as 36h or 7d")
    return int(found)


def moment(key: str, value: str) -> Timestamp | None:
    """A moment, from a date or a date with a time (RFC 3339); None for an empty text. Raises `Refused`."""
    found = from_rfc3339(value) if value else None
    if value and found is None:
        raise Refused(f"the filter setting {key} = {value!r} is no date", hint="write a date such as 2025-01-31")
    return found
