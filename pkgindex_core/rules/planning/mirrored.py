"""The meaning of changes of mirrored projects: pages, in one piece or as rows, which may have a past (`past`), and lists of names, which have none.

`plan` decides by the standing of a page. The page itself is only read if it is in one piece and a difference changes it.
"""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.changes import DropMirrorPage, MirrorNames, MirrorPage
from pkgindex_core.errors import Missing
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning.draft import Draft
from pkgindex_core.rules.planning.facts import StandingRow


def change_mirrored(draft: Draft, change: MirrorPage | DropMirrorPage | MirrorNames) -> None:
    match change:
        case MirrorPage():
            _mirror_page(draft, change)
        case DropMirrorPage(index, project):
            standing = draft.standings.get((index, project))
            if standing is None or not standing.holds:
                raise Missing("project", project)
            draft.forget_page((index, project))
            draft.abandon((index, project), standing)
        case MirrorNames(index):
            stamp = draft.listings.get(index)
            draft.edit_names(change, stamp if stamp and not change.put and not change.drop else draft.serial)


def _mirror_page(draft: Draft, change: MirrorPage) -> None:
    key = (change.index, change.project)
    before = draft.standings.get(key)
    if before is None or not before.mirrored:
        before = StandingRow(since=draft.serial, stamp=Serial(0), mirrored=True, holds=False)
    elif not before.holds and change.part in {"whole", "first"}:
        draft.forget_page(key)  # drops parts of a page whose last part did not come
        before = replace(before, file_count=0)
    same_files = not change.kept and not change.put and not change.drop
    unseen = before.holds and same_files and change_rules.looks_the_same(before.head, change.head)
    kept, file_count = (None, before.file_count) if unseen else _edit_files(draft, change, before)
    is_last = change.part in {"whole", "last"}
    head = change.head if is_last else before.head
    stamp, content = change_rules.page_name(
        change, draft.serial, (before.stamp, before.content), unseen=unseen, head=head, rows=kept
    )
    row = StandingRow(
        since=before.since,
        stamp=stamp,
        mirrored=True,
        holds=is_last or before.holds,
        file_count=file_count,
        head=head,
        content=content,
        kept=before.kept if unseen else kept is not None,
    )
    if unseen and (stamp, content) == (
        before.stamp,
        before.content,
    ):  # what is shown stays the same, so no row begins
        draft.standings.put(key, row)
    else:
        draft.succeed(key, row)


def _edit_files(draft: Draft, change: MirrorPage, before: StandingRow) -> tuple[KeptRows | None, int]:
    """Edit the files of a page. Returns them if they are in one piece, and the `file_count` of the standing without single files that are put."""
    key = (change.index, change.project)
    stored = draft.kept_page(key) if before.kept and not change.kept else None
    kept = change_rules.kept_rows(stored, change)
    if kept is not None:
        if kept is not stored:
            draft.keep_page(key, kept)
        return kept, len(kept)
    if stored is not None:
        draft.unfold_page(key, stored)
    if change.put or change.drop:
        draft.edit_page(key, change.put, change.drop)
    return None, before.file_count if stored is None else 0
