"""The table `[plugins.ldap]`: the options of devpi-ldap under the same names. All problems are reported together.

    url = "ldaps://ldap.example.com"
    [plugins.ldap.user_search]
    base = "ou=people,dc=example,dc=com"
    filter = "(&(objectClass=person)(uid={username}))"
    attribute_name = "dn"

Two things differ from devpi-ldap, both to protect passwords: certificates are verified unless `validate = "none"`, and
`start_tls` exists. Messages never contain secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion

_URL = re.compile(r"\A(?:ldaps?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?/?|ldapi://\S+)\Z")
_DOCUMENT: Final = Path(__file__).with_name("README.md")  # it is installed too
_VALIDATIONS: Final = {0: "none", 1: "optional", 2: "required"}  # how YAML files write Python's ssl.CERT_… constants

Table = TypeVar("Table", bound=Struct)


class Tls(Struct, frozen=True, kw_only=True):
    """How connections to the directory are encrypted. Most options have the names of the arguments of ldap3's `Tls`. Empty text is unset."""

    validate: Literal["required", "optional", "none"] = "required"
    """Whether the directory must have a certificate that is valid (`required`), whether one is checked if it has one (`optional`), or whether
    none is checked (`none`)."""
    ca_certs_file: str = ""
    """A file with the trusted certificates, as PEM."""
    ca_certs_path: str = ""
    """A directory with them."""
    ca_certs_data: str = ""
    """Their text, as PEM."""
    local_certificate_file: str = ""
    """The certificate of this server, if the directory asks for one."""
    local_private_key_file: str = ""
    """The key of that certificate."""
    local_private_key_password: str = ""
    """The password of that key."""
    valid_names: Annotated[tuple[str, ...], Meta(max_length=1)] = ()
    """The name in the certificate, when it is not the URL's host."""
    ciphers: str = ""
    """Permitted ciphers, as OpenSSL writes them."""
    sni: str = ""
    """The host name that is sent in the TLS handshake."""
    start_tls: bool = False
    """Encrypt an `ldap://` connection before anything is sent."""

    def __repr__(self) -> str:
        return "Tls(***)"


class LdapServer(Struct, frozen=True, kw_only=True):
    url: str
    tls: Tls | None = None


class Search(Struct, frozen=True, kw_only=True):
    """A search for users or groups."""

    base: str
    filter: str
    attribute_name: str
    """The attribute whose values count; `dn` is the entry's own name."""
    scope: Literal["base-object", "single-level", "whole-subtree"] = "whole-subtree"
    userdn: str = ""
    """The name to bind with for the search; empty: anonymous for users, and the user that logs in for groups."""
    password: str = ""

    def __repr__(self) -> str:
        return f"Search({self.base!r}, {self.filter!r}, ***)"


class LdapSettings(Struct, frozen=True, kw_only=True):
    """A checked configuration."""

    servers: tuple[LdapServer, ...]
    user_template: str
    """The name to log in with, around `{username}`; empty when users are searched for."""
    user_search: Search | None
    group_search: Search | None
    referrals: bool
    reject_as_unknown: bool
    """Whether a wrong password passes the credentials to the next authenticator, as for an unknown user."""
    timeout: int
    """The time limit in seconds of each step."""


class _Written(Struct, frozen=True, kw_only=True):
    """The table as written."""

    url: str = ""
    server_pool: list[dict[str, Any]] = []
    tls: dict[str, Any] | None = None
    user_template: str = ""
    user_search: dict[str, Any] | None = None
    group_search: dict[str, Any] | None = None
    referrals: bool = True
    reject_as_unknown: bool = True
    timeout: Annotated[int, Meta(ge=1, le=300)] = 10


