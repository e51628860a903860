"""The legacy upload API (twine, uv publish, flit, hatch, poetry, devpi upload): publishes the file of a form.

Success is 200 with the warnings, one a line, or as JSON if the client asks for it. Errors are in the reason phrase and in the body,
because clients print one or the other. A file that exists is 400 with a message that begins `File already exists`: twine and
poetry recognise it for `--skip-existing`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pkgindex_core.errors import Conflict, NamespaceTaken, PkgIndexError, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.services.writing.outcomes import DocumentationTaken, Published, UploadOutcome
from pkgindex_http.errors import BodyStalled, error_reply
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import chunks, read_bytes
from pkgindex_http.wire.marks import marks
from pkgindex_http.wire.replies import Reply, json_reply, text_reply

if TYPE_CHECKING:
    from pkgindex_core.services.writing.receiving import Upload, UploadLimits
    from pkgindex_http.wire.multipart import PartHead

_QUERY_FIELDS = (":action", "protocol_version")
_FIELDS_ONLY = "application/x-www-form-urlencoded"
"""The content type with which devpi-server registers a release that it pushes (`register_project`): a form without a file."""
_DRAIN_LIMIT = 256 * 1024 * 1024
"""Bytes of a refused upload that are still read, so that the client sees the answer instead of a broken pipe."""


async def may_upload(ask: Ask) -> None:
    """Check the right to upload, before the body is read."""
    await ask.engine.uploads.may_upload(ask.index, ask.principal)


async def upload(ask: Ask) -> Reply:
    """Publish a file, or register the metadata of a version without a file."""
    return await take(ask, _finish)


async def _finish(ask: Ask, incoming: Upload[UploadOutcome]) -> Reply:
    return await published(ask, await incoming.finish())


async def take(
    ask: Ask, finish: Callable[[Ask, Upload[UploadOutcome]], Awaitable[Reply]], *, status_of_taken: int = 400
) -> Reply:
    """Receive a form, do what `finish` does with it, and say so. A name that is taken is told with the status."""
    try:
        async with ask.engine.uploads.receive(ask.index, ask.principal) as incoming:
            await _receive(ask, incoming)
            return await finish(ask, incoming)
    except PkgIndexError as error:
        await drain(ask)
        if isinstance(error, Conflict) and not isinstance(error, DocumentationTaken | NamespaceTaken):
            return error_reply(error, ask.accept, status=status_of_taken, phrase=True)
        raise


async def published(ask: Ask, outcome: UploadOutcome) -> Reply:
    """Say what an upload came to."""
    failpoint("upload.answered")
    count(ask, outcome)
    headers = await _marks(ask)
    if "application/json" not in ask.accept.lower():
        return text_reply("\n".join(outcome.warnings), headers=headers)
    document = {
        "status": 200,
        # The key that devpi's envelope has for texts.
        "message": "; ".join(outcome.warnings),
        "index": outcome.index,
        "project": outcome.project,
        "created": outcome.created,
        "warnings": outcome.warnings,
    }
    if isinstance(outcome, Published):
        document |= {"filename": outcome.file.filename, "version": outcome.file.version}
    return json_reply(document, headers=headers)


def count(ask: Ask, outcome: UploadOutcome) -> None:
    """Count a new file."""
    if isinstance(outcome, Published) and outcome.created:
        ask.engine.activity.uploaded(outcome.index, outcome.project)


async def _marks(ask: Ask) -> dict[str, str]:
    """The headers of devpi, with a serial that includes the upload. Empty if the store fails now: the upload is published anyway."""
    try:
        return await marks(ask.engine)
    except PkgIndexError:
        return {}


async def _receive(ask: Ask, incoming: Upload[UploadOutcome]) -> None:
    """Take the form in."""
    request = ask.request
    for name in _QUERY_FIELDS:
        value = ask.query(name)
        if value is not None:
            incoming.field(name, value)

    if ask.content_type == _FIELDS_ONLY:
        for name, value in await _fields(ask, incoming.limits):
            incoming.field(name, value)
        return

    async def begin_file(part: PartHead) -> None:
        if part.name == "gpg_signature":
            await incoming.skip_content()
        elif part.name == "content":
            await incoming.begin_content(part.filename or "")
        else:
            raise Refused(f"{part.name[:80]}: Should not be a tuple", hint="send this field as text, not as a file")

    from pkgindex_http.wire.multipart import FormReader  # no start needs it

    reader = FormReader(
        request.headers.get("Content-Type", ""), chunks(request), field_bytes=incoming.limits.field_bytes
    )
    await reader.run(field=incoming.field, begin_file=begin_file, file_data=incoming.write)


async def _fields(ask: Ask, limits: UploadLimits) -> list[tuple[str, str]]:
    """The fields of a form without files."""
    body = await read_bytes(ask.request, limit=limits.form_bytes)
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=limits.field_count
        )
    except UnicodeError as error:
        raise Refused("the form is not percent-encoded UTF-8 text") from error
    except ValueError as error:
        raise Refused(f"the form has more than {limits.field_count} fields") from error


async def drain(ask: Ask) -> None:
    """Read the rest of a refused upload, up to a bound, so that the client sees the answer."""
    left = _DRAIN_LIMIT
    try:
        async for data in chunks(ask.request):
            left -= len(data)
            if left < 0:
                return
    except (Refused, BodyStalled):
        return
