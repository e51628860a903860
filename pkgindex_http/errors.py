"""The one table from what went wrong to a status, and the bodies that say it.

Bodies follow `Accept`: problem+json (RFC 9457) for programs (uv prints it), a small page for a browser, plain text
otherwise. Texts name what is wrong and what to do; they never hold a secret, a path of the server, or markup.
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
    Gone,
    Missing,
    PkgIndexError,
    ReadOnly,
    Refused,
    StorageFull,
    TooLarge,
    Unavailable,
)
from pkgindex_core.formats.upload_form import RetiredAction
from pkgindex_http.replies import HTML, SECURITY_HEADERS, TEXT, Reply

REALM: Final = "pkgindex"


class BodyStalled(PkgIndexError):
    """The body of a request stopped coming, or came too slowly."""

    def __init__(self, received: int, seconds: float, rate: int) -> None:
        super().__init__(
            f"the body of the request did not come: {received} bytes were received",
            hint=f"send it again; a body may pause for {seconds:g} seconds and comes with {rate} bytes a second at least",
        )


class UnknownCoding(PkgIndexError):
    """The body has a content coding that is not undone here."""

    def __init__(self, coding: str) -> None:
        super().__init__(f"the body has the Content-Encoding {coding[:40]!r}", hint="send it as it is")


class UnknownTransferCoding(PkgIndexError):
    """The body comes in a transfer coding that is not undone here (RFC 9112 6.1)."""

    def __init__(self, coding: str) -> None:
        super().__init__(
            f"the Transfer-Encoding {coding[:40]!r} is not known", hint="send the body as it is, or chunked"
        )


class MethodNotAllowed(PkgIndexError):
    """The path has other methods (RFC 9110 15.5.6)."""

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        super().__init__(
            f"{method[:20]} is not possible here",
            hint="uploads go to /legacy/ or /USER/INDEX/, not to the simple pages",
        )
        names = sorted(allowed)
        self.allowed = ["HEAD", *names] if "GET" in names else names


class PreconditionFailed(PkgIndexError):
    """What the request says of the present state is not so (RFC 9110 13.1)."""


_STATUSES: Final[tuple[tuple[type[PkgIndexError], int], ...]] = (
    # The most specific first.
    (RetiredAction, 410),
    (BodyStalled, 408),
    (MethodNotAllowed, 405),
    (PreconditionFailed, 412),
    (UnknownCoding, 415),
    (UnknownTransferCoding, 501),
    (TooLarge, 413),
    (ReadOnly, 405),
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
    """The status for an error; a `Denied` that credentials could lift is 401."""
    if isinstance(error, Denied) and error.anonymous:
        return 401
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def challenge(realm: str) -> str:
    """What a 401 asks for."""
    return f'Basic realm="{realm}", charset="UTF-8"'


def retry_headers(error: PkgIndexError) -> dict[str, str]:
    """When to ask again. Whatever an engine says, an installer is not kept waiting for long: pip waits five times, without a word."""
    if not isinstance(error, Unavailable) or error.retry_after is None:
        return {}
    seconds = error.retry_after if isinstance(error, StorageFull) else min(error.retry_after, SOON)
    return {"Retry-After": str(seconds)}


def error_reply(
    error: PkgIndexError, accept: str, *, status: int | None = None, phrase: bool = False, realm: str = REALM
) -> Reply:
    """Answer an error. `phrase` puts the message into the reason phrase too, where upload clients look for it."""
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
    reply = problem_reply(status, _title(error, status), problems, error.hint, accept, headers)
    return msgspec.structs.replace(reply, reason=_phrase_of(error, status)) if phrase else reply


def problem_reply(
    status: int,
    title: str,
    problems: tuple[str, ...],
    hint: str,
    accept: str,
    headers: dict[str, str],
) -> Reply:
    """Write one error in the form the client asked for."""
    accept = accept.lower()
    # uv prints the title and the detail beside each other, and a browser shows both.
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
        kind, body = (
            HTML,
            (
                f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{status} {html.escape(title)}</title></head>\n'
                f"<body>\n<h1>{html.escape(title)}</h1>\n{lines}{advice}</body>\n</html>\n"
            ).encode(),
        )
    else:
        kind, body = TEXT, "\n".join([*problems, *([hint] if hint else []), ""]).encode()
    return Reply(status=status, headers={"Content-Type": kind, **SECURITY_HEADERS, **headers}, body=body)


def _title(error: PkgIndexError, status: int) -> str:
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
        501: "Not implemented",
        502: "The upstream cannot be used",
        503: "Temporarily unavailable",
        507: "No space left",
    }
    if isinstance(error, MethodNotAllowed):
        return "Method not allowed"
    if isinstance(error, Conflict) and error.message.startswith("File already exists"):
        return "File already exists"
    return titles.get(status, "Internal error")


def _phrase_of(error: PkgIndexError, status: int) -> str:
    """One short line of visible ASCII. Twine and devpi print it; HTTP/2 has none, so the body says the same.

    A 401 begins with the standard word, which scripts around devpi's client look for.
    """
    message = f"Unauthorized: {error.message}" if status == 401 else error.message
    text = "".join(character if " " <= character <= "~" else "?" for character in message)
    return text[:200]
