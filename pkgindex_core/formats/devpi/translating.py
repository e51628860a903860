"""Translates devpi's users, options, metadata and histories.

Each translation returns the value and remarks: sentences about parts that were changed or left out. An unusable part raises
`Refused` with the reason. Nothing is guessed: an unknown option is kept under `options`, for a plugin that may know it, with
a remark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from msgspec.structs import replace

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.devpi.dump import DumpFile, DumpIndex, normalized
from pkgindex_core.formats.password_hashes import from_devpi
from pkgindex_core.models import ANONYMOUS, Event, IndexConfig, User
from pkgindex_core.names import (
    IndexName,
    ProjectName,
    normalized_or_none,
    owner,
    parse_index_name,
    parse_user_name,
)
from pkgindex_core.rules.admission import EVERY_NAME
from pkgindex_core.rules.devpi7_options import (
    ALLOW_ALL,
    BLOCK_REMOTE,
    INDEX_RULES,
    PROJECT_RULES,
    project_rules,
    with_index_rules,
    with_open_project,
)
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.kept_options import mirror_options, whitelist, with_options

IMPORTER: Final = "[import devpi]"
"""The author of imported commits, and of events that have no author in a dump."""

_SECRETS: Final = frozenset({"pwhash", "pwsalt", "password"})
_USER_FIELDS: Final = frozenset({"email", "title", "description", "custom_data", "created", "modified"})
_IGNORED_USER_FIELDS: Final = frozenset({"username", "indexes"})
_UNSET_WHEN_EMPTY: Final = frozenset({"uploadtrigger_jenkins"})
"""Plugin options that old versions of devpi wrote for every index, set or not."""
_ROOT: Final = "root"
"""The user root, which has a password here already and in devpi 7 perhaps none."""
_FILENAME_LIMIT: Final = 255


def translated_user(name: str, raw: Mapping[str, Any]) -> tuple[User, list[str]]:
    """Translate a user with its password hash."""
    parse_user_name(name)
    remarks = []
    pwhash, pwsalt = str(raw.get("pwhash") or ""), str(raw.get("pwsalt") or "")
    password_hash = from_devpi(pwhash, pwsalt) if pwhash else ""
    if password_hash is None:
        remarks.append("the password hash is of an unknown kind, or too expensive to verify: set a new password")
    if not pwhash and name != _ROOT:
        remarks.append("the dump has no password for it: it cannot log in until one is set")
    unknown = sorted(set(raw) - _USER_FIELDS - _SECRETS - _IGNORED_USER_FIELDS)
    if unknown:
        remarks.append(f"unknown fields were left out: {', '.join(unknown)}")
    user = User(
        name=name,
        password_hash=password_hash or "",
        email=str(raw.get("email") or ""),
        title=str(raw.get("title") or ""),
        description=str(raw.get("description") or ""),
        created=from_rfc3339(str(raw.get("created") or "")) or Timestamp(0),
        modified=from_rfc3339(str(raw.get("modified") or raw.get("created") or "")) or Timestamp(0),
        custom_data=raw.get("custom_data"),
    )
    return user, remarks


def translated_index(found: DumpIndex, known: IndexOptions) -> tuple[IndexConfig, list[str]]:
    """Translate an index with all known options; unknown ones are kept beside them."""
    name, raw = parse_index_name(found.name), found.config
    kind = known.kind(str(raw.get("type") or "stage"))
    given = {key: value for key, value in raw.items() if key != "type" and not (key in _UNSET_WHEN_EMPTY and not value)}
    if "pypi_whitelist" in given:  # the name of mirror_whitelist before devpi 3
        given.setdefault("mirror_whitelist", given.pop("pypi_whitelist"))
    config = known.blank(name, kind)
    if not config.mirrored:  # devpi's meaning of missing keys
        config = replace(config, acl_upload=(owner(name),), acl_toxresult_upload=(ANONYMOUS,))
        if not found.of_devpi_7:
            config = with_options(config, mirror_whitelist_inheritance="union")
    config, remarks = known.taken_over(config, given)
    config = _with_project_rules(config, found.projects, remarks)
    if kind not in known.types:
        remarks.insert(0, f"its type {kind!r} is not known here: it is kept with its files and takes no uploads")
    if config.mirrored and not mirror_options(config).url:
        remarks.append("it names no upstream: only imported files are served until mirror_url is set")
    return config, remarks


def _with_project_rules(
    config: IndexConfig, projects: Mapping[str, Mapping[str, Any]], remarks: list[str]
) -> IndexConfig:
    """The index with devpi 7's rules of single projects: `allow all` is an entry of the whitelist.

    devpi 7.0 has no other rule. An unknown rule opens nothing.
    """
    for raw, own in projects.items():
        left = sorted(set(own) - {"name", PROJECT_RULES})
        if left:
            remarks.append(f"options of the project {raw} that are not known here were left out: {', '.join(left)}")
        if PROJECT_RULES not in own or config.mirrored:
            continue
        project = translated_project(raw)
        try:
            opened = project_rules(own[PROJECT_RULES])
        except Refused as error:
            remarks.append(f"the rules of the project {raw} were left out: {'; '.join(error.problems)}")
            if EVERY_NAME in whitelist(config):
                config = with_index_rules(config, (BLOCK_REMOTE,))
                remarks.append(f"{INDEX_RULES}={ALLOW_ALL} was left out: it would open the project {raw} as well")
            continue
        if opened and project is not None:
            config = with_open_project(config, project)
    return config


def translated_project(name: str) -> ProjectName | None:
    """A project's name; None when it is not valid here."""
    return normalized_or_none(name) or normalized_or_none(normalized(name).strip("-"))


