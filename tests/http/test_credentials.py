"""What a request presents: read once, and either understood or denied."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Denied
from pkgindex_core.protocols import Credentials
from pkgindex_http.wire.credentials import read_credentials

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def _encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def _given(username: str, secret: str) -> Credentials:
    return Credentials(username=username, secret=secret)


def test_nothing_presented_is_nobody() -> None:
    assert read_credentials({}) is None
    assert read_credentials({"Cookie": "a=b", "Proxy-Authorization": "Basic x"}) is None


@pytest.mark.parametrize(
    ("headers", "credentials"),
    [
        ({"Authorization": f"Basic {_encoded('anna:secret')}"}, _given("anna", "secret")),
        ({"Authorization": f"bAsIc   {_encoded('anna:secret')}  "}, _given("anna", "secret")),
        ({"Authorization": f"Basic {_encoded('anna:a:b:c')}"}, _given("anna", "a:b:c")),
        ({"Authorization": f"Basic {_encoded(':token')}"}, _given("", "token")),
        ({"Authorization": f"Basic {_encoded('token')}"}, _given("token", "")),
        ({"Authorization": f"Basic {_encoded('anna:pässword')}"}, _given("anna", "pässword")),
        # RFC 7617: a client that ignores `charset` sends latin-1.
        ({"Authorization": f"Basic {_encoded('anna:pässword'.encode('latin-1'))}"}, _given("anna", "pässword")),
        ({"Authorization": "Bearer pkgi_x"}, _given("__token__", "pkgi_x")),
        ({"Authorization": "bearer  pkgi_x "}, _given("__token__", "pkgi_x")),
        ({"Authorization": "token pkgi_x"}, _given("__token__", "pkgi_x")),
        ({"X-Devpi-Auth": _encoded("anna:secret")}, _given("anna", "secret")),
        # A proxy in front may want Basic for itself: devpi's own header counts.
        (
            {"X-Devpi-Auth": _encoded("anna:secret"), "Authorization": f"Basic {_encoded('proxy:other')}"},
            _given("anna", "secret"),
        ),
    ],
)
def test_every_way_of_presenting(headers: dict[str, str], credentials: Credentials) -> None:
    assert read_credentials(headers) == credentials


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!"},
        {"Authorization": "Basic YW5uYQ"},
        {"Authorization": "Basic \udcff"},
        {"Authorization": "Digest username=anna"},
        {"Authorization": "Negotiate abc"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer \udcff"},
        {"Authorization": "Basic " + "A" * 10_000},
        {"Authorization": "Bearer " + "A" * 10_000},
        {"X-Devpi-Auth": "!!"},
        {"X-Devpi-Auth": "", "Authorization": f"Basic {_encoded('anna:secret')}"},
    ],
)
def test_what_cannot_be_read_is_denied_and_not_anonymous(headers: dict[str, str]) -> None:
    with pytest.raises(Denied) as refused:
        read_credentials(headers)
    assert refused.value.anonymous
    for value in headers.values():
        assert not value.strip() or value.strip() not in f"{refused.value.message} {refused.value.hint}"


@given(_TEXT.filter(lambda name: ":" not in name), _TEXT)
def test_basic_comes_back_as_it_was_sent(username: str, secret: str) -> None:
    text = f"{username}:{secret}"
    assert read_credentials({"Authorization": f"Basic {_encoded(text)}"}) == _given(username, secret)
    assert read_credentials({"X-Devpi-Auth": _encoded(text)}) == _given(username, secret)


@given(st.text(max_size=60), st.sampled_from(["", "Basic ", "Bearer ", "token ", "Digest "]))
def test_any_header_is_read_or_denied(value: str, scheme: str) -> None:
    """Header values may hold lone surrogates: that is how bytes that are not UTF-8 come through."""
    try:
        credentials = read_credentials({"Authorization": scheme + value})
    except Denied:
        return
    assert credentials is not None
    f"{credentials.username}{credentials.secret}".encode()


def test_credentials_never_show_themselves() -> None:
    assert "secret" not in repr(read_credentials({"Authorization": f"Basic {_encoded('anna:secret')}"}))
