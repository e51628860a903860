"""`plan`: whether a list of changes fits, and what it does. Engines take the meaning of changes from here only.

Pure. Changes of projects are in `hosted` and `mirrored`; those of users, tokens and indexes are here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import assert_never

import msgspec

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    NoteIs,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
    WithinQuotas,
    YankFile,
)
from pkgindex_core.errors import Missing, RequirementFailed
from pkgindex_core.models import Serial, User
from pkgindex_core.names import owner
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning.draft import Draft
from pkgindex_core.rules.planning.effects import Effects
from pkgindex_core.rules.planning.facts import Facts
from pkgindex_core.rules.planning.hosted import change_hosted, change_parts
from pkgindex_core.rules.planning.mirrored import change_mirrored
from pkgindex_core.rules.planning.quotas import stay_within

_encode = msgspec.msgpack.Encoder().encode


def plan(
    changes: Iterable[Change], require: Collection[Requirement], facts: Facts, serial: Serial
) -> Effects | RequirementFailed:
    """The effects of these changes as the commit `serial`, or the requirement that does not hold.

    The changes apply in order, each to the result of those before it. Raises `Missing`, `Conflict` or `Refused` for the first that does not fit.
    """
    for requirement in require:
        if not _holds(facts, requirement):
            return change_rules.failed(requirement)
    draft = Draft(facts, serial)
    for change in changes:
        _make(draft, change)
    for requirement in require:
        if isinstance(requirement, WithinQuotas):
            stay_within(draft, requirement.index, facts.sizes)
    return draft.effects()


def _holds(facts: Facts, requirement: Requirement) -> bool:
    match requirement:
        case FileAbsent(index, filename):
            return (index, filename) not in facts.files and (index, filename) not in facts.tombstones
        case AttachmentAbsent(index, project, filename):
            return (index, project, filename) not in facts.attachments
        case ProjectAt(index, project, stamp, content):
            standing = facts.standings.get((index, project))
            known_as = (standing.stamp, standing.content) if standing is not None else (0, "")
            return known_as == (stamp, known_as[1] if content is None else content)
        case UserAbsent(name):
            return name not in facts.users
        case UserIs(user):
            return _is_stored(user, facts.users.get(user.name))
        case IndexAbsent(index):
            return index not in facts.configs
        case IndexPresent(index):
            return index in facts.configs
        case IndexIs(config):
            return facts.configs.get(config.name) == config
        case NoteIs(kind, key, version):
            return facts.notes.get((kind, key), 0) == version
        case WithinQuotas():
            return True  # it is about the result
        case _:
            assert_never(requirement)


def _is_stored(user: User, stored: User | None) -> bool:
    # Compared as bytes: a tuple in the fields of a user is stored as a list.
    return stored is not None and _encode(stored) == _encode(user)


def _make(draft: Draft, change: Change) -> None:
    match (
        change
    ):  # the most frequent first: each class that a change is not of costs as much as a look into a dictionary of rows
        case PutFile() | PutProject() | DropProject() | DropFile() | YankFile():
            change_rules.take_uploads(draft.configs.get(change.index), change.index)
            change_hosted(draft, change)
        case PutRelease() | DropRelease() | PutAttachment() | DropAttachment():
            change_rules.take_uploads(draft.configs.get(change.index), change.index)
            change_parts(draft, change)
        case MirrorPage() | DropMirrorPage() | MirrorNames():
            change_rules.take_mirrored(draft.configs.get(change.index), change.index)
            change_mirrored(draft, change)
        case PutUser() | DropUser() | PutToken() | DropToken():
            _change_identity(draft, change)
        case PutIndex() | DropIndex():
            _change_tree(draft, change)
        case _:
            assert_never(change)


def _change_identity(draft: Draft, change: PutUser | DropUser | PutToken | DropToken) -> None:
    match change:
        case PutUser(user):
            draft.users.put(user.name, user)
        case DropUser(name):
            if draft.users.get(name) is None:
                raise Missing("user", name)
            change_rules.user_is_free(name, draft.owned_by(name))
            for token_id, token in draft.tokens.live():
                if token.user == name:
                    draft.tokens.end(token_id)
            draft.users.end(name)
        case PutToken(token):
            if draft.users.get(token.user) is None:
                raise Missing("user", token.user)
            draft.tokens.put(token.id, token)
        case DropToken(token_id):
            if draft.tokens.get(token_id) is None:
                raise Missing("token", token_id)
            draft.tokens.end(token_id)


def _change_tree(draft: Draft, change: PutIndex | DropIndex) -> None:
    match change:
        case PutIndex(config):
            if draft.users.get(owner(config.name)) is None:
                raise Missing("user", owner(config.name))
            change_rules.keep_type(draft.configs.get(config.name), config)
            draft.configs.put(config.name, config)
        case DropIndex(name):
            if draft.configs.get(name) is None:
                raise Missing("index", name)
            draft.empty_index(name)
            draft.configs.end(name)
    draft.tree_changed = True
