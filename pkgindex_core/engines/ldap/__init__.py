"""Log-ins that an LDAP directory judges (the extra `ldap`)."""

from pkgindex_core.engines.ldap.authenticator import make_ldap

__all__ = ["make_ldap"]
