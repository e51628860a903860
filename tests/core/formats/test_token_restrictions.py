"""devpi-tokens' restrictions in our words: never wider than what was asked for, and everything wrong told at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Denied, Refused
from pkgindex_core.formats.token_restrictions import (
    ACTIONS,
    YEAR_SECONDS,
    Limits,
    read_restrictions,
    write_restrictions,
)
from pkgindex_core.models import Token
from pkgindex_core.rules.permissions import Action

NOW = Timestamp(1_800_000_000_000_000)
EPOCH = 1_800_000_000


def read(document: dict[str, Any], *, unbounded: bool = False) -> Limits:
    return read_restrictions(document, now=NOW, unbounded=unbounded)


def token(limits: Limits) -> Token:
    return Token(
        id="a",
        user="anna",
        secret_sha256=sha256_of(b""),
        expires=None if limits.seconds is None else Timestamp(NOW + limits.seconds * 1_000_000),
        indexes=limits.indexes,
        projects=limits.projects,
        actions=limits.actions,
    )


def test_without_restrictions_a_token_lives_a_year_and_manages_no_users() -> None:
    limits = read({})
    assert limits == Limits()
    assert limits.seconds == YEAR_SECONDS
    assert not {
        action for action in limits.actions if action.startswith(("user-m", "user-c", "user-d", "token", "pass"))
    }


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ({}, [f"expires={EPOCH + YEAR_SECONDS}"]),
        ({"expires": None}, [f"expires={EPOCH + YEAR_SECONDS}"]),
        ({"expires": EPOCH + 60}, [f"expires={EPOCH + 60}"]),
        ({"expires": str(EPOCH + 60)}, [f"expires={EPOCH + 60}"]),
        ({"expires": EPOCH + 60, "not_before": EPOCH}, [f"expires={EPOCH + 60}"]),
        (
            {
                "allowed": ["upload", "pkg_read"],
                "expires": EPOCH + 60,
                "indexes": ["b/dev", "a/dev"],
                "projects": ["A_b"],
            },
            ["allowed=pkg_read,upload", f"expires={EPOCH + 60}", "indexes=a/dev,b/dev", "projects=a-b"],
        ),
        (
            {"allowed": ["del_verdata", "del_entry", "del_project", "yank"], "expires": EPOCH + 60},
            ["allowed=del_entry,del_project,del_verdata,yank", f"expires={EPOCH + 60}"],
        ),
    ],
)
def test_what_was_asked_for_is_what_is_listed(document: dict[str, Any], lines: list[str]) -> None:
    assert write_restrictions(token(read(document))) == lines


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"expire": 1}, "Unknown restriction 'expire'; did you mean 'expires'?"),
        ({"allowed": "upload"}, "The allowed restriction must be a list"),
        ({"allowed": ["upload", ""]}, "The allowed restriction must be a list"),
        ({"allowed": []}, "the list 'allowed' is empty"),
        ({"allowed": ["uplaod"]}, "unknown permission 'uplaod'; did you mean 'upload'?"),
        ({"allowed": ["del_entry"]}, "del_entry alone cannot be given"),
        ({"allowed": ["user_modify"]}, "'user_modify' is nothing that a token can be allowed"),
        ({"allowed": ["token-manage"]}, "'token-manage' is nothing that a token can be allowed"),
        ({"indexes": ["dev"]}, "'dev' is no index"),
        ({"projects": ["a b"]}, "invalid project name 'a b'"),
        ({"expires": EPOCH}, "Can't set expiration before current time"),
        ({"expires": "soon"}, "Invalid value 'soon' for expiration"),
        ({"expires": True}, "Invalid value 'True' for expiration"),
        ({"expires": 1e300}, "more than a hundred years"),
        ({"not_before": EPOCH + 5}, "not_before lies in the future"),
        ({"not_before": "soon"}, "Invalid value 'soon' for not before"),
    ],
)
def test_what_is_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(Refused) as refused:
        read({**document, "nonsense": 1}, unbounded=True)
    assert problem in "\n".join(refused.value.problems)
    assert "Unknown restriction 'nonsense'" in "\n".join(refused.value.problems)


@pytest.mark.parametrize("expires", ["never", EPOCH + YEAR_SECONDS + 1])
def test_only_root_makes_tokens_for_more_than_a_year(expires: object) -> None:
    with pytest.raises(Denied):
        read({"expires": expires})
    assert read({"expires": expires}, unbounded=True).seconds != YEAR_SECONDS


@given(
    st.sets(
        st.sampled_from(["pkg_read", "upload", "toxresult_upload", "index_create", "index_modify", "index_delete"]),
        min_size=1,
    )
)
def test_devpis_words_come_back_as_they_were(words: set[str]) -> None:
    limits = read({"allowed": sorted(words)})
    assert f"allowed={','.join(sorted(words))}" in write_restrictions(token(limits))
    assert set(limits.actions) <= set(ACTIONS)
    assert (Action.UPLOAD in limits.actions) == ("upload" in words)
    assert Action.DELETE not in limits.actions
