"""Rules about what a file is: quarantined or revoked releases, types and sizes of files. They hold on pages and at uploads alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.columns import Columns
from pkgindex_core.formats.quantities import quantity
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.policy_filter import Held, PolicyFilter
from pkgindex_core.rules.policing.uploads import PolicedUpload

_SHOWN: Final = 80
_SHA256: Final = 64


class Revoked(Struct, frozen=True):
    """The value of a rule `revoked`."""

    sha256: str
    reason: str


def parse_revoked(text: str) -> Revoked:
    """Read `sha256:HEX`, and perhaps a reason behind it."""
    digest, _, reason = text.partition(" ")
    kind, _, value = digest.lower().partition(":")
    if kind != "sha256" or len(value) != _SHA256 or not set(value) <= set("0123456789abcdef"):
        raise Refused(
            f"{digest[:_SHOWN]!r} is no digest", hint="write sha256: and 64 hexadecimal digits, then the reason"
        )
    return Revoked(value, reason.strip())


def parse_types(text: str) -> tuple[str, ...]:
    """Read the endings of filenames, with commas: `whl, tar.gz`."""
    endings = tuple(word.strip().lower().removeprefix(".") for word in text.split(",") if word.strip())
    if not endings or any(not ending.replace(".", "").isalnum() for ending in endings):
        raise Refused(f"{text[:_SHOWN]!r} are no types of files", hint="write endings such as whl, tar.gz")
    return endings


def parse_size(text: str) -> int:
    """Read bytes, perhaps with a unit."""
    amount = quantity(text, "bytes") if len(text) < _SHOWN else None
    if amount is None:
        raise Refused(
            f"{text[:_SHOWN]!r} is no amount of bytes", hint="write a number, or one with a unit, such as 500MB"
        )
    return int(amount)


class ContentFilter(PolicyFilter):
    """A rule that refuses at uploads what it would hide."""

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        return self.decides(value, upload.index, upload.file, build)


class QuarantineFilter(ContentFilter):
    """Hides releases that an operator set aside."""

    rule = "quarantine"
    by_version = True

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return Held(f"{_release(file, build)} is quarantined{_because(value)}")


class DeprecatedFilter(PolicyFilter):
    """Warns of releases."""

    rule = "deprecated"
    by_version = True

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return Held(f"{_release(file, build)} is deprecated{_because(value)}")


class RevokedFilter(ContentFilter):
    """Hides bytes by their digest, whatever they are called. Every line counts."""

    rule = "revoked"
    every_line = True

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        return columns.having(value.sha256.encode())

    def needs_digest(self, origin: IndexName, file: File, build: Build) -> bool:
        ruling = self._judged(origin, file.version, build, lambda _: Held("its sha256 is not known"))
        return ruling is not None and ruling.hides

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        if file.sha256 != value.sha256:
            return None
        return Held(f"these bytes (sha256 {value.sha256[:16]}…) are revoked{_because(value.reason)}")


class FileTypesFilter(ContentFilter):
    """Hides files of other types than those listed."""

    rule = "file-types"

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        endings = tuple(f".{ending}".encode() for ending in value)
        return [at for at, name in enumerate(columns.names) if not name.endswith(endings)]

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        if not file.filename or file.filename.lower().endswith(tuple(f".{ending}" for ending in value)):
            return None
        return Held(f"only files of the types {', '.join(value)} are let through")


class MaxSizeFilter(ContentFilter):
    """Hides files of known size that are too large."""

    rule = "max-size"

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        return [at for at, size in enumerate(columns.sizes) if size > value]

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        size = file.shown_size
        return Held(f"it has {size} bytes, and {value} are let through") if size is not None and size > value else None


def _release(file: File, build: Build) -> str:
    return f"{build.project} {file.version}".strip()


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
