"""Which indexes a principal may copy, and what their commits are."""

from __future__ import annotations

from typing import Any

from pkgindex_core.changes import Commit, DropIndex, DropUser, PutFile, PutIndex, PutToken, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.models import File, IndexConfig, Serial, Token, Tree, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, TokenScope
from pkgindex_core.rules.followed import ELSEWHERE, followed, part_of
from pkgindex_core.testing.configs import index_config

BEN = Principal(name="ben")


def tree(**options: dict[str, Any]) -> Tree:
    configs = [index_config(name.replace("_", "/"), **given) for name, given in options.items()]
    return Tree(serial=Serial(1), indexes={config.name: config for config in configs})


def limited(*indexes: str, **limits: Any) -> Principal:
    return Principal(name="ben", scope=TokenScope(token_id="t", indexes=indexes, actions=("follow",), **limits))


def test_a_user_copies_what_the_user_may_read_and_fetch() -> None:
    there = tree(
        a_open={},
        a_shared={"acl_read": ("ben",)},
        a_hidden={"acl_read": ("anna",)},
        a_pages={"options": {"acl_download": ["anna"]}},
    )
    assert followed(there, BEN).indexes == {"a/open", "a/shared"}
    assert followed(there, Principal()).indexes == set()


def test_an_index_comes_with_all_bases_or_not_at_all() -> None:
    there = tree(
        a_open={},
        a_hidden={"acl_read": ("anna",)},
        b_over={"bases": ("a/open", "a/missing")},
        b_torn={"bases": ("b/middle",)},
        b_middle={"bases": ("a/hidden",)},
    )
    part = followed(there, limited("b/*"))
    assert part.indexes == {"b/over", "a/open"}
    assert set(part.left_out) == {"b/torn", "b/middle"}
    assert not any("hidden" in reason for reason in part.left_out.values())


def test_what_a_replica_does_not_want_and_what_readers_may_not_see_is_no_base_either() -> None:
    there = tree(a_one={}, a_two={"bases": ("a/one",)}, a_three={})
    one = IndexName("a/one")
    assert followed(there, BEN, without=(one,)).indexes == {"a/three"}
    part = followed(there, BEN, private=(one,))
    assert part.indexes == {"a/three"}
    assert set(part.left_out) == {"a/one", "a/two"}


def test_a_token_for_projects_or_for_reading_copies_nothing() -> None:
    there = tree(a_open={})
    assert not followed(there, limited(projects=("demo",))).indexes
    assert not followed(there, Principal(name="ben", scope=TokenScope(token_id="t", actions=("read",)))).indexes


def test_a_commit_is_cut_to_the_indexes_and_has_no_accounts() -> None:
    shown, hidden, demo = IndexName("a/shown"), IndexName("b/hidden"), ProjectName("demo")
    file = File(filename="demo-1.0.tar.gz", version="1.0")
    secret = Token(id="t", user="a", secret_sha256=sha256_of(b"secret"))
    commit = Commit(
        serial=Serial(7),
        at=Timestamp(70),
        who="anna",
        changes=(
            PutUser(User(name="a", password_hash="$argon2", email="a@example.org")),
            PutToken(secret),
            PutIndex(index_config(shown, title="has a secret")),
            PutIndex(index_config(hidden)),
            PutFile(shown, demo, file),
            PutFile(hidden, demo, file),
            DropIndex(hidden),
            DropUser("c"),
        ),
    )

    def cleaned(config: IndexConfig) -> IndexConfig:
        return index_config(config.name, title="clean")

    part = part_of(commit, {shown}, without_secrets=cleaned)
    assert part == Commit(
        serial=Serial(7),
        at=Timestamp(70),
        who="anna",
        changes=(
            PutUser(User(name="a")),
            PutIndex(index_config(shown, title="clean")),
            PutFile(shown, demo, file),
        ),
    )
    nothing = part_of(commit, set(), without_secrets=cleaned)
    assert nothing == Commit(serial=Serial(7), at=Timestamp(70), who=ELSEWHERE, changes=())
