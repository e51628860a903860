"""The simple API in HTML (PEP 503 with 592, 658, 714, 740 and 792), fixed at version 1.4 (PEP 833).

Newer features exist in JSON only. Some clients read HTML with regular expressions, so the form is fixed: one
`<a …>filename</a><br>` a line, attributes in one order, no other anchor on the page (old installers follow every one), no
`<base>`.

All untrusted text is escaped. The bytes are ASCII; other characters are written as character references. So the
`Content-Type` needs no charset (some clients compare it exactly), and a client that guesses the charset guesses right.
Characters that HTML cannot express as references (most control characters, lone surrogates, noncharacters) become
U+FFFD.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pkgindex_core.digests import PUBLISHED_IN_HTML
from pkgindex_core.formats.batches import written_in_batches
from pkgindex_core.formats.kept_pages import KeptEntries
from pkgindex_core.formats.page_sections import Around
from pkgindex_core.formats.provenance_links import absolute
from pkgindex_core.models import File, PageHead, Serial, decode_file
from pkgindex_core.protocols.policies import MergedPage, PageEntry, ProjectList, Renderer
from pkgindex_core.rules.negotiation import HTML_V1

REPOSITORY_VERSION = "1.4"

_SIGNED = b',"gpg-sig":'
"""Matches only the key of a fragment: inside texts quotes are escaped."""
_is_hexadecimal = re.compile("[0-9A-Fa-f]+").fullmatch

# WHATWG HTML 13.2.5.80: references to these characters are parse errors, dropped, or read as other characters.
_INEXPRESSIBLE = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)


class HtmlRenderer:
    """Writes pages and lists as HTML, under the versioned media type or under `text/html`: the same bytes."""

    def __init__(self, media_type: str = HTML_V1, public_url: str = "") -> None:
        """`public_url`: as `Context.public_url`, for links to provenance."""
        self._media_type = media_type
        self._public_url = public_url

    @property
    def media_type(self) -> str:
        return self._media_type

    @property
    def fingerprint(self) -> str:
        return f"html-1.4-3 {self._public_url}"

    def page(self, page: MergedPage) -> bytes:
        start, _, end = self.frame(page)
        if isinstance(page.entries, KeptEntries):
            return start + _kept_lines(page.entries, self._public_url) + end
        # A page with the attribute on one link has it on all links; it says "false" where no signature is known.
        signs = any(_SIGNED in entry.row.fragment for entry in page.entries)

        def lines(before: bytes, entries: Sequence[PageEntry]) -> bytes:
            prefixes = _openings(entries)
            return before + _ascii(
                "".join([_line(prefixes[entry.prefix], entry, self._public_url, signs=signs) for entry in entries])
            )

        return written_in_batches(start, lines, page.entries, end=end)

    def around(self, prefix: str) -> Around:  # noqa: ARG002  # lines are whole
        """Nothing."""
        return Around(b"", b"", b"")

    def frame(self, page: MergedPage) -> tuple[bytes, bytes, bytes]:
        """The bytes before the files of a page, none, and those behind the files."""
        title = f"Links for {_text(page.head.display_name or page.project)}"
        return _ascii(_start(title, _status(page.head))), b"", _ascii(_end(page.serial))

    def versions(self, versions: Sequence[str], *, first: bool) -> bytes:  # noqa: ARG002  # PEP 700 lists them in JSON only
        """Nothing."""
        return b""

    def pieces(self, entries: Sequence[PageEntry]) -> list[bytes] | None:
        """The line of each file; None when a signature is known, and so each line tells of one."""
        if any(_SIGNED in entry.row.fragment for entry in entries):
            return None
        prefixes = _openings(entries)
        return [_ascii(_line(prefixes[entry.prefix], entry, self._public_url, signs=False)) for entry in entries]

    def list_start(self, serial: Serial) -> bytes:  # noqa: ARG002  # written at the end, as on PyPI
        return _ascii(_start("Simple index", ""))

    def list_part(self, part: ProjectList, *, first: bool) -> bytes:  # noqa: ARG002  # lines need no separator
        return _ascii(
            "".join([f'<a href="{row.name}/">{_text(row.display_name or row.name)}</a><br>\n' for row in part.names])
        )

    def list_end(self, serial: Serial) -> bytes:
        return _ascii(_end(serial))


def _openings(entries: Sequence[PageEntry]) -> dict[str, str]:
    """The beginnings of lines by the prefixes of their links."""
    return {prefix: f'<a href="{_text(prefix)}' for prefix in {entry.prefix for entry in entries}}


def _kept_lines(entries: KeptEntries, public_url: str) -> bytes:
    opening = f'<a href="{_text(entries.prefix)}'
    signs = _SIGNED in entries.json()
    return _ascii(
        "".join(
            [
                _anchor(opening, shown, file, absolute(file.provenance, entries.origin, public_url), signs=signs)
                for shown, file in entries.files()
            ]
        )
    )


def flat_start(title: str) -> bytes:
    """The beginning of a page that lists files of many projects (`--find-links`)."""
    return _ascii(_start(_text(title), ""))


def flat_line(entry: PageEntry) -> bytes:
    """The same link as on the project's page, after the name of the file's index."""
    opening = f'<a href="{_text(entry.prefix)}'
    return _ascii(f"{_text(entry.origin)} {_line(opening, entry, '', signs=False)}")


def flat_end() -> bytes:
    return b"</body>\n</html>\n"


def _start(title: str, status: str) -> str:
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "<head>\n"
        '<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{REPOSITORY_VERSION}">\n'
        f"{status}"
        '<meta name="robots" content="noindex">\n'
        f"<title>{title}</title>\n"
        "</head>\n"
        "<body>\n"
        f"<h1>{title}</h1>\n"
    )


def _status(head: PageHead) -> str:
    """PEP 792: `pypi:project-status` has the marker, `pypi:project-status-reason` any text."""
    if not head.status:
        return ""
    status = f'<meta name="pypi:project-status" content="{_text(head.status)}">\n'
    if head.status_reason:
        status += f'<meta name="pypi:project-status-reason" content="{_text(head.status_reason)}">\n'
    return status


def _end(serial: Serial) -> str:
    return f"</body>\n</html>\n<!--SERIAL {serial}-->\n"  # PyPI's comment: mirrors look for the serial here


def _line(opening: str, entry: PageEntry, public_url: str, *, signs: bool) -> str:
    file = decode_file(entry.row.body)
    provenance = absolute(file.provenance, entry.origin, public_url)
    return _anchor(opening, entry.row.fragment, file, provenance, signs=signs)


def _anchor(opening: str, fragment: bytes, file: File, provenance: str, *, signs: bool) -> str:
    # The link is the text of the fragment up to the quote that ends its URL. It is percent-encoded and needs no
    # escaping. If it ends with the filename, the filename needs none either.
    path = fragment.partition(b'"')[0].decode()
    filename = file.filename
    text = filename if path.endswith(filename) else _text(filename)
    # Digests should be hexadecimal here. Checking one takes less time than escaping it.
    sha256 = file.digests.get("sha256")
    attributes = f'#sha256={sha256}"' if sha256 and _is_hexadecimal(sha256) else f'{_other_digest(file.digests)}"'
    if file.requires_python:
        attributes += _requires_python(file.requires_python)
    if file.yanked:  # PEP 592: absent when not yanked; any value, even "false", means yanked
        attributes += f' data-yanked="{_text(file.yanked) if isinstance(file.yanked, str) else ""}"'
    metadata_sha256 = file.metadata_sha256
    if metadata_sha256 or file.metadata_offered:  # PEP 714: both names, the older one for pip before 23.2
        metadata = f"sha256={metadata_sha256}" if metadata_sha256 and _is_hexadecimal(metadata_sha256) else "true"
        attributes += f' data-dist-info-metadata="{metadata}" data-core-metadata="{metadata}"'
    if signs:
        attributes += f' data-gpg-sig="{"true" if file.gpg_sig else "false"}"'
    if provenance:  # fully qualified and from a secure origin (PEP 740)
        attributes += f' data-provenance="{_text(provenance)}"'
    return f"{opening}{path}{attributes}>{text}</a><br>\n"


def _other_digest(digests: Mapping[str, str]) -> str:
    """One digest only: of two, installers pick different ones."""
    for algorithm in PUBLISHED_IN_HTML:
        value = digests.get(algorithm)
        if value and _is_hexadecimal(value):
            return f"#{algorithm}={value}"
    return ""


@lru_cache(maxsize=1024)
def _requires_python(specifier: str) -> str:
    return f' data-requires-python="{_text(specifier)}"'


def _text(text: str) -> str:
    """Escape text for an attribute or between tags. A line break becomes a reference: one link is one line."""
    if text.isascii() and text.isprintable():
        return html.escape(text)
    shown = re.sub(_INEXPRESSIBLE, "\ufffd", text)  # compiled at the first use: most texts are plain
    return html.escape(shown).replace("\n", "&#10;").replace("\r", "&#13;")


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "xmlcharrefreplace")


if TYPE_CHECKING:
    _: type[Renderer] = HtmlRenderer
