"""The first start: gives an empty store its first user and indexes, in one commit.

Everybody can read the mirror and the default index. Only their owner can write.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pkgindex_core.changes import Change, PutIndex, PutUser, UserAbsent
from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig, User
from pkgindex_core.names import owner, parse_index_name
from pkgindex_core.protocols import Passwords
from pkgindex_core.rules.kept_options import with_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.workers import in_worker
from pkgindex_core.urls import without_credentials

MIRROR_NAME: Final = "root/pypi"
"""The mirror of a new store."""


async def begin(
    stores: Stores, settings: Settings, context: Context, passwords: Passwords, *, indexes: bool, log_in: bool = True
) -> Path | None:
    """Fill an empty store and mark its blobs. Returns the file with root's generated password. Without `indexes` the store gets the user alone.

    Without `log_in` root has no password, so no log-in is possible.

    Without a password in the settings one is generated, and written to a file that only this user can read. Returns None if there
    are users already, if the settings have a password, or if another process was faster.
    """
    if await stores.index.users():
        return None
    place = None if settings.root_password is not None or not log_in else context.data / PASSWORD_FILE
    password = settings.root_password or ""
    if place is not None:
        password = await in_worker(context.workers, _agreed_password, place)
    hashed = await passwords.hash(password, may_be_empty=True) if log_in else ""
    now = context.clock.now()
    root = User(name=ROOT, password_hash=hashed, created=now, modified=now)
    first: list[Change] = [
        PutUser(root),
        *(PutIndex(config) for config in (_first_indexes(settings) if indexes else [])),
    ]
    try:
        await stores.index.apply(first, who="[start]", require=[UserAbsent(ROOT)])
    except RequirementFailed:
        place = None  # another process filled the store, with the same password
    await stores.ownership.settle(stores.index)
    return place


def _first_indexes(settings: Settings) -> list[IndexConfig]:
    url, credentials = without_credentials(settings.upstream)
    is_pypi = urlsplit(url).hostname == "pypi.org"
    mirror = with_options(
        IndexConfig(
            name=parse_index_name(MIRROR_NAME),
            type="mirror",
            read_only=True,
            mirrored=True,
            volatile=False,
            acl_read=(ANONYMOUS,),
            title="PyPI" if is_pypi else "",
        ),
        mirror_url=url,
        mirror_credentials=credentials,
        mirror_cache_expiry=settings.mirror.expiry,
        mirror_web_url_fmt="https://pypi.org/project/{name}/" if is_pypi else "",
    )
    default = parse_index_name(settings.default_index)
    if owner(default) != ROOT:
        return [mirror]
    stage = IndexConfig(
        name=default,
        bases=(mirror.name,),
        volatile=False,
        acl_read=(ANONYMOUS,),
        acl_upload=(ROOT,),
        acl_toxresult_upload=(ANONYMOUS,) if settings.devpi_defaults else (AUTHENTICATED,),
    )
    return [mirror, stage]


def _agreed_password(place: Path) -> str:
    """The password in the file, or a new one that is written to it durably. If two processes write, the first one wins.

    The file appears complete or not at all, so that there is one password even if a start dies half-way.
    """
    if not place.exists():
        draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                # Hexadecimal: after `-p`, twine and curl take a password that begins with "-" for an option.
                stream.write(f"{secrets.token_hex(16)}\n")
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                place.hardlink_to(draft)
        finally:
            draft.unlink()
        directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return place.read_text().strip()
