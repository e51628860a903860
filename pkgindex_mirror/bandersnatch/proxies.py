"""The proxy that the environment names, in the order in which bandersnatch looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLES: Final = ("SOCKS5_PROXY", "SOCKS4_PROXY", "SOCKS_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
"""The first that is set counts, in small letters before capitals."""


FROM_ENVIRONMENT: Final = "environment variable"
"""The first words of the origin of such a proxy."""


def environment_proxy(environ: Mapping[str, str]) -> tuple[str, str]:
    """The URL of the proxy and the name of the variable; two empty texts when there is none.

    As Python's `urllib.request.getproxies_environment` has it: an empty variable in small letters hides the one in capitals, and in a
    CGI program (`REQUEST_METHOD`) HTTP_PROXY does not count, because a client can set it.
    """
    for variable in VARIABLES:
        small = variable.lower()
        if small in environ:
            if environ[small]:
                return environ[small], small
        elif not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            for name, value in environ.items():
                if name.lower() == small and value:
                    return value, name
    return "", ""
