"""Reads the forms of pages, and shows pages with forms.

A form is accepted from a page of this server only. Three things say so, and each suffices against a page of another site:

    Origin, Sec-Fetch-Site   are set by the browser (`OriginReader.is_foreign` compares the first for all requests)
    form_token               every form has it. It is made from a cookie that pages of other sites cannot read
    SameSite=Lax             the log-in is not sent with forms of other sites

The key of the token is the cookie of the log-in, so a token ends with it. Without a log-in (for the log-in itself, and where a proxy names the
user) it is a cookie that a page with a form sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Denied, PkgIndexError, Refused
from pkgindex_http.errors import retry_headers, status_of
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_bytes
from pkgindex_http.wire.cookies import form_token, is_form_token, new_form_key, read_cookie, written_cookie
from pkgindex_http.wire.replies import Reply, redirect

FORM: Final = "application/x-www-form-urlencoded"
TOKEN_FIELD: Final = "form_token"  # noqa: S105  # the name of a field
_BYTES: Final = 1024 * 1024
_FIELDS: Final = 1000
_SENT_BY_US: Final = frozenset({"same-origin", "none"})


class SentForm(Struct, frozen=True):
    """The fields of a form."""

    fields: Mapping[str, Sequence[str]]

    def text(self, name: str) -> str:
        """The value of a field without blanks at its ends; empty without the field."""
        return self.exact(name).strip()

    def exact(self, name: str) -> str:
        """The value of a field as it was sent, such as a password."""
        return next(iter(self.fields.get(name, ())), "")

    def words(self, name: str) -> tuple[str, ...]:
        """The words of all values of a field, which blanks and commas separate."""
        return tuple(word for value in self.fields.get(name, ()) for word in value.replace(",", " ").split())


async def read_form(ask: Ask) -> SentForm:
    """Read a form of a page of this server. Raises `Denied` for another one."""
    check_sender(ask)
    if ask.content_type != FORM:
        raise Refused("the body is not a form", hint="use the page that has the form")
    body = await read_bytes(ask.request, limit=_BYTES)
    fields: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError as error:  # also UnicodeError
        raise Refused(f"the form is not percent-encoded UTF-8 text with at most {_FIELDS} fields") from error
    for name, value in pairs:
        fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    form = SentForm(fields)
    check_token(ask, form.exact(TOKEN_FIELD))
    return form


def check_sender(ask: Ask) -> None:
    """Raise `Denied` if the browser says that a page of another site sends the form (Fetch Metadata, `Sec-Fetch-Site`)."""
    if ask.request.headers.get("Sec-Fetch-Site", "same-origin") not in _SENT_BY_US:
        raise Denied("a page of another site sent this form", anonymous=False, hint="use the form of this server")


def check_token(ask: Ask, token: str) -> None:
    """Raise `Denied` unless a form has the token that was made for this browser."""
    if not is_form_token(_key(ask), token):
        raise Denied(
            "the form was not made for this log-in",
            anonymous=False,
            hint="go back, load the page again and repeat it; the browser must accept cookies of this server",
        )


async def form_page(
    ask: Ask, template: str, *, error: PkgIndexError | None = None, fields: Sequence[str] = (), **values: Any
) -> Reply:
    """A page with forms. After a refused form `error` tells why; a problem that begins with the name of one of `fields` stands beside it."""
    key = _key(ask)
    fresh = "" if key else new_form_key()
    general, beside = _sorted_problems(error, fields)
    page = await ask.templates.page(
        template,
        root=ask.root or "./",
        user=ask.principal.name,
        has_session=bool(ask.session),
        form_token=form_token(key or fresh),
        problems=general,
        beside=beside,
        hint=error.hint if error is not None else "",
        **values,
    )
    # A browser sends `Origin: null` with forms of a page whose policy is no-referrer (Fetch, "append a request Origin header").
    headers = {**page.headers, "Referrer-Policy": "same-origin", "Vary": "Accept, Authorization, Cookie"}
    headers["Content-Security-Policy"] += "; style-src 'self'; base-uri 'none'"
    if fresh:
        headers["Set-Cookie"] = written_cookie("form", fresh, ask.url, seconds=None)
    if error is None:
        return replace(page, headers=headers)
    return replace(
        page, status=403 if isinstance(error, Denied) else status_of(error), headers={**headers, **retry_headers(error)}
    )


def seen_after(ask: Ask, *parts: str, query: str = "") -> Reply:
    """Redirect to a page of this server after a form was accepted, so that a reload does not send it again (303)."""
    path = "/".join(quote(part, safe="+") for part in parts)
    reply = redirect(f"{ask.root or './'}{path}{f'?{query}' if query else ''}", status=303)
    return replace(reply, headers={**reply.headers, "Cache-Control": "no-store"})


def _key(ask: Ask) -> str:
    return ask.session or read_cookie(ask.request.headers, "form", ask.url)


def _sorted_problems(error: PkgIndexError | None, fields: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    general: list[str] = []
    beside: dict[str, list[str]] = {}
    if error is None:
        return general, beside
    for problem in error.problems if isinstance(error, Refused) else (error.message,):
        words = problem.replace(":", " ").replace("'", " ").split()
        field = next((name for name in fields if name in words), None)
        (beside.setdefault(field, []) if field else general).append(problem)
    return general, beside
