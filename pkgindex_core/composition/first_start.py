"""The first start: an empty store gets its first user and indexes, in one commit.

The mirror and the default index can be read by everyone and written by nobody but their owner.
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
"""The mirror that a fresh store has."""


async def begin(stores: Stores, settings: Settings, context: Context, passwords: Passwords) -> Path | None:
    """Fill an empty store and mark its blobs; return where the new root password lies.

    A password that the settings do not give is generated, written to a file that only this user can read, and never printed. None
    when there are users already, when the password was given, and when another process was faster.
    """
    if await stores.index.users():
        return None
    place = None if settings.root_password is not None else context.data / PASSWORD_FILE
    password = settings.root_password or ""
    if place is not None:
        password = await in_worker(context.workers, _agreed_password, place)
    hashed = await passwords.hash(password, may_be_empty=True)
    now = context.clock.now()
    root = User(name=ROOT, password_hash=hashed, created=now, modified=now)
    first: list[Change] = [PutUser(root), *(PutIndex(config) for config in _first_indexes(settings))]
    try:
        await stores.index.apply(first, who="[start]", require=[UserAbsent(ROOT)])
    except RequirementFailed:
        place = None  # another process started at the same moment, with the same password
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
    """The password that lies there, or a new one, durably written: whoever writes first decides.

    The file appears whole or not at all, so that a start that died half-way, or two at once, leave one password.
    """
    if not place.exists():
        draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(f"{secrets.token_urlsafe(24)}\n")
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
