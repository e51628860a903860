"""The state of an index store in memory as of one commit. `facts` reads it, `written` makes the next one from it and effects. Pure.

    StoreState -> IndexState -> StoredProject -> {filename: PageRow}

Maps are dicts that are copied and not mutated; states share the unchanged ones. `rules.planning` says what changes mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Attachment, IndexConfig, PageRow, Release, Serial, Token, User, decode_file
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.index_store import WHOLE_INDEX, Listing, Taken
from pkgindex_core.rules.change_rules import hosted_digest
from pkgindex_core.rules.planning import Effects, Emptied, Facts, Keys, NamesEdit, PageEdit, StandingRow, StoredFile
from pkgindex_core.rules.planning.facts import NoteKey, ProjectKey
from pkgindex_core.rules.planning.past import SWEPT
from pkgindex_core.rules.quotas import size_of
from pkgindex_core.rules.stamping import stamp_after

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class StoredProject(Struct, frozen=True, kw_only=True):
    """One project in one index. A dropped project stays, with a standing that does not hold it."""

    standing: StandingRow
    rows: Mapping[str, PageRow] = {}
    kept: KeptRows | None = None
    """The same rows in one piece, of a mirrored page that came so."""
    past: tuple[tuple[Serial, StoredProject], ...] = ()
    """Former states of a mirrored project, each with the serial that ended it, oldest first."""
    releases: Mapping[str, Release] = {}
    """By the canonical spelling of their version."""
    attachments: Mapping[str, Attachment] = {}

    @property
    def mirrored(self) -> bool:
        return self.standing.mirrored

    @property
    def holds(self) -> bool:
        return self.standing.holds

    def as_of(self, at: Serial) -> StoredProject:
        """A mirrored project as of a commit, or its oldest remaining state."""
        return next((state for died, state in self.past if at < died), self)


class IndexState(Struct, frozen=True, kw_only=True):
    """One index. A dropped index stays, with `config` None."""

    config: IndexConfig | None = None
    projects: Mapping[ProjectName, StoredProject] = {}
    holders: Mapping[str, ProjectName] = {}
    """The projects of a hosted index by the filenames of their live files."""
    tombstones: Mapping[str, Taken] = {}
    names: Mapping[ProjectName, str] = {}
    listing: Listing = Listing(stamp=Serial(0), count=0, validators={})


class StoreState(Struct, frozen=True, kw_only=True):
    """The whole store as of one commit."""

    serial: Serial = Serial(0)
    tree_serial: Serial = Serial(0)
    users: Mapping[str, User] = {}
    tokens: Mapping[str, Token] = {}
    indexes: Mapping[IndexName, IndexState] = {}

    def index(self, name: IndexName) -> IndexState:
        return self.indexes.get(name, _NO_INDEX)

    def project(self, key: ProjectKey) -> StoredProject:
        return self.index(key[0]).projects.get(key[1], _NO_PROJECT)


_NEVER_HELD = StandingRow(since=Serial(0), stamp=Serial(0), mirrored=False, holds=False)
_NO_INDEX = IndexState()
_NO_PROJECT = StoredProject(standing=_NEVER_HELD)


def facts(state: StoreState, keys: Keys, ended: Callable[[IndexConfig], Serial], notes: Mapping[NoteKey, int]) -> Facts:
    """The rows that `keys` names. `ended`: the serial up to which the past of an index is over. `notes`: the versions of those in `keys`."""
    configs = {name: config for name in keys.indexes if (config := state.index(name).config) is not None}
    return Facts(
        users=_named(state.users, keys.users),
        tokens={key: it for key, it in state.tokens.items() if key in keys.tokens or it.user in keys.owners},
        owned=[name for name, it in state.indexes.items() if it.config is not None and owner(name) in keys.owners],
        configs=configs,
        standings={
            key: replace(it.standing, has_past=bool(it.past))
            for key in keys.projects
            if (it := state.project(key)).standing is not _NEVER_HELD
        },
        files={
            (index, name): StoredFile(holder, decode_file(state.project((index, holder)).rows[name].body))
            for index, name in keys.files
            if (holder := state.index(index).holders.get(name)) is not None
        },
        tombstones={
            (index, name): grave
            for index, name in keys.files
            if (grave := state.index(index).tombstones.get(name)) is not None
        },
        releases={
            (index, project, version): release
            for index, project, version in keys.releases
            if (release := state.project((index, project)).releases.get(version)) is not None
        },
        attachments={
            (index, project, name): attachment
            for index, project, name in keys.attachments
            if (attachment := state.project((index, project)).attachments.get(name)) is not None
        },
        listings={name: state.index(name).listing.stamp for name in keys.listings},
        expired={
            key: upto
            for config in configs.values()
            if config.mirrored
            for key, upto in _expired(state.index(config.name), config.name, ended(config))
        },
        notes=notes,
        sizes={key: stored_bytes(state, key) for key in keys.sizes},
        kept_page=lambda key: _kept_page(state, key),
    )


def stored_bytes(state: StoreState, key: ProjectKey) -> int:
    """The bytes of all live files of a hosted project, or of all projects of an index."""
    projects = state.index(key[0]).projects.values() if key[1] == WHOLE_INDEX else [state.project(key)]
    rows = (row for project in projects if not project.mirrored for row in project.rows.values())
    return sum(size_of(decode_file(row.body)) for row in rows)


def written(state: StoreState, effects: Effects, serial: Serial) -> StoreState:
    """The state after the effects of a plan."""
    indexes = dict(state.indexes)
    for each in effects.emptied:
        indexes[each.index] = _emptied(indexes.get(each.index, _NO_INDEX), each, serial)
    for (name, project), upto in effects.forgotten.items():
        indexes[name] = _without_past(indexes[name], project, upto)
    for name, config in effects.configs.items():
        indexes[name] = replace(indexes.get(name, _NO_INDEX), config=config)
    for name in _touched(effects):
        indexes[name] = _edited_index(indexes.get(name, _NO_INDEX), name, effects, serial)
    return StoreState(
        serial=serial,
        tree_serial=serial if effects.tree_changed else state.tree_serial,
        users=_merged(state.users, effects.users),
        tokens=_merged(state.tokens, effects.tokens),
        indexes=indexes,
    )


def dropped(project: StoredProject, serial: Serial) -> StoredProject:
    """A project after it was dropped."""
    before = project.standing
    stamp = stamp_after(serial, before.stamp) if before.mirrored else serial
    return StoredProject(standing=StandingRow(since=before.since, stamp=stamp, mirrored=before.mirrored, holds=False))


def _emptied(index: IndexState, place: Emptied, serial: Serial) -> IndexState:
    if place.project is None:
        projects = {name: dropped(it, serial) if it.mirrored or it.holds else it for name, it in index.projects.items()}
        return IndexState(config=index.config, projects=projects)
    found = index.projects.get(place.project, _NO_PROJECT)
    if place.about:
        kept = {name: it for name, it in found.attachments.items() if it.about != place.about}
        return replace(index, projects={**index.projects, place.project: replace(found, attachments=kept)})
    return replace(
        index,
        projects={**index.projects, place.project: StoredProject(standing=found.standing)},
        holders={name: holder for name, holder in index.holders.items() if holder != place.project},
        tombstones={**index.tombstones, **_buried(place.project, found.rows.values())},
    )


def _buried(project: ProjectName, rows: Iterable[PageRow]) -> dict[str, Taken]:
    return {
        row.filename: Taken(project=project, sha256=hosted_digest(decode_file(row.body)), live=False) for row in rows
    }


def _touched(effects: Effects) -> Collection[IndexName]:
    tables: tuple[Iterable[tuple[IndexName, *tuple[str, ...]]], ...] = (
        effects.standings,
        effects.files,
        effects.tombstones,
        effects.releases,
        effects.attachments,
        effects.pages,
    )
    return {index for table in tables for index, *_ in table} | effects.names.keys()


def _expired(index: IndexState, name: IndexName, upto: Serial) -> Iterable[tuple[ProjectKey, Serial]]:
    ended = sorted((died, project) for project, it in index.projects.items() for died, _ in it.past if died <= upto)
    return (((name, project), upto) for _, project in ended[:SWEPT])


def _without_past(index: IndexState, project: ProjectName, upto: Serial) -> IndexState:
    found = index.projects[project]
    left = tuple(each for each in found.past if each[0] > upto)
    return replace(index, projects={**index.projects, project: replace(found, past=left)})


def _edited_index(index: IndexState, name: IndexName, effects: Effects, serial: Serial) -> IndexState:
    rows: dict[ProjectName, dict[str, PageRow | None]] = {}
    holders: dict[str, ProjectName | None] = {}
    for filename, stored in _of(effects.files, name):
        former = index.holders.get(filename)
        if former is not None:
            rows.setdefault(former, {})[filename] = None
        if stored is not None:
            rows.setdefault(stored.project, {})[filename] = page_row(stored.file)
        holders[filename] = stored.project if stored is not None else None
    tables: tuple[Iterable[tuple[IndexName, ProjectName, *tuple[str, ...]]], ...] = (
        effects.standings,
        effects.releases,
        effects.attachments,
        effects.pages,
    )
    projects = dict(index.projects)
    for project in rows.keys() | {project for table in tables for of, project, *_ in table if of == name}:
        before = projects.get(project, _NO_PROJECT)
        projects[project] = _edited_project(before, (name, project), effects, rows.get(project, {}), serial)
    index = replace(
        index,
        projects=projects,
        holders=_merged(index.holders, holders),
        tombstones=_merged(index.tombstones, dict(_of(effects.tombstones, name))),
    )
    return _with_names(index, effects.names[name]) if name in effects.names else index


def _edited_project(
    before: StoredProject, key: ProjectKey, effects: Effects, hosted: Mapping[str, PageRow | None], serial: Serial
) -> StoredProject:
    rows, kept = _merged(before.rows, hosted), before.kept
    if key in effects.pages:
        rows, kept = _paged(rows, effects.pages[key])
    standing = effects.standings.get(key, before.standing)
    past = before.past if standing.since == before.standing.since else ()
    if key in effects.superseded:
        past = (*past, (serial, replace(before, past=())))
    return StoredProject(
        standing=replace(standing, file_count=len(rows), has_past=False),
        past=past,
        rows=rows,
        kept=kept,
        releases=_merged(before.releases, dict(_parts(effects.releases, key))),
        attachments=_merged(before.attachments, dict(_parts(effects.attachments, key))),
    )


def _paged(rows: Mapping[str, PageRow], edit: PageEdit) -> tuple[dict[str, PageRow], KeptRows | None]:
    if edit.kept is not None:
        return {row.filename: row for row in edit.kept}, edit.kept
    left = {} if edit.fresh else {name: row for name, row in rows.items() if name not in edit.drop}
    return left | {name: page_row(file) for name, file in edit.put.items()}, None


def _with_names(index: IndexState, edit: NamesEdit) -> IndexState:
    names = {name: display for name, display in index.names.items() if name not in edit.drop} | dict(edit.put)
    return replace(index, names=names, listing=Listing(stamp=edit.stamp, count=len(names), validators=edit.validators))


def _kept_page(state: StoreState, key: ProjectKey) -> KeptRows:
    kept = state.project(key).kept
    assert kept is not None, "only of a page in one piece"
    return kept


def _of(rows: Mapping[tuple[IndexName, str], _Value], name: IndexName) -> Iterable[tuple[str, _Value]]:
    return ((key, row) for (index, key), row in rows.items() if index == name)


def _parts(rows: Mapping[tuple[IndexName, ProjectName, str], _Value], key: ProjectKey) -> Iterable[tuple[str, _Value]]:
    return ((part, row) for (index, project, part), row in rows.items() if (index, project) == key)


def _named(rows: Mapping[_Key, _Value], keys: Iterable[_Key]) -> dict[_Key, _Value]:
    return {key: rows[key] for key in keys if key in rows}


def _merged(rows: Mapping[_Key, _Value], changed: Mapping[_Key, _Value | None]) -> dict[_Key, _Value]:
    return {key: row for key, row in {**rows, **changed}.items() if row is not None}
