"""Waiting lists of changes, and the statements that write them: those that fit what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, Commit, NoteIs, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.packing import digests_of, packed, with_kept
from pkgindex_core.engines.postgresql import mirrored
from pkgindex_core.engines.postgresql.batches import Statements, records
from pkgindex_core.engines.postgresql.effects import write
from pkgindex_core.engines.postgresql.facts import Loaded
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning import Keys, named_keys, plan

_LOG_RECORDS: Final = records(
    "who text, serial bigint, at bigint, token text, packed boolean, by_digest boolean, changes bytea"
)
_LOG: Final = (
    "INSERT INTO commits (serial, at, who, token, packed, by_digest, changes)"
    f" SELECT serial, at, who, token, packed, by_digest, changes FROM {_LOG_RECORDS}"
)

Outcome: TypeAlias = Commit | Exception


class Submission(Struct, eq=False):
    """One waiting caller."""

    changes: tuple[Change, ...]
    who: str
    require: tuple[Requirement, ...]
    encoded: bytes
    """The changes for the log, with digests in the place of pages."""
    kept: Sequence[bytes]
    """The pages in one piece of the changes."""
    keys: Keys
    future: asyncio.Future[Commit]


def request(changes: Sequence[Change], who: str, require: Iterable[Requirement]) -> Submission:
    """Make a request. Raises `Refused` for values that could not be read back."""
    changes, require = tuple(changes), tuple(require)
    digests = digests_of(changes)
    encoded = change_rules.encoded_changes(with_kept(changes, digests) if digests else changes)
    future = asyncio.get_running_loop().create_future()
    return Submission(changes, who, require, encoded, tuple(digests), named_keys(changes, require), future)


def planned(group: Sequence[Submission], loaded: Loaded, token: str) -> tuple[list[Statements], list[Outcome]]:
    """Plan each list of a group. A list that does not fit has its error for an outcome."""
    batches, outcomes = list[Statements](), list[Outcome]()
    serial, at = loaded.serial, change_rules.commit_time(loaded.now, loaded.at)
    for one in group:
        commit = Commit(serial=Serial(serial + 1), at=at, who=one.who, changes=one.changes)
        try:
            batches.append(plan_one(commit, one, loaded, token))
        except Exception as error:  # a refusal or a defect, which only this caller gets
            outcomes.append(error)
        else:
            outcomes.append(commit)
            serial = commit.serial
    return batches, outcomes


def plan_one(commit: Commit, one: Submission, loaded: Loaded, token: str) -> Statements:
    """The statements of one commit. Raises the refusal of one that does not fit."""
    effects = plan(one.changes, one.require, loaded.facts, commit.serial)
    if isinstance(effects, RequirementFailed):
        raise effects
    batch = Statements()
    mirrored.put_pages(batch, one.kept, logged=True)
    write(batch, loaded.facts, effects, commit.serial)
    is_packed, changes = packed(one.encoded)
    batch.add_one(
        _LOG,
        serial=commit.serial,
        at=commit.at,
        who=commit.who,
        token=token,
        packed=is_packed,
        by_digest=bool(one.kept),
        changes=changes,
    )
    return batch


def guards(group: Sequence[Submission], outcomes: Sequence[Outcome], now: Timestamp) -> str:
    """The notes that the commits of a group require, for `commit_batch`: another process may write one after it was read."""
    looked_at = [
        {"kind": each.kind, "key": each.key, "version": each.version, "now": now}
        for one, outcome in zip(group, outcomes, strict=True)
        if isinstance(outcome, Commit)
        for each in one.require
        if isinstance(each, NoteIs)
    ]
    return msgspec.json.encode(looked_at).decode()
