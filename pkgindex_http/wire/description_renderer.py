"""The process that renders one description: reads `content type, line end, text`, and writes HTML. `descriptions` starts it.

Its memory and processor time are bounded where the system can do so.
"""

from __future__ import annotations

import sys
from typing import Final

_MEMORY_BYTES: Final = 512 * 1024 * 1024
_CPU_SECONDS: Final = 10
_LONGEST: Final = 2 * 1024 * 1024
"""The most bytes of HTML. Each reference to a link repeats its target, so a short text can become hundreds of megabytes."""
_LINKS: Final = ("http://", "https://", "mailto:")


def main() -> int:
    """Render the standard input. The exit code is 1 if the text cannot be rendered."""
    _limit()
    kind, _, data = sys.stdin.buffer.read().partition(b"\n")
    rendered = _rendered(kind.decode("ascii", "replace"), data.decode("utf-8", "replace"))
    if rendered is None or len(rendered) > _LONGEST:
        return 1
    written = clean(rendered).encode()
    if len(written) > _LONGEST:
        return 1
    sys.stdout.buffer.write(written)
    return 0


def _limit() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))


def _rendered(kind: str, text: str) -> str | None:
    from readme_renderer import markdown, rst, txt

    renderer = {"text/markdown": markdown, "text/x-rst": rst}.get(kind, txt)
    rendered: str | None = renderer.render(text)
    return rendered


def clean(rendered: str) -> str:
    """The HTML without images, which would tell their servers who reads it, and without links into this server."""
    import nh3

    def attribute(tag: str, name: str, value: str) -> str | None:
        if (
            tag == "pre" and name == "lang"
        ):  # the programming language of a block of code, which is no language of people
            return None
        if name in {"href", "cite", "src"} and not value.lower().startswith(_LINKS):
            return None
        return value

    return nh3.clean(
        rendered,
        tags=nh3.ALLOWED_TAGS - {"img", "map", "area"},
        attribute_filter=attribute,
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # a long line is scrolled, also by keys
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener",
    )


if __name__ == "__main__":
    sys.exit(main())
