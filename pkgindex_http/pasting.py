"""The lines to paste: how each client is pointed at a server that is reached under a URL."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def lines_to_paste(url: str, *, credentials: str = "") -> tuple[str, ...]:
    """One line a client. `url` has no slash at its end; `credentials` are words for twine."""
    twine = " ".join(
        word for word in ("twine upload", f"--repository-url {url}/legacy/", credentials, "dist/*") if word
    )
    return (
        f"pip install --index-url {url}/simple/{_trust(url)} PACKAGE",
        f"uv pip install --default-index {url}/simple/ PACKAGE",
        f"uvx --default-index {url}/simple/ TOOL",
        twine,
        f"uv publish --publish-url {url}/legacy/ dist/*",
        f"devpi use {url}",
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own by its form."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(url: str) -> str:
    """What pip wants for plain HTTP from another machine: without it pip ignores the index with a warning."""
    parts = urlsplit(url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return ""
    return f" --trusted-host {parts.netloc}"
