"""The table from errors to statuses, and the bodies of error answers.

Bodies follow `Accept`: problem+json (RFC 9457) for programs (uv prints it), a small page for a browser, plain text
otherwise. Texts say what is wrong and what to do. They have no secret, no path of the server and no markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pkgindex_core.errors import (
    SOON,
    BadUpstream,
    Conflict,
    Corrupt,
    Denied,
    FileTaken,
    Gone,
    Missing,
    PkgIndexError,
    QuotaExceeded,
    ReadOnly,
    ReadOnlyReplica,
    Refused,
    RetiredAction,
    StorageFull,
    TooLarge,
    Unavailable,
)
from pkgindex_http.wire.replies import HTML, SECURITY_HEADERS, TEXT, Reply

REALM: Final = "pkgindex"


class BodyStalled(PkgIndexError):
    """The body of a request stopped coming, or came too slowly."""

    def __init__(self, received: int, seconds: float, rate: int) -> None:
        super().__init__(
            f"the body of the request did not come in time: {received} bytes were received",
            hint=f"send it again; a body may pause for {seconds:g} seconds and must come with at least {rate} bytes a second",
        )


class UnknownCoding(PkgIndexError):
    """The body has a `Content-Encoding`; the server decodes none."""

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"the body has the Content-Encoding {coding[:40]!r}, which is not supported", hint="send the body unencoded"
        )


class UnknownTransferCoding(PkgIndexError):
    """The body has a transfer coding other than `chunked` (RFC 9112 6.1)."""

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"the Transfer-Encoding {coding[:40]!r} is not known", hint="send the body unencoded, or chunked"
        )


class MethodNotAllowed(PkgIndexError):
    """The path has other methods (RFC 9110 15.5.6)."""

    def __init__(self, method: str, allowed: Iterable[str], *, simple: bool = False) -> None:
        """`simple`: the path is that of a simple page, to which uploads are sent by mistake."""
        names = sorted(allowed)
        self.allowed = ["HEAD", *names] if "GET" in names else names
        upload = "send uploads to /legacy/ or /USER/INDEX/, not to a simple page"
        hint = upload if simple else f"the methods of this URL are {', '.join(self.allowed)}"
        super().__init__(f"{method[:20]} is not possible here", hint=hint)


class TooManyAttempts(PkgIndexError):
    """Too many log-ins from the client's address have failed. `seconds`: how long to wait before the next one (RFC 6585 4)."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            "too many log-ins from this address have failed",
            hint=f"check the credentials, and try again in {seconds} s; a token is not slowed down",
        )
        self.seconds = seconds


class PreconditionFailed(PkgIndexError):
    """A precondition of the request does not hold (RFC 9110 13.1)."""


_STATUSES: Final[tuple[tuple[type[PkgIndexError], int], ...]] = (
    # The most specific kinds are first.
    (RetiredAction, 410),
    (BodyStalled, 408),
    (MethodNotAllowed, 405),
    (PreconditionFailed, 412),
    (UnknownCoding, 415),
    (TooManyAttempts, 429),
    (UnknownTransferCoding, 501),
    (TooLarge, 413),
    (QuotaExceeded, 413),
    (ReadOnly, 405),
    (ReadOnlyReplica, 403),
    (Refused, 400),
    (Gone, 410),
    (Missing, 404),
    (Conflict, 409),
    (Denied, 403),
    (StorageFull, 507),
    (BadUpstream, 502),
    (Unavailable, 503),
    (Corrupt, 500),
    (PkgIndexError, 500),
)


def status_of(error: PkgIndexError) -> int:
    """The status for an error. `Denied` is 401 when credentials could help, and 403 otherwise."""
    if isinstance(error, Denied) and error.anonymous:
        return 401
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def challenge(realm: str) -> str:
    """The `WWW-Authenticate` header of a 401."""
    return f'Basic realm="{realm}", charset="UTF-8"'


