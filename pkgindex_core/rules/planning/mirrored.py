"""What changes of mirrored projects mean: pages, in one piece or as rows, and lists of names. None has a past.

A page is edited without being read: `plan` decides from its standing, and only a page in one piece is read for a difference to it.
"""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.changes import DropMirrorPage, MirrorNames, MirrorPage
from pkgindex_core.errors import Missing
from pkgindex_core.formats.kept_pages import KeptRows, page_content
from pkgindex_core.models import PageHead
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
    standing = draft.standings.get(key)
    known = standing if standing is not None and standing.mirrored else None
    held = known if known is not None and known.holds else None
    if known is not None and held is None and change.part in {"whole", "first"}:
        draft.forget_page(key)
        known = replace(known, file_count=0)
    shown = change.head if change.part in {"whole", "last"} else held.head if held is not None else None
    same_files = not change.kept and not change.put and not change.drop
    if held is not None and same_files and change_rules.looks_the_same(held.head, change.head):
        draft.standings.put(key, replace(held, head=shown or held.head))
        return
    kept, file_count = _edit_files(draft, change, known)
    row = StandingRow(
        since=known.since if known is not None else draft.serial,
        stamp=draft.serial,
        mirrored=True,
        holds=shown is not None,
        file_count=file_count,
        head=shown or PageHead(),
        content=page_content(shown or PageHead(), kept.kept) if kept is not None else "",
        kept=kept is not None,
    )
    draft.standings.put(key, row)


def _edit_files(draft: Draft, change: MirrorPage, known: StandingRow | None) -> tuple[KeptRows | None, int]:
    """Edit a page's files. Returns them if they are in one piece, and the standing's `file_count`, which rows that are put add to."""
    key = (change.index, change.project)
    stored = draft.kept_page(key) if known is not None and known.kept and not change.kept else None
    kept = change_rules.kept_rows(stored, change)
    if kept is not None:
        if kept is not stored:
            draft.keep_page(key, kept)
        return kept, len(kept)
    if stored is not None:
        draft.unfold_page(key, stored)
    if change.put or change.drop:
        draft.edit_page(key, change.put, change.drop)
    return None, known.file_count if known is not None and stored is None else 0
