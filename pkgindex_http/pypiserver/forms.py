"""POST `/` with pypiserver's actions: `file_upload`, `doc_upload`, `remove_pkg`, and `submit` and `verify`, which do nothing.

A name that is taken is 409, and 400 for twine, which takes that as a file to skip. Both texts have "already exists".
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_core.protocols import Principal, UploadForm
from pkgindex_core.services.writing.outcomes import UploadOutcome
from pkgindex_core.services.writing.receiving import Upload
from pkgindex_http.handlers import uploads
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, text_reply

_OPEN: Final = Principal(name="pypiserver")
"""Anonymous clients where updates need no log-in: a deletion needs a name."""


class Forms:
    """Takes forms. `is_open`: updates need no log-in, deletions among them."""

    def __init__(self, *, is_open: bool) -> None:
        self._is_open = is_open

    async def take(self, ask: Ask) -> Reply:
        """Do what the form asks for."""
        is_twine = "twine" in ask.request.headers.get("User-Agent", "").lower()
        return await uploads.take(ask, self._finish, status_of_taken=400 if is_twine else 409)

    async def _finish(self, ask: Ask, incoming: Upload[UploadOutcome]) -> Reply:
        match incoming.form.first(":action"):
            case "file_upload" | "doc_upload":
                return await uploads.published(ask, await incoming.finish())
            case "remove_pkg":
                return await self._remove(ask, incoming.form)
            case "submit" | "verify":  # nothing has to be registered before its files come
                return text_reply("")
            case "":
                raise Refused("Missing ':action' field!")
            case other:
                raise Refused(f"Unsupported ':action' field: {other[:80]}")

    async def _remove(self, ask: Ask, form: UploadForm) -> Reply:
        """Delete all files of a version."""
        name, version = form.first("name"), form.first("version")
        if not name or not version:
            raise Refused(f"Missing 'name'/'version' fields: name={name[:80]}, version={version[:80]}")
        not_found = Missing("version", f"{name} {version}"[:200], message=f"{name[:80]} ({version[:80]}) not found")
        project = normalized_or_none(name)
        if project is None:
            raise not_found
        principal = ask.principal
        if self._is_open and principal.name is None:
            principal = ask.engine.identity.at_home(_OPEN)
        await ask.engine.releases.may_delete(ask.index, principal=principal, force=True, project=project)
        # The files may be new in the directory, and not in the store yet.
        config = await ask.engine.indexes.config(ask.index)
        (standing,) = await ask.engine.store.standings(project, [ask.index])
        await ask.engine.sources.of(config).refresh(config, project, standing)
        try:
            await ask.engine.releases.delete_release(ask.index, project, version, principal=principal, force=True)
        except Missing:
            raise not_found from None
        return text_reply("")
