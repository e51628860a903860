"""Answers as bytes: whatever stands in a value, it stays within its line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import HttpVersion10, HttpVersion11
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core import errors
from pkgindex_core.errors import PkgIndexError
from pkgindex_http.devpi.envelope import refusal
from pkgindex_http.errors import error_reply, problem_reply, status_of
from pkgindex_http.wire.replies import Reply, clean_header, head_bytes, json_reply, redirect, text_reply

_NASTY = st.text(max_size=60) | st.sampled_from(
    [
        "a\r\nX-Injected: yes",
        "a\nX-Injected: yes",
        "a\rX: y",
        "\0",
        "嘊嘍X-Injected: yes",
        "\x85",
        "\u2028",
        "\udcff",
        "é",
    ]
)


def _parsed(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    assert head.endswith(b"\r\n\r\n")
    text = head[:-4].decode("latin-1")
    status, *lines = text.split("\r\n")
    assert "\r" not in text.replace("\r\n", "")
    assert "\n" not in text.replace("\r\n", "")
    return status, [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


@given(_NASTY, _NASTY)
def test_no_value_and_no_phrase_ends_its_line(value: str, reason: str) -> None:
    reply = Reply(status=400, headers={"X-One": value, "X-Two": "2"}, body=b"body", reason=reason)
    status, headers = _parsed(head_bytes(reply, keep_alive=True, version=HttpVersion11))
    assert status.startswith("HTTP/1.1 400 ")
    assert [name for name, _ in headers] == ["X-One", "X-Two", "Content-Length", "Date", "Server"]
    assert headers[2][1] == "4"


@given(_NASTY)
def test_a_clean_value_is_left_alone_and_cleaning_twice_changes_nothing(value: str) -> None:
    cleaned = clean_header(value)
    assert clean_header(cleaned) == cleaned
    assert len(cleaned) == len(value)
    cleaned.encode("latin-1")
    if value.isascii() and value.isprintable():
        assert cleaned == value


@given(_NASTY)
def test_a_redirect_stays_one_line(location: str) -> None:
    _, headers = _parsed(head_bytes(redirect(location), keep_alive=True, version=HttpVersion11))
    assert [name for name, _ in headers].count("Location") == 1
    assert "X-Injected" not in [name for name, _ in headers]


@pytest.mark.parametrize(("status", "has_length"), [(200, True), (206, True), (204, False), (304, False), (404, True)])
def test_a_304_and_a_204_have_no_length(status: int, has_length: bool) -> None:
    _, headers = _parsed(head_bytes(Reply(status=status), keep_alive=True, version=HttpVersion11))
    assert ("Content-Length" in dict(headers)) is has_length


def test_connections_are_kept_or_closed_as_the_version_wants() -> None:
    def connection(version: Any, *, keep_alive: bool) -> str | None:
        return dict(_parsed(head_bytes(Reply(), keep_alive=keep_alive, version=version))[1]).get("Connection")

    assert connection(HttpVersion11, keep_alive=True) is None
    assert connection(HttpVersion11, keep_alive=False) == "close"
    assert connection(HttpVersion10, keep_alive=True) == "keep-alive"
    assert connection(HttpVersion10, keep_alive=False) == "close"


def test_documents_are_as_devpis_clients_want_them() -> None:
    reply = json_reply({"result": {"a": 1}, "type": "x"})
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.body == b'{\n  "result": {\n    "a": 1\n  },\n  "type": "x"\n}\n'


def test_texts_end_with_one_line_end() -> None:
    assert text_reply("a").body == b"a\n"
    assert text_reply("a\n").body == b"a\n"
    assert text_reply("").body == b""


_KINDS: list[tuple[PkgIndexError, int]] = [
    (errors.Missing("file", "demo.whl"), 404),
    (errors.Gone("file", "demo.whl", "demo"), 410),
    (errors.Conflict("taken"), 409),
    (errors.FileTaken("demo.whl is there"), 409),
    (errors.NamespaceTaken("acme-x is in the namespace acme of acme/team"), 409),
    (errors.RequirementFailed("taken", object()), 409),
    (errors.ReadOnly("root/dev", "odd"), 405),
    (errors.ReadOnlyReplica("https://packages.example.org"), 403),
    (errors.Refused("bad"), 400),
    (errors.TooLarge("the file", 10), 413),
    (errors.QuotaExceeded("demo in root/dev", 12, 10, option="max_project_bytes"), 413),
    (errors.RetiredAction("remove_pkg", hint="delete it"), 410),
    (errors.Denied("who?", anonymous=True), 401),
    (errors.Denied("no", anonymous=False), 403),
    (errors.Unavailable("later", retry_after=7), 503),
    (errors.Removed(), 503),
    (errors.StorageFull("full"), 507),
    (errors.BadUpstream("it is no index"), 502),
    (errors.Corrupt("rotten"), 500),
    (errors.PkgIndexError("?"), 500),
]


@pytest.mark.parametrize(("error", "status"), _KINDS, ids=lambda value: type(value).__name__)
def test_every_error_has_one_status(error: PkgIndexError, status: int) -> None:
    assert status_of(error) == status
    reply = error_reply(error, "*/*")
    assert reply.status == status
    assert reply.headers["Cache-Control"] == "no-store"
    assert error.message in reply.body.decode()
    assert ("WWW-Authenticate" in reply.headers) is (status == 401)
    assert ("Retry-After" in reply.headers) is (status in {503, 507})


@pytest.mark.parametrize(("seconds", "told"), [(1, "1"), (2, "2"), (300, "2")])
def test_an_installer_is_not_kept_waiting_for_long(seconds: int, told: str) -> None:
    """pip waits for as long as `Retry-After` says, five times, and prints nothing meanwhile."""
    error = errors.Unavailable("later", retry_after=seconds)
    assert error_reply(error, "*/*").headers["Retry-After"] == told
    assert refusal(error, "GET", realm="r").headers["Retry-After"] == told


def test_every_error_of_the_library_has_a_status() -> None:
    named = {type(error) for error, _ in _KINDS}
    assert named == {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PkgIndexError)
    }


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7", "application/problem+json"),
        ("application/vnd.pypi.simple.v1+json", "application/problem+json"),
        ("Application/Problem+JSON", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
    ],
)
def test_errors_come_in_the_form_that_is_asked_for(accept: str, content_type: str) -> None:
    reply = error_reply(errors.Refused(["one", "two"], hint="do this"), accept)
    assert reply.headers["Content-Type"] == content_type
    for word in ("one", "two", "do this"):
        assert word in reply.body.decode()


@given(st.text(max_size=50), st.text(max_size=50), st.sampled_from(["", "application/json", "text/html"]))
def test_any_message_can_be_said_in_every_form(message: str, hint: str, accept: str) -> None:
    """Texts with lone surrogates too: they come from paths and headers that are not UTF-8."""
    reply = error_reply(errors.Refused(message, hint=hint), accept, phrase=True)
    status, _ = _parsed(head_bytes(reply, keep_alive=True, version=HttpVersion11))
    assert status.startswith("HTTP/1.1 400 ")
    assert status.isascii()
    assert len(status) <= 220
    text = reply.body.decode()
    if accept == "application/json":
        assert json.loads(text)["status"] == 400
    if accept == "text/html":
        inner = text.partition("<h1>")[2].partition("</body>")[0]
        tags = ("h1", "p", "em")
        for tag in tags:
            inner = inner.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
        assert "<" not in inner
        assert '"' not in inner


def test_a_problem_names_every_problem() -> None:
    reply = problem_reply(400, "Bad request", ("one", "two"), "", "application/json", {})
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": "Bad request",
        "status": 400,
        "detail": "one; two",
        "errors": ["one", "two"],
    }


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_title_is_not_said_twice(accept: str) -> None:
    error = errors.FileTaken("demo-1.0.tar.gz has other bytes")
    body = error_reply(error, accept, status=400).body.decode()
    assert body.count("File already exists") == (
        2 if accept == "text/html" else 1
    )  # HTML has it as the page's title, too
    assert "demo-1.0.tar.gz has other bytes" in body
    assert error_reply(error, "*/*", status=400).body.startswith(b"File already exists: demo")
