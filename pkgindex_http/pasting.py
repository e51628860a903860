"""The lines to paste: one command for each client, with the URL of the server."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def lines_to_paste(url: str, *, credentials: str = "", uploads: bool = True) -> tuple[str, ...]:
    """One line for each client. `url` has no slash at its end. `credentials` are arguments of uploads. `uploads`: whether the index takes any."""
    files = f"{credentials} dist/*".lstrip()
    reading = installing_lines(f"{url}/simple")
    if not uploads:
        return reading
    return (
        *reading,
        f"twine upload --repository-url {url}/legacy/ {files}",
        f"uv publish --publish-url {url}/legacy/ {files}",
        f"devpi use {url}",
    )


def installing_lines(index: str) -> tuple[str, ...]:
    """One line for each installer. `index` is the URL of a simple index, with no slash at its end."""
    return (
        f"pip install --index-url {index}/{_trust(index)} PACKAGE",
        f"uv pip install --default-index {index}/ PACKAGE",
        f"uvx --default-index {index}/ TOOL",
        f"poetry source add --priority=primary pkgindex {index}/",
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine, by its form."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(url: str) -> str:
    """The option of pip for plain HTTP from another machine. Without it pip ignores the index with a warning."""
    parts = urlsplit(url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return ""
    return f" --trusted-host {parts.netloc}"