def translated_log(file: DumpFile, index: IndexName, fallback: Timestamp) -> tuple[Event, ...]:
    """A file's history. Without one it has an upload at the time of its last modification."""
    events = tuple(
        Event(
            what=str(one.get("what") or "upload"),
            at=_moment(one.get("when")) or fallback,
            who=str(one.get("who") or ""),
            source=str(one.get("src") or ""),
            target=str(one.get("dst") or ""),
            count=one["count"] if isinstance(one.get("count"), int) else 0,
        )
        for one in file.log
    )
    return events or (Event(what="upload", at=fallback, who=IMPORTER, target=index),)


def file_time(file: DumpFile) -> Timestamp | None:
    """The upload time of a file: devpi's Last-Modified, or the last event of its history."""
    written = from_rfc3339(file.last_modified)  # devpi 7
    if written is not None:
        return written
    try:
        moment = parsedate_to_datetime(file.last_modified)
    except (TypeError, ValueError, IndexError):
        told = [_moment(one.get("when")) for one in file.log]
        return max((one for one in told if one is not None), default=None)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Timestamp(int(moment.timestamp()) * 1_000_000)


def unsafe_filename(filename: str) -> str:
    """Why a file of this name cannot be served; "" when it can."""
    if not filename.isprintable():
        return "its name has characters that cannot be printed"
    if "/" in filename or "\\" in filename or filename in {"", ".", ".."} or filename.startswith("."):
        return "its name is not a filename"
    if len(filename) > _FILENAME_LIMIT:
        return f"its name is longer than {_FILENAME_LIMIT} characters"
    if filename.endswith(".metadata"):
        return "its name is that of a metadata sidecar"
    return ""


def _moment(value: Any) -> Timestamp | None:
    """Read a time: tuples of UTC in devpi up to 6, texts in devpi 7."""
    if isinstance(value, str):
        return from_rfc3339(value)
    if isinstance(value, Sequence) and len(value) >= 6 and all(isinstance(part, int) for part in value):
        year, month, day, hour, minute, second = value[:6]
        try:
            return Timestamp(int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000)
        except ValueError:
            return None
    return None
