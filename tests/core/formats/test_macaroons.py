"""A token's second spelling: read back as the same token, and never as another."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.formats.macaroons import PREFIX, read_macaroon, read_token, write_macaroon
from pkgindex_core.tokens import SECRET_BYTES, new_token, parse_token, token_text

_RESTRICTIONS = st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=5)


@given(st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES), _RESTRICTIONS, st.sampled_from(["anna", "a-b", "a@b"]))
def test_both_spellings_are_the_same_token(secret: bytes, restrictions: list[str], user: str) -> None:
    token = token_text("0123456789ab", secret)
    assert token.secret_bytes == secret
    assert parse_token(str(token)) == token
    written = write_macaroon(token, user, restrictions)
    assert read_macaroon(written) == token
    assert read_token(f" {written}\n") == token == read_token(str(token))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_token_or_none(data: bytes) -> None:
    read_macaroon(PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("="))


@given(st.text(max_size=100))
def test_any_text_is_a_token_or_none(text: str) -> None:
    assert read_macaroon(text) is None
    read_macaroon(PREFIX + text)


def test_a_changed_text_is_another_token_or_none() -> None:
    token = new_token()
    written = write_macaroon(token, "anna", ["expires=never"])
    for position in range(len(PREFIX), len(written)):
        for other in "Az0-":
            read = read_macaroon(written[:position] + other + written[position + 1 :])
            if (
                read == token
            ):  # the part for people, or bits beyond the last byte: the id and the secret are what they were
                continue
            assert read is None or read.id != token.id or read.secret != token.secret


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_text_that_was_cut_is_none(cut: int) -> None:
    written = write_macaroon(new_token(), "anna", ["expires=never"])
    assert read_macaroon(written[:-cut]) is None


def test_a_secret_that_no_token_has_cannot_be_spelled() -> None:
    """43 digits can spell a little more than 32 bytes hold."""
    beyond = type(new_token())("0123456789ab", "Z" * 43)
    with pytest.raises(OverflowError):
        _ = beyond.secret_bytes
