"""Log-ins with passwords of an LDAP directory (the extra `ldap`)."""

from pkgindex_core.engines.ldap.making import make_ldap

__all__ = ["make_ldap"]
