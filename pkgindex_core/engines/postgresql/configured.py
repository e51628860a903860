"""The statements that write configurations of indexes, users and tokens."""

from __future__ import annotations

from typing import Final

import msgspec

from pkgindex_core.engines.postgresql.batches import Statements, ended, records
from pkgindex_core.models import Serial
from pkgindex_core.rules.planning import Effects
from pkgindex_core.rules.planning.past import retention

_encode = msgspec.msgpack.Encoder().encode

_END_USERS: Final = ended("users", "name")
_BEGIN_USERS: Final = f"INSERT INTO users (name, died, born, body) SELECT name, 9223372036854775807, serial, body FROM {records('serial bigint, name text, body bytea')}"
_DROP_TOKENS: Final = f"DELETE FROM tokens USING {records('id text')} WHERE tokens.id = x.id"
_PUT_TOKENS: Final = f"INSERT INTO tokens (id, owner, created, body) SELECT id, owner, created, body FROM {records('id text, owner text, created bigint, body bytea')}"


def write_identities(batch: Statements, effects: Effects, serial: Serial) -> None:
    users = effects.users.items()
    batch.add(_END_USERS, ({"serial": serial, "name": name} for name, _ in users))
    batch.add(
        _BEGIN_USERS,
        ({"serial": serial, "name": name, "body": _encode(user)} for name, user in users if user is not None),
    )
    batch.add(_DROP_TOKENS, ({"id": token_id} for token_id in effects.tokens))
    tokens = (token for token in effects.tokens.values() if token is not None)
    batch.add(
        _PUT_TOKENS,
        ({"id": token.id, "owner": token.user, "created": token.created, "body": _encode(token)} for token in tokens),
    )


_PUT_INDEXES: Final = f"INSERT INTO indexes (name) SELECT name FROM {records('name text')} ON CONFLICT DO NOTHING"
_END_CONFIGS: Final = ended("configs", "index_name")
_BEGIN_CONFIGS: Final = (
    "INSERT INTO configs (index_name, died, born, mirrored, history, kept_since, body) SELECT index_name, 9223372036854775807, serial, mirrored, history, kept_since, body"
    f" FROM {records('serial bigint, index_name text, mirrored boolean, history bigint, kept_since bigint, body bytea')}"
)


def write_configs(batch: Statements, effects: Effects, serial: Serial) -> None:
    batch.add(_PUT_INDEXES, ({"name": name} for name in effects.configs))
    batch.add(_END_CONFIGS, ({"serial": serial, "index_name": name} for name in effects.configs))
    batch.add(
        _BEGIN_CONFIGS,
        (
            {
                "serial": serial,
                "index_name": name,
                "mirrored": config.mirrored,
                "history": retention(config)[0],
                "kept_since": retention(config)[1],
                "body": _encode(config),
            }
            for name, config in effects.configs.items()
            if config is not None
        ),
    )
