"""Publishing files on a page, by choosing or dropping them.

    GET  /{user}/{index}/+upload    a form for files
    POST /{user}/{index}/+upload    publishes each file of the form, in its own commit

A file is received as from twine, and checked by the same rules. Its fields are read from its name, and the rest from the archive. A file that is
refused does not stop the others. The token of the form comes before the first file, so nothing is received without it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from pkgindex_core.errors import Conflict, Denied, PkgIndexError, Refused
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_form import FILETYPES
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.services.writing.outcomes import Published, UploadOutcome
from pkgindex_http.handlers.uploads import count, drain
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import chunks
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.forms import TOKEN_FIELD, check_sender, check_token, form_page

if TYPE_CHECKING:
    from pkgindex_core.services.writing.receiving import Upload
    from pkgindex_http.wire.multipart import PartHead

_FIELD_BYTES: Final = 4096
_FILES: Final = 200
_DOCUMENTATION: Final = ".doc.zip"


class FileReport(Struct, frozen=True, kw_only=True):
    """The outcome for one file."""

    filename: str
    project: str = ""
    version: str = ""
    remarks: tuple[str, ...] = ()
    """Warnings, or the problems of a refused file."""
    hint: str = ""
    refused: bool = False
    is_new: bool = False
    """False: the same bytes were there already."""


async def form(ask: Ask) -> Reply:
    """The form."""
    return await _page(ask, [])


async def publish(ask: Ask) -> Reply:
    """Publish the files of a form."""
    from pkgindex_http.wire.multipart import FormReader  # no start needs it

    check_sender(ask)
    async with AsyncExitStack() as stack:
        receiver = _Receiver(ask, stack)
        content_type = ask.request.headers.get("Content-Type", "")
        reader = FormReader(content_type, chunks(ask.request), field_bytes=_FIELD_BYTES)
        try:
            await reader.run(field=receiver.field, begin_file=receiver.begin, file_data=receiver.data)
            await receiver.finish()
            receiver.check()
        except PkgIndexError as error:
            await drain(ask)
            if isinstance(error, Denied):
                raise
            return await _page(ask, receiver.reports, error=error)
    if not receiver.reports:
        return await _page(ask, [], error=Refused("content: choose a file, or drop one here"))
    return await _page(ask, receiver.reports)


class _Receiver:
    """Receives the parts of a form, and publishes one file after the other."""

    def __init__(self, ask: Ask, stack: AsyncExitStack) -> None:
        self.reports: list[FileReport] = []
        self._ask = ask
        self._stack = stack
        self._is_ours = False
        self._filename = ""
        self._upload: Upload[UploadOutcome] | None = None
        """The upload of the present file; None while there is none, or it was refused."""

    def field(self, name: str, value: str) -> None:
        """Take a text field."""
        if name == TOKEN_FIELD:
            check_token(self._ask, value)
            self._is_ours = True

    def check(self) -> None:
        """Raise unless the form has its token."""
        if not self._is_ours:
            check_token(self._ask, "")

    async def begin(self, part: PartHead) -> None:
        """Begin a file."""
        self.check()
        await self.finish()
        if len(self.reports) >= _FILES:
            raise Refused(f"content: a form may have {_FILES} files", hint="send the others in another form")
        self._filename = (part.filename or "").replace("\\", "/").rpartition("/")[2]
        if not self._filename:  # a browser sends an empty part when no file was chosen
            return
        try:
            receiving = self._ask.engine.uploads.receive(self._ask.index, self._ask.principal)
            upload = await self._stack.enter_async_context(receiving)
            for name, value in _fields_of(self._filename).items():
                upload.field(name, value)
            await upload.begin_content(self._filename)
            self._upload = upload
        except (Refused, Conflict) as error:
            self._refused(error)

    async def data(self, data: bytes) -> None:
        """Take bytes of the present file."""
        try:
            if self._upload is not None:
                await self._upload.write(data)
        except (Refused, Conflict) as error:
            self._refused(error)

    async def finish(self) -> None:
        """Publish the present file, if there is one."""
        upload, self._upload = self._upload, None
        try:
            if upload is not None:
                outcome = await upload.finish()
                count(self._ask, outcome)
                self.reports.append(_report(self._filename, outcome))
        except (Refused, Conflict) as error:
            self._refused(error)
        await self._stack.aclose()  # frees the spool of this file before the next one comes

    def _refused(self, error: Refused | Conflict) -> None:
        self._upload = None
        problems = error.problems if isinstance(error, Refused) else (error.message,)
        self.reports.append(FileReport(filename=self._filename, remarks=tuple(problems), hint=error.hint, refused=True))


def _fields_of(filename: str) -> dict[str, str]:
    """The fields that twine would send with a file."""
    stem = filename.removesuffix(_DOCUMENTATION)
    if stem != filename:
        project, _, version = stem.rpartition("-")
        return {":action": "doc_upload", "name": project, "version": version}
    name = parse_upload_filename(filename, LENIENT)
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": name.project,
        "version": name.version,
        "filetype": FILETYPES.get(name.kind, ("",))[0],
        "pyversion": name.python_tag,
        "metadata_version": "2.1",
    }


def _report(filename: str, outcome: UploadOutcome) -> FileReport:
    version = outcome.file.version if isinstance(outcome, Published) else ""
    return FileReport(
        filename=filename, project=outcome.project, version=version, remarks=outcome.warnings, is_new=outcome.created
    )


async def _page(ask: Ask, reports: list[FileReport], *, error: PkgIndexError | None = None) -> Reply:
    return await form_page(
        ask, "working/upload.html", error=error, fields=("content",), index=ask.index, reports=reports
    )
