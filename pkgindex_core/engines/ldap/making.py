"""Makes the authenticator of `[plugins.ldap]`. A start without that table loads nothing else of this package."""

from __future__ import annotations

from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Authenticator


def make_ldap(context: Context) -> Authenticator | None:
    """The authenticator that `[plugins.ldap]` describes; None when there is no such table."""
    if not context.is_configured:
        return None
    from pkgindex_core.engines.ldap.authenticator import LdapAuthenticator
    from pkgindex_core.engines.ldap.settings import read_settings

    settings = read_settings(context.settings)
    try:
        from pkgindex_core.engines.ldap.directory import LdapDirectory
    except ImportError as error:
        raise Refused(
            f"[plugins.ldap] needs a package that is not installed: {error.name}",
            hint="install the server with its extra `ldap`: pip install 'pkgindex[ldap]'",
        ) from error
    return LdapAuthenticator(
        LdapDirectory(settings),
        context,
        rejects=not settings.reject_as_unknown,
        # A log-in makes at most three connections (search, log-in, groups) to every server.
        patience=float(settings.timeout * (1 + len(settings.servers))),
    )
