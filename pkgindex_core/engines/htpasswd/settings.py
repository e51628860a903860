"""The table `[plugins.htpasswd]`, and the authenticator that it describes. Without the table there is none.

[plugins.htpasswd]
path = "/srv/packages/.htpasswd"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Authenticator


class HtpasswdSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[plugins.htpasswd]`."""

    path: str
    """The file. It is read again when it changes."""


def make_htpasswd(context: Context) -> Authenticator | None:
    """The authenticator that `[plugins.htpasswd]` describes; None when there is no such table. A file that is not there is `Refused`."""
    if not context.is_configured:
        return None
    if context.passwords is None:
        raise LookupError("passwords need what bounds their comparison")
    # Loaded for those that use it: a start without an htpasswd file does not load the hashes.
    from pkgindex_core.engines.htpasswd.authenticator import HtpasswdAuthenticator
    from pkgindex_core.engines.htpasswd.password_file import PasswordFile

    path = Path(_read_settings(context.settings).path).expanduser()
    file = PasswordFile(path, clock=context.clock, workers=context.workers)
    try:
        file.read()
    except PkgIndexError as error:
        raise Refused(
            f"the password file {path} cannot be read", hint=f"make it: htpasswd -B -c {path} NAME"
        ) from error
    return HtpasswdAuthenticator(file, context.passwords)


def _read_settings(table: Mapping[str, Any]) -> HtpasswdSettings:
    try:
        return msgspec.convert(table, HtpasswdSettings)
    except msgspec.ValidationError as error:
        raise Refused(f"[plugins.htpasswd]: {error}", hint='write path = "/srv/packages/.htpasswd"') from error
