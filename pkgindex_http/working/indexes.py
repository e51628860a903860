"""Making, changing and removing indexes on pages.

    GET  /{user}/+new-index          a form for a new index
    POST /{user}/+new-index          step=show: what it would be; step=save: make it
    GET  /{user}/{index}/+edit       a form with the options of an index
    POST /{user}/{index}/+edit       step=show: what the change does to the pages; step=save: change it
    POST /{user}/{index}/+delete     remove a volatile index, whose name must be typed

Options are text, as on the command line, and are read by the same rules. Only options that the person changed are sent to the service. A form
that was made before somebody else's change is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pkgindex_core.errors import Conflict, PkgIndexError, Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.rules.access import require_user_right
from pkgindex_core.rules.permissions import Action
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.accounts import confirm
from pkgindex_http.working.forms import SentForm, form_page, read_form, seen_after

_PREFIX: Final = "option."
_SHOWN: Final = 200
"""The most projects to which the page of an index has links."""
_OF_A_NEW: Final = ("bases", "volatile", "acl_read", "acl_upload", "title", "mirror_url")
_HELP: Final[Mapping[str, str]] = {
    "bases": "Indexes to inherit from, the most important first, with commas: root/pypi",
    "volatile": "true: files may be overwritten and the index deleted. false: a file never changes",
    "acl_read": "Its readers: user names, :AUTHENTICATED: or :ANONYMOUS:",
    "acl_upload": "Its publishers: user names; empty for the owner alone",
    "mirror_url": "For the type mirror: the simple API of the other index, such as https://pypi.org/simple/",
    "mirror_whitelist": "Projects that may come from mirrors although a hosted index has the name; * for all",
}


async def may_make(ask: Ask) -> None:
    """Check the right to make an index of this user."""
    require_user_right(ask.principal, Action.INDEX_CREATE, ask.values["user"])


async def new(ask: Ask) -> Reply:
    """A form for a new index."""
    return await _new(ask, SentForm({}))


async def make(ask: Ask) -> Reply:
    """Make an index, or show what it would be."""
    form = await read_form(ask)
    try:
        name = f"{ask.values['user']}/{form.text('name')}"
        if not form.text("name"):
            raise Refused("name: an index needs a name")
        options = {"type": form.text("type") or "stage", **_options(form, {})}
        drafted = await ask.engine.indexes.drafted(name, options, principal=ask.principal, new=True)
        if form.text("step") != "save":
            return await _new(ask, form, drafted=drafted)
        await ask.engine.indexes.create(name, options, principal=ask.principal)
    except PkgIndexError as error:
        return await _new(ask, form, error=error)
    return seen_after(ask, ask.values["user"], form.text("name"), "+edit", query="said=made")


async def edit(ask: Ask) -> Reply:
    """A form with the options of an index."""
    return await _edit(ask, SentForm({}))


async def change(ask: Ask) -> Reply:
    """Change an index, or show what that would do."""
    form = await read_form(ask)
    try:
        config = await ask.engine.indexes.config(ask.index)
        if form.text("seen") != _seen(config):
            raise Conflict(
                "somebody else has changed the index meanwhile", hint="look at its options below, and change them again"
            )
        options = _options(form, _texts(ask, config))
        drafted = await ask.engine.indexes.drafted(ask.index, options, principal=ask.principal, new=False)
        if form.text("step") != "save":
            return await _edit(ask, form, drafted=drafted)
        await ask.engine.indexes.modify(ask.index, options, principal=ask.principal, seen=config)
    except PkgIndexError as error:
        return await _edit(ask, SentForm({}) if isinstance(error, Conflict) else form, error=error)
    return seen_after(ask, *ask.index.split("/"), "+edit", query="said=saved")


async def may_delete(ask: Ask) -> None:
    """Check the right to remove the index, and that it is volatile."""
    await ask.engine.indexes.check_deletion(ask.index, ask.principal)


async def delete(ask: Ask) -> Reply:
    """Remove an index with all its content."""
    form = await read_form(ask)
    try:
        confirm(form, ask.index)
        await ask.engine.indexes.delete(ask.index, principal=ask.principal)
    except PkgIndexError as error:
        return await _edit(ask, SentForm({}), error=error)
    return seen_after(ask)


def _options(form: SentForm, present: Mapping[str, str]) -> dict[str, Any]:
    """The options of a form that differ from the present ones, and one that the form adds."""
    given: dict[str, Any] = {}
    for field in form.fields:
        key = field.removeprefix(_PREFIX)
        if key != field and form.text(field) != present.get(key, ""):
            given[key] = form.text(field)
    if added := form.text("more"):
        for line in added.splitlines():
            key, equals, value = line.partition("=")
            if not equals or not key.strip():
                raise Refused(f"more: {line[:80]} is not an option", hint="write one key=value a line")
            given[key.strip()] = value.strip()
    return given


def _texts(ask: Ask, config: IndexConfig) -> dict[str, str]:
    """The options of an index as the form shows them."""
    document = ask.engine.overview.options(config)
    texts = {key: _text(value) for key, value in document.items() if key != "type"}
    # The document leaves these out while they are as in a new index; people look for them.
    return {"title": config.title, "acl_read": ",".join(config.acl_read), **texts}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _seen(config: IndexConfig) -> str:
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()[:16]


async def _new(
    ask: Ask, form: SentForm, *, error: PkgIndexError | None = None, drafted: IndexConfig | None = None
) -> Reply:
    defaults = {"volatile": "false", "bases": ask.default_index if not form.fields else ""}
    rows = [(key, form.text(_PREFIX + key) or defaults.get(key, ""), _HELP.get(key, "")) for key in _OF_A_NEW]
    return await form_page(
        ask,
        "working/index.html",
        error=error,
        fields=("name", "type", "more", *_OF_A_NEW),
        index="",
        owner=ask.values["user"],
        name=form.text("name"),
        kind=form.text("type") or "stage",
        kinds=sorted(ask.engine.index_options.types),
        rows=rows,
        more=form.text("more"),
        seen="",
        projects=(),
        more_projects=False,
        **await _effect(ask, drafted, None),
    )


async def _edit(
    ask: Ask, form: SentForm, *, error: PkgIndexError | None = None, drafted: IndexConfig | None = None
) -> Reply:
    config = await ask.engine.indexes.config(ask.index)
    texts = _texts(ask, config)
    rows = await ask.engine.store.projects(ask.index, limit=_SHOWN + 1)
    shown = {key: form.text(_PREFIX + key) if _PREFIX + key in form.fields else value for key, value in texts.items()}
    return await form_page(
        ask,
        "working/index.html",
        error=error,
        fields=("more", "confirm", *texts),
        index=ask.index,
        owner=ask.values["user"],
        name=ask.index.partition("/")[2],
        kind=config.type,
        kinds=[config.type],
        rows=[(key, value, _HELP.get(key, "")) for key, value in shown.items()],
        more=form.text("more"),
        seen=_seen(config),
        projects=rows[:_SHOWN],
        more_projects=len(rows) > _SHOWN,
        **await _effect(ask, drafted, config),
    )


async def _effect(ask: Ask, drafted: IndexConfig | None, before: IndexConfig | None) -> dict[str, Any]:
    """The values of the page for a draft: the options that change, and the projects that gain or lose files."""
    volatile = before is not None and before.volatile
    common = {"said": ask.query("said") or "", "volatile": volatile}
    if drafted is None:
        return {**common, "effect": None, "changes": []}
    old = _texts(ask, before) if before is not None else {}
    new = _texts(ask, drafted)
    keys = list(dict.fromkeys([*old, *new]))
    changes = [(key, old.get(key, ""), new.get(key, "")) for key in keys if old.get(key, "") != new.get(key, "")]
    return {**common, "effect": await ask.engine.effects.of(drafted, principal=ask.principal), "changes": changes}
