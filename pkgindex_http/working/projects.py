"""Managing a project of an index on a page.

    GET  /{user}/{index}/+manage/{project}    its files, with forms to yank and delete them, and its status
    POST /{user}/{index}/+manage/{project}    do=yank | unyank | delete-file | delete-version | delete-project | status

A deletion needs the typed name of what is deleted. That also says yes to breaking pins in an index that is not volatile (`--force` of the
command line).
"""

from __future__ import annotations

from typing import Any, Final

from pkgindex_core.clock import minute_of
from pkgindex_core.errors import Missing, PkgIndexError, Refused
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import PROJECT_STATUSES, decode_file
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.accounts import confirm
from pkgindex_http.working.forms import SentForm, form_page, read_form, seen_after

_SHOWN: Final = 500
"""The most files of a page. A project with more shows those of its newest versions."""


async def manage(ask: Ask) -> Reply:
    """The page."""
    return await _page(ask)


async def change(ask: Ask) -> Reply:
    """Do what a form of the page says."""
    form = await read_form(ask)
    try:
        return await _change(ask, form)
    except PkgIndexError as error:
        try:
            return await _page(ask, error=error)
        except Missing:
            raise error from None


async def _change(ask: Ask, form: SentForm) -> Reply:
    index, project, principal, engine = ask.index, ask.project, ask.principal, ask.engine
    done = form.text("do")
    match done:
        case "yank":
            yanked: bool | str = form.text("reason")[:1000] or True
            await engine.releases.yank(index, project, form.text("filename"), yanked, principal=principal)
        case "unyank":
            await engine.releases.yank(index, project, form.text("filename"), False, principal=principal)
        case "delete-file":
            confirm(form, form.text("filename"))
            await engine.releases.delete_file(index, project, form.text("filename"), principal=principal, force=True)
        case "delete-version":
            confirm(form, form.text("version"))
            await engine.releases.delete_release(index, project, form.text("version"), principal=principal, force=True)
        case "delete-project":
            confirm(form, project)
            await engine.releases.delete_project(index, project, principal=principal, force=True)
            return seen_after(ask, *index.split("/"))
        case "status":
            status, reason = form.text("status"), form.text("reason")[:1000]
            await engine.project_statuses.mark(index, project, status, reason, principal=principal)
        case _:
            raise Refused("the form does not say what to do")
    return seen_after(ask, *index.split("/"), "+manage", project, query=f"said={done}")


async def _page(ask: Ask, *, error: PkgIndexError | None = None) -> Reply:
    stored = await ask.engine.store.page(ask.index, ask.project)
    config = (await ask.engine.store.tree()).indexes[ask.index]
    if stored is None:
        raise Missing("project", ask.project)
    files = sorted(
        (decode_file(row.body) for row in stored.rows),
        key=lambda file: (version_key(file.version), file.filename),
        reverse=True,
    )
    versions: dict[str, tuple[str, list[dict[str, Any]]]] = {}  # 1.0 and 1.0.0 are one version, in its first spelling
    for file in files[:_SHOWN]:
        at = minute_of(file.upload_time)
        row = {"filename": file.filename, "size": file.size or 0, "at": at, "yanked": file.yanked}
        versions.setdefault(canonical_version(file.version), (file.version, []))[1].append(row)
    return await form_page(
        ask,
        "working/manage.html",
        error=error,
        fields=("confirm", "reason", "status"),
        index=ask.index,
        project=ask.project,
        display=stored.head.display_name or ask.project,
        versions=list(versions.values()),
        left_out=max(0, len(files) - _SHOWN),
        status=stored.head.status or "active",
        reason=stored.head.status_reason,
        statuses=PROJECT_STATUSES,
        hosted=not config.mirrored,
        volatile=config.volatile,
        may_push=bool(permits(ask.principal, Action.PUSH, index=config, project=ask.project)),
        said=ask.query("said") or "",
    )
