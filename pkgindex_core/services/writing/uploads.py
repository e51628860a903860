"""Takes uploads into hosted indexes: receives them, and hands each to its handler.

    file_upload  file_uploads
    doc_upload   documentation_uploads
    submit       registering

The form's `:action` selects the handler. Digests in the form are compared before anything is kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.upload_form import check_action, dropped_parts, expected_digests
from pkgindex_core.formats.upload_rules import RULES
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, Trees, UploadForm
from pkgindex_core.rules.access import publishing_index
from pkgindex_core.rules.kept_options import quotas
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.documentation_uploads import DocumentationUploads
from pkgindex_core.services.writing.file_uploads import FileUploads
from pkgindex_core.services.writing.outcomes import UploadOutcome
from pkgindex_core.services.writing.receiving import Receiving, Upload
from pkgindex_core.services.writing.registering import Registering
from pkgindex_core.storage_failures import storage_failure


class Uploads:
    """Takes uploads into hosted indexes."""

    def __init__(
        self,
        *,
        store: Trees,
        receiving: Receiving,
        files: FileUploads,
        documentation: DocumentationUploads,
        registering: Registering,
    ) -> None:
        self._store = store
        self._receiving = receiving
        self._files = files
        self._documentation = documentation
        self._registering = registering

    @asynccontextmanager
    async def receive(self, index: IndexName, principal: Principal) -> AsyncIterator[Upload[UploadOutcome]]:
        """Open an upload. Refuses what it can before any byte of the body is read.

        Errors of the operating system (an unreadable archive, too many open files) become `Unavailable`. The caller handles broken
        connections.
        """
        config = await self.may_upload(index, principal)

        async def take(upload: Upload[UploadOutcome]) -> UploadOutcome:
            return await self._take(upload, config, principal)

        receiving = self._receiving.within(quotas(config).file)
        upload = Upload(take, receiving, rules=RULES[config.upload_rules])
        try:
            failpoint("upload.headers_read")
            yield upload
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            raise storage_failure(error, "taking an upload") from error
        finally:
            await upload.discard()

    async def may_upload(
        self, index: IndexName, principal: Principal, project: ProjectName | None = None
    ) -> IndexConfig:
        """Raise unless the principal may upload to an index; `project` may be unknown."""
        tree = await self._store.tree()
        # The form is not read yet and may be documentation, so the permission to upload documentation is enough.
        also = (Action.UPLOAD_DOCS,) if project is None else ()
        return publishing_index(
            tree, index, principal, Action.UPLOAD, also=also, project=project, some_project=project is None
        )

    async def _take(self, upload: Upload[UploadOutcome], config: IndexConfig, principal: Principal) -> UploadOutcome:
        form = upload.form
        outcome = await self._kept(upload, form, config.name, principal)
        dropped = dropped_parts(form, signed=upload.signed)
        return replace(outcome, warnings=(*outcome.warnings, *dropped)) if dropped else outcome

    async def _kept(
        self, upload: Upload[UploadOutcome], form: UploadForm, index: IndexName, principal: Principal
    ) -> UploadOutcome:
        action = check_action(form)
        if action == "submit":
            if upload.spool is not None:
                raise Refused(
                    "the form registers metadata and has a file", hint="send :action=file_upload to upload the file"
                )
            return await self._registering.register(index, form, principal, upload.rules)
        if upload.spool is None:
            raise Refused(
                "content file field not found", hint="send the file as the multipart part `content`, with a filename"
            )
        if action == "doc_upload":
            await upload.compare_digests(upload.spool, expected_digests(form))
            return await self._documentation.publish(
                upload.spool, form, upload.filename, index=index, principal=principal
            )
        name = upload.name(form)
        config = await self.may_upload(index, principal, name.project)
        await upload.compare_digests(upload.spool, expected_digests(form))
        failpoint("upload.digests_checked")
        return await self._files.publish(
            upload.spool, form, name, config=config, rules=upload.rules, principal=principal
        )
