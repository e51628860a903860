"""Checks passwords with a directory. Blocking, and bounded in time.

    find the user's entry -> bind as the user -> read the groups

A bind that fails because of the password is an answer. Every other failure (no server, a certificate, an administrator's
password, an unfinished search) is `Silent`, because it does not tell whether the password is right. The user's text is always
escaped. Schemas are not read, which saves time.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.protocol.sasl.sasl import validate_simple_password
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from pkgindex_core.engines.ldap.answers import Accepted, Answer, Silent
from pkgindex_core.engines.ldap.settings import LdapServer, LdapSettings, Search, Tls

logger = logging.getLogger("pkgindex.ldap")

_SCOPES: Final = {"base-object": ldap3.BASE, "single-level": ldap3.LEVEL, "whole-subtree": ldap3.SUBTREE}
_VALIDATIONS: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
# RFC 4511 4.1.9. About the user: invalidCredentials, noSuchObject, invalidDNSyntax, inappropriateAuthentication,
# insufficientAccessRights, unwillingToPerform (locked or expired, says many a directory), constraintViolation (too many attempts).
_REJECTIONS: Final = frozenset({49, 32, 34, 48, 50, 53, 19})


class LdapDirectory:
    """Checks passwords. Every call opens its own connections. Safe for any number of threads."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._servers = [(each, _server(each, settings.timeout)) for each in settings.servers]

    def verify(self, username: str, password: str) -> Answer:
        """Check a password, or raise `Silent`."""
        name = self._name(username)
        if name is None:
            return "unknown"
        if not password.strip() or not _can_be_sent(password):
            return "rejected"  # RFC 4513 5.1.2: a bind without a password succeeds, and proves nothing
        with self._connected(name, password) as connection:
            if connection is None:
                return "rejected"
            search = self._settings.group_search
            if search is None:
                return Accepted(())
            texts = {"{username}": username, "{userdn}": name}
            return Accepted(tuple(sorted(set(self._found(search, texts, connection)))))

    def _name(self, username: str) -> str | None:
        """The name with which a user binds."""
        search = self._settings.user_search
        if search is None:
            return self._settings.user_template.replace("{username}", escape_rdn(username))
        names = self._found(search, {"{username}": username}, None)
        if len(names) > 1:
            logger.warning("the user search finds %d entries for one user name; it has to find one", len(names))
        return names[0] if len(names) == 1 else None

    def _found(self, search: Search, texts: Mapping[str, str], connection: Any) -> list[str]:
        """The values that a search finds. Uses the given connection, unless the settings name another user for the search."""
        wanted = search.filter
        for placeholder, text in texts.items():
            wanted = wanted.replace(placeholder, escape_filter_chars(text))
        if connection is not None and not search.userdn:
            return self._values(connection, search, wanted)
        with self._connected(search.userdn, search.password) as own:
            if own is None:
                raise Silent(f"it does not let {search.userdn or 'anybody anonymous'} search below {search.base}")
            return self._values(own, search, wanted)

    def _values(self, connection: Any, search: Search, wanted: str) -> list[str]:
        own_name = search.attribute_name.lower() == "dn"
        connection.search(
            search.base,
            wanted,
            search_scope=_SCOPES[search.scope],
            attributes=[ldap3.NO_ATTRIBUTES if own_name else search.attribute_name],
            time_limit=self._settings.timeout,
        )
        if connection.result["result"] != 0:
            raise Silent(f"a search below {search.base} ended with {connection.result['description']}")
        entries = [entry for entry in connection.response if entry["type"] == "searchResEntry"]
        if own_name:
            return [str(entry["dn"]) for entry in entries]
        return [value for entry in entries for value in _texts(entry["raw_attributes"], search.attribute_name)]

    @contextmanager
    def _connected(self, name: str, password: str) -> Iterator[Any]:
        """A bound connection to the first server that answers; None when it rejects the credentials."""
        reasons = []
        for written, server in self._servers:
            connection = ldap3.Connection(
                server,
                user=name or None,
                password=password or None,
                authentication=ldap3.SIMPLE if name else ldap3.ANONYMOUS,
                read_only=True,
                auto_referrals=self._settings.referrals,
                receive_timeout=self._settings.timeout,
                check_names=False,
            )
            try:
                bound = _bind(connection, written.tls)
            except (LDAPException, OSError) as error:
                _close(connection)
                reasons.append(f"{written.url}: {type(error).__name__}: {error}")
                continue
            try:
                if not bound and connection.result["result"] not in _REJECTIONS:
                    reasons.append(f"{written.url}: the bind ended with {connection.result['description']}")
                    continue
                try:
                    yield connection if bound else None
                except (LDAPException, OSError) as error:
                    raise Silent(f"{written.url}: {type(error).__name__}: {error}") from error
            finally:
                _close(connection)
            return
        raise Silent("; ".join(reasons))


def _can_be_sent(password: str) -> bool:
    """Whether a directory can have such a password: without controls, and with something left of it (RFC 4513 5.1.3, RFC 4013)."""
    try:
        validate_simple_password(password)
    except LDAPException:
        return False
    return True


def _bind(connection: Any, tls: Tls | None) -> bool:
    connection.open()
    if tls is not None and tls.start_tls:
        connection.start_tls()
    return bool(connection.bind())


def _close(connection: Any) -> None:
    with suppress(LDAPException, OSError):
        connection.unbind()
    if connection.socket is not None:  # ldap3 leaves it open when the connection was never made
        with suppress(OSError):
            connection.socket.close()


def _server(written: LdapServer, timeout: int) -> Any:
    tls = written.tls or (Tls() if written.url.startswith("ldaps://") else None)
    return ldap3.Server(
        written.url, get_info=ldap3.NONE, connect_timeout=timeout, tls=None if tls is None else _VerifiedTls(tls)
    )


class _VerifiedTls(ldap3.Tls):  # type: ignore[misc]  # ldap3 ships no type information
    """TLS with Python's verification: ldap3's own comparison of names does not support IP addresses, and leaves sockets open."""

    def __init__(self, settings: Tls) -> None:
        super().__init__(validate=_VALIDATIONS[settings.validate])
        context = ssl.create_default_context(
            cafile=settings.ca_certs_file or None,
            capath=settings.ca_certs_path or None,
            cadata=settings.ca_certs_data or None,
        )
        context.check_hostname = settings.validate == "required"
        context.verify_mode = _VALIDATIONS[settings.validate]
        if settings.local_certificate_file:
            context.load_cert_chain(
                settings.local_certificate_file,
                settings.local_private_key_file or None,
                settings.local_private_key_password or None,
            )
        if settings.ciphers:
            context.set_ciphers(settings.ciphers)
        self._context = context
        self._name = next(iter(settings.valid_names), settings.sni)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Encrypt a connection; called by ldap3."""
        connection.socket = self._context.wrap_socket(
            connection.socket,
            server_hostname=self._name or connection.server.host,
            do_handshake_on_connect=do_handshake,
        )


def _texts(attributes: Mapping[str, Sequence[bytes]], wanted: str) -> list[str]:
    """The values of an attribute, whose name is compared without case (RFC 4512 2.5)."""
    return [
        value.decode("utf-8", "replace")
        for name, values in attributes.items()
        if name.lower() == wanted.lower()
        for value in values
    ]