def read_settings(raw: Mapping[str, Any]) -> LdapSettings:
    """Read and check the table. Raises `Refused` with all problems."""
    problems: list[str] = []
    written = _table(_Written, raw, "plugins.ldap", problems) or _Written()  # no option is mandatory
    servers = _servers(raw, written, problems)
    template = written.user_template
    if ("user_template" in raw) == ("user_search" in raw):
        problems.append("[plugins.ldap]: give either user_template or user_search")
    if template and ("{username}" not in template or set(template.replace("{username}", "")) & {"{", "}"}):
        problems.append("[plugins.ldap] user_template: it must have {username} in it, and no other braces")
    user_search = _search(raw, written.user_search, "user_search", ("{username}",), problems)
    group_search = _search(raw, written.group_search, "group_search", ("{userdn}", "{username}"), problems)
    if problems:
        raise Refused(problems, hint=f"the options are those of devpi-ldap; {_DOCUMENT} lists them")
    return LdapSettings(
        servers=servers,
        user_template=template,
        user_search=user_search,
        group_search=group_search,
        referrals=written.referrals,
        reject_as_unknown=written.reject_as_unknown,
        timeout=written.timeout,
    )


def _servers(raw: Mapping[str, Any], written: _Written, problems: list[str]) -> tuple[LdapServer, ...]:
    if ("url" in raw) == ("server_pool" in raw):
        problems.append("[plugins.ldap]: give either url or server_pool")
        return ()
    pool = written.server_pool if "server_pool" in raw else [{"url": written.url, "tls": written.tls}]
    if not pool:
        problems.append("[plugins.ldap] server_pool: it must be a list of tables, and not empty")
    servers = []
    for position, entry in enumerate(pool, 1):
        where = f"plugins.ldap.server_pool.{position}" if "server_pool" in raw else "plugins.ldap"
        tls = entry.get("tls")
        encrypted = _tls(tls, f"{where}.tls", problems) if tls is not None else None
        server = _table(LdapServer, {**entry, "tls": None}, where, problems)
        if server is None:
            continue
        if not _URL.match(server.url):
            problems.append(f"[{where}] url: write ldap://host or ldaps://host, perhaps with a port")
        if encrypted is not None and encrypted.start_tls and not server.url.startswith("ldap://"):
            problems.append(f"[{where}.tls] start_tls: it is for ldap:// only")
        servers.append(LdapServer(url=server.url, tls=encrypted))
    return tuple(servers)


def _tls(raw: Any, where: str, problems: list[str]) -> Tls | None:
    if not isinstance(raw, Mapping):
        problems.append(f"[{where}]: a table is expected")
        return None
    validate = raw.get("validate", "required")
    number = validate if isinstance(validate, int) and not isinstance(validate, bool) else None
    given = {**raw, "validate": _VALIDATIONS.get(number, validate) if number is not None else validate}
    return _table(Tls, given, where, problems)


def _search(
    raw: Mapping[str, Any],
    table: dict[str, Any] | None,
    name: str,
    placeholders: tuple[str, ...],
    problems: list[str],
) -> Search | None:
    if name not in raw or table is None:
        return None
    where = f"plugins.ldap.{name}"
    search = _table(Search, table, where, problems)
    if bool(table.get("userdn")) != bool(table.get("password")):
        problems.append(f"[{where}]: userdn and password belong together")
    if search is None:
        return None
    rest = search.filter
    for placeholder in placeholders:
        rest = rest.replace(placeholder, "")
    if rest == search.filter or set(rest) & {"{", "}"}:
        problems.append(f"[{where}] filter: it must have {' or '.join(placeholders)} in it, and no other braces")
    return search


def _table(kind: type[Table], raw: Mapping[str, Any], where: str, problems: list[str]) -> Table | None:
    """Read a table into a Struct, and add its problems to `problems`; None when a mandatory option is missing."""
    known = {field.name: field for field in fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    problems.extend(
        f"[{where}]: unknown option {name!r}; {suggestion(name, known)}" for name in raw if name not in known
    )
    values: dict[str, Any] = {}
    whole = True
    for name, field in known.items():
        necessary = field.default is NODEFAULT and field.default_factory is NODEFAULT
        if name in raw:
            try:
                values[name] = msgspec.convert(raw[name], hints[name])
            except msgspec.ValidationError as error:
                choices = [str(each) for each in get_args(hints[name])] if get_origin(hints[name]) is Literal else []
                told = f"write one of {', '.join(choices)}" if choices else str(error).partition(" - at")[0]
                problems.append(f"[{where}] {name}: {told}")
                whole = whole and not necessary
        elif necessary:
            problems.append(f"[{where}]: the option {name!r} is missing")
            whole = False
    return kind(**values) if whole else None
