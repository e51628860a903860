"""Promoting a release to another index on a page: what will move is shown first.

    GET  /{user}/{index}/+promote/{project}/{version}    a choice of indexes; with ?to=USER/INDEX also what will move
    POST /{user}/{index}/+promote/{project}/{version}    push the release to the index `to`

It is devpi's push: one commit, and both indexes name the same bytes.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.names import IndexName, index_name_or_none
from pkgindex_core.rules.access import readable_tree
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.moving.pushing import PlannedPush
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.forms import form_page, read_form, seen_after

_SHOWN: Final = 500
"""The most indexes that the page offers."""


class PromotedFile(Struct, frozen=True, kw_only=True):
    """One line of the difference that a push makes."""

    name: str
    size: int | None
    mark: str
    """`+`: it is new there; `=`: the same is there already; `~`: it replaces something there; ` `: it is there and stays."""
    text: str


async def page(ask: Ask) -> Reply:
    """The page."""
    return await _page(ask, ask.query("to") or "")


async def promote(ask: Ask) -> Reply:
    """Push the release."""
    form = await read_form(ask)
    wanted = form.text("to")
    try:
        result = await ask.engine.pushing.push(
            ask.index, _target(wanted), ask.project, ask.values["version"], principal=ask.principal
        )
    except PkgIndexError as error:
        return await _page(ask, wanted, error=error)
    query = f"to={wanted}&said={'moved' if result.changed else 'same'}"
    return seen_after(ask, *ask.index.split("/"), "+promote", ask.project, ask.values["version"], query=query)


async def _page(ask: Ask, wanted: str, *, error: PkgIndexError | None = None) -> Reply:
    tree = readable_tree(await ask.engine.store.tree(), ask.principal)
    targets = [
        name
        for name, config in sorted(tree.indexes.items())
        if name != ask.index
        and not config.read_only
        and permits(ask.principal, Action.UPLOAD, index=config, project=ask.project)
    ]
    said = ask.query("said") or ""
    moves: list[PromotedFile] = []
    if wanted and error is None:
        try:
            draft = await ask.engine.pushing.drafted(
                ask.index, _target(wanted), ask.project, ask.values["version"], principal=ask.principal
            )
            moves = _moves(draft)
        except PkgIndexError as refusal:
            error = refusal
    return await form_page(
        ask,
        "working/promote.html",
        error=error,
        fields=("to",),
        index=ask.index,
        project=ask.project,
        version=ask.values["version"],
        targets=targets[:_SHOWN],
        to=wanted,
        moves=moves,
        said=said if error is None else "",
    )


def _target(text: str) -> IndexName:
    user, _, index = text.partition("/")
    name = index_name_or_none(user, index)
    if name is None:
        raise Missing("index", text[:160])
    return name


def _moves(draft: PlannedPush) -> list[PromotedFile]:
    there = {file.filename: file for file in draft.there.files}
    moves = []
    for file in draft.pushable.holding.files:
        held = there.pop(file.filename, None)
        if held is None:
            mark, text = "+", "will be added"
        elif held.sha256 == file.sha256:
            mark, text = "=", "is there already, with the same bytes"
        else:
            mark, text = "~", "replaces a file with other bytes"
        moves.append(PromotedFile(name=file.filename, size=file.shown_size, mark=mark, text=text))
    known = {each.filename: each.sha256 for each in draft.there.attachments}
    for attachment in draft.pushable.holding.attachments:
        what = "documentation" if attachment.kind == "doczip" else "test result"
        same = known.get(attachment.filename) == attachment.sha256
        text = f"{what}, {'is there already' if same else 'will be added'}"
        moves.append(PromotedFile(name=attachment.filename, size=attachment.size, mark="=" if same else "+", text=text))
    moves += [
        PromotedFile(name=file.filename, size=file.size, mark=" ", text="is only there, and stays")
        for file in draft.there.of(draft.push.version).files
        if file.filename in there
    ]
    return moves
