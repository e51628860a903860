"""The table `[issuers]`: who may vouch for publishers. Only the operator writes it, so no user makes the server ask a URL.

[issuers.github]                              GitHub, GitLab and Google need no more than their name
[issuers.ourlab]
shape = "gitlab"
url = "https://gitlab.example.com"
[issuers.acme]
url = "https://ci.example.com/oidc"           any issuer: publishers name its claims
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.rules.trusted_publishers import Shape

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "github": {"shape": "github", "url": "https://token.actions.githubusercontent.com"},
    "gitlab": {"shape": "gitlab", "url": "https://gitlab.com"},
    "google": {
        "shape": "google",
        "url": "https://accounts.google.com",
        "keys_url": "https://www.googleapis.com/oauth2/v3/certs",
    },
}


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer."""

    name: str = ""
    url: str
    """As tokens name it in `iss`."""
    shape: Shape = "generic"
    keys_url: str = ""
    """The URL of its keys (JWKS); empty: what its discovery document says, which must be on the same host."""
    ca_file: str = ""
    """Certificates (PEM) to trust for it, instead of the system's."""


def read_issuers(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Issuer]:
    """Read the table, by name. Raises `Refused` with all problems."""
    found: dict[str, Issuer] = {}
    problems: list[str] = []
    for name, given in table.items():
        try:
            issuer = msgspec.convert({**_KNOWN.get(name, {}), **given}, Issuer)
        except msgspec.ValidationError as error:
            problems.append(f"[issuers.{name}]: {error}")
            continue
        if not _NAME.fullmatch(name):
            problems.append(f"[issuers.{name}]: a name has small letters, digits and -")
        if name in _KNOWN and issuer.shape != name:
            problems.append(f"[issuers.{name}]: this name is for issuers of the shape {name}")
        for url in filter(None, (issuer.url, issuer.keys_url)):
            parts = urlsplit(url)
            if not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
                problems.append(f"[issuers.{name}]: {url!r} is no https URL")
        found[name] = replace(issuer, name=name)
    urls = [each.url for each in found.values()]
    problems += [f"[issuers]: two issuers have the URL {url}" for url in sorted({u for u in urls if urls.count(u) > 1})]
    if problems:
        raise Refused(problems, hint="an issuer has url, and perhaps shape, keys_url and ca_file")
    return found
