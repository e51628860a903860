"""Checks the preconditions of requests: of a change before its handler runs, of a read when the answer is made.

`preconditions` has the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkgindex_http.errors import PreconditionFailed
from pkgindex_http.routing import RoutedAsk
from pkgindex_http.wire.preconditions import Validators, failed_change, failed_read, is_conditional
from pkgindex_http.wire.ranges import unix_seconds
from pkgindex_http.wire.replies import Reply
from pkgindex_http.wire.sending import FileResponse, StreamedResponse

if TYPE_CHECKING:
    from pkgindex_http.wire import web

_READS = frozenset({"GET", "HEAD"})


async def check_change(ask: RoutedAsk) -> None:
    """Raise `PreconditionFailed` for a change whose precondition does not hold. Called before the body is read."""
    headers = ask.request.headers
    if ask.request.method in _READS or not is_conditional(headers):
        return
    validators = await ask.route.validators(ask) if ask.route.validators is not None else Validators()
    failed = failed_change(headers, validators, creates=ask.request.method == "PUT")
    if failed:
        raise _failure(failed, validators)


async def check_read(ask: RoutedAsk, answer: Reply | web.StreamResponse) -> Reply | web.StreamResponse:
    """Return the answer to a GET or HEAD, or raise `PreconditionFailed`. Only successful answers are compared (RFC 9110 13.2.1)."""
    headers = ask.request.headers
    if ask.request.method not in _READS or not ask.route.conditional or not is_conditional(headers):
        return answer
    if not isinstance(answer, Reply | FileResponse | StreamedResponse) or answer.status not in {200, 206, 304}:
        return answer
    shown = answer if isinstance(answer, Reply) else answer.reply
    validators = Validators(shown.headers.get("ETag", ""), unix_seconds(shown.headers.get("Last-Modified", "")) or 0.0)
    failed = failed_read(headers, validators)
    if failed:
        if isinstance(answer, StreamedResponse):
            await answer.drop()
        raise _failure(failed, validators)
    return answer


def _failure(condition: str, validators: Validators) -> PreconditionFailed:
    if condition == "If-Unmodified-Since":
        known = bool(validators.modified)
        hint = (
            "it was changed later" if known else "this resource has no date of its last change; leave the condition out"
        )
    elif validators.etag:
        hint = f"its entity tag is {validators.etag}"
    else:
        hint = "this resource has no entity tag; leave the condition out"
    return PreconditionFailed(f"the precondition {condition} does not hold, and nothing was changed", hint=hint)
