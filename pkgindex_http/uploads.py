"""The legacy upload API (twine, uv publish, flit, hatch, poetry, devpi upload): a form comes in, a file is published.

Success is 200 with the warnings: one a line, or a JSON document for a client that asks for one. Failures put the message into the reason phrase and into the body, because that is
where clients look; a file that exists is 400 beginning `File already exists`, which is what twine and poetry recognise for `--skip-existing`.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from pkgindex_core.errors import Conflict, PkgIndexError, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.services.writing.documentation_uploads import DocumentationTaken
from pkgindex_core.services.writing.file_uploads import Published
from pkgindex_core.services.writing.receiving import UploadLimits
from pkgindex_core.services.writing.uploads import UploadOutcome
from pkgindex_http.bodies import chunks, read_bytes
from pkgindex_http.errors import BodyStalled, error_reply
from pkgindex_http.marks import marks
from pkgindex_http.multipart import FormReader, PartHead
from pkgindex_http.replies import Reply, json_reply, text_reply
from pkgindex_http.requests import Ask

_QUERY_FIELDS = (":action", "protocol_version")
_FIELDS_ONLY = "application/x-www-form-urlencoded"
"""How devpi-server registers what it pushes (`register_project`), since a registration has no file."""
_DRAIN_LIMIT = 256 * 1024 * 1024
"""Bytes of a refused upload that are read on, so that the client reads the answer instead of a broken pipe."""


async def may_upload(ask: Ask) -> None:
    """Before a byte of the body is asked for."""
    await ask.engine.uploads.may_upload(ask.index, ask.principal)


async def upload(ask: Ask) -> Reply:
    """Publish a file, or register the metadata of a version without one."""
    try:
        published = await _receive(ask)
    except PkgIndexError as error:
        await _drain(ask)
        if isinstance(error, Conflict) and not isinstance(error, DocumentationTaken):
            return error_reply(error, ask.accept, status=400, phrase=True)
        raise
    failpoint("upload.answered")
    headers = await _marks(ask)
    if "application/json" not in ask.accept.lower():
        return text_reply("\n".join(published.warnings), headers=headers)
    document = {
        "status": 200,
        # devpi's envelope has its text here.
        "message": "; ".join(published.warnings),
        "index": published.index,
        "project": published.project,
        "created": published.created,
        "warnings": published.warnings,
    }
    if isinstance(published, Published):
        document |= {"filename": published.file.filename, "version": published.file.version}
    return json_reply(document, headers=headers)


async def _marks(ask: Ask) -> dict[str, str]:
    """The headers of devpi, with the serial that has the upload. A store that fails now does not take back what was published."""
    try:
        return await marks(ask.engine)
    except PkgIndexError:
        return {}


async def _receive(ask: Ask) -> UploadOutcome:
    request = ask.request
    async with ask.engine.uploads.receive(ask.index, ask.principal) as incoming:
        for name in _QUERY_FIELDS:
            value = ask.query(name)
            if value is not None:
                incoming.field(name, value)

        if ask.content_type == _FIELDS_ONLY:
            for name, value in await _fields(ask, incoming.limits):
                incoming.field(name, value)
            return await incoming.finish()

        async def begin_file(part: PartHead) -> None:
            if part.name == "gpg_signature":
                await incoming.skip_content()
            elif part.name == "content":
                await incoming.begin_content(part.filename or "")
            else:
                raise Refused(f"{part.name[:80]}: Should not be a tuple", hint="send this field as text, not as a file")

        reader = FormReader(
            request.headers.get("Content-Type", ""), chunks(request), field_bytes=incoming.limits.field_bytes
        )
        await reader.run(field=incoming.field, begin_file=begin_file, file_data=incoming.write)
        return await incoming.finish()


async def _fields(ask: Ask, limits: UploadLimits) -> list[tuple[str, str]]:
    """The fields of a form that has nothing else."""
    body = await read_bytes(ask.request, limit=limits.form_bytes)
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=limits.field_count
        )
    except UnicodeError as error:
        raise Refused("the form is not UTF-8 text, percent-encoded") from error
    except ValueError as error:
        raise Refused(f"the form has more than {limits.field_count} fields") from error


async def _drain(ask: Ask) -> None:
    left = _DRAIN_LIMIT
    try:
        async for data in chunks(ask.request):
            left -= len(data)
            if left < 0:
                return
    except (Refused, BodyStalled):
        return