def retry_headers(error: PkgIndexError) -> dict[str, str]:
    """The `Retry-After` header of an error. That of `Unavailable` is short whatever the engine says: pip waits five times so long and prints nothing."""
    if isinstance(error, TooManyAttempts):
        return {"Retry-After": str(error.seconds)}
    if not isinstance(error, Unavailable) or error.retry_after is None:
        return {}
    seconds = error.retry_after if isinstance(error, StorageFull) else min(error.retry_after, SOON)
    return {"Retry-After": str(seconds)}


def error_reply(
    error: PkgIndexError, accept: str, *, status: int | None = None, phrase: bool = False, realm: str = REALM
) -> Reply:
    """The answer for an error. `phrase` also puts the message into the reason phrase, which upload clients print."""
    status = status_of(error) if status is None else status
    headers: dict[str, str] = {"Cache-Control": "no-store", "Vary": "Accept"}
    if status == 401:
        headers["WWW-Authenticate"] = challenge(realm)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if status == 415:
        headers["Accept-Encoding"] = "identity"  # RFC 9110 15.5.16
    headers |= retry_headers(error)
    problems = error.problems if isinstance(error, Refused) else (error.message,)
    reply = problem_reply(status, title_of(error, status), problems, error.hint, accept, headers)
    return msgspec.structs.replace(reply, reason=_phrase_of(error, status)) if phrase else reply


def problem_reply(
    status: int,
    title: str,
    problems: tuple[str, ...],
    hint: str,
    accept: str,
    headers: dict[str, str],
) -> Reply:
    """An error as JSON, HTML or text, by `accept`."""
    accept = accept.lower()
    # uv and browsers show title and details together, so the details do not repeat the title.
    details = tuple(problem.removeprefix(f"{title}: ") for problem in problems)
    if "json" in accept:
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": "; ".join(details),
        }
        if hint:
            document["hint"] = hint
        if len(problems) > 1:
            document["errors"] = list(details)
        kind, body = "application/problem+json", msgspec.json.encode(document) + b"\n"
    elif "text/html" in accept:
        lines = "".join(f"<p>{html.escape(problem)}</p>\n" for problem in details)
        advice = f"<p><em>{html.escape(hint)}</em></p>\n" if hint else ""
        head = f'<meta charset="utf-8"><title>{status} {html.escape(title)}</title>'
        page = f"<body>\n<h1>{html.escape(title)}</h1>\n{lines}{advice}</body>"
        kind, body = HTML, f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n{page}\n</html>\n'.encode()
    else:
        kind, body = TEXT, "\n".join([*problems, *([hint] if hint else []), ""]).encode()
    return Reply(status=status, headers={"Content-Type": kind, **SECURITY_HEADERS, **headers}, body=body)


def title_of(error: PkgIndexError, status: int) -> str:
    """The title of an error, for people: some words that do not depend on the request."""
    titles = {
        400: "Bad request",
        401: "Authentication required",
        403: "Not permitted",
        404: "Not found",
        405: "Read-only",
        408: "The request did not come in time",
        409: "Conflict",
        410: "Gone",
        412: "Precondition failed",
        413: "Too large",
        415: "Unsupported coding",
        429: "Too many failed log-ins",
        501: "Not implemented",
        502: "The upstream cannot be used",
        503: "Temporarily unavailable",
        507: "No space left",
    }
    if isinstance(error, MethodNotAllowed):
        return "Method not allowed"
    if isinstance(error, FileTaken):
        return "File already exists"
    return titles.get(status, "Internal error")


def _phrase_of(error: PkgIndexError, status: int) -> str:
    """The reason phrase: one short line of visible ASCII, which twine and devpi print. HTTP/2 has none, so the body has it too.

    The phrase of a 401 begins with `Unauthorized`, which scripts around devpi's client look for.
    """
    message = f"Unauthorized: {error.message}" if status == 401 else error.message
    text = "".join(character if " " <= character <= "~" else "?" for character in message)
    return text[:200]
