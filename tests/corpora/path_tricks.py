"""Spellings that have opened holes in servers of files: traversals, disguised separators, names that mean something else.

    for trick in PATH_TRICKS:
        answer = send(b"GET /simple/" + trick.raw + b"/ HTTP/1.1")      # not through a client that normalises
        assert answer.status < 500 and CANARY not in answer.body

For the tests of whatever turns names into answers. Each trick stands in the place
of one path segment (some bring slashes along) and is written as it goes over the wire, so that an HTTP client cannot put it
right; `text` is what a decoder makes of it, for form fields and filenames. What must hold for all of them: refused, not
found or redirected to the one canonical spelling; never an internal error; never a byte that is not the named thing's.

Sources: traversals and injections that were published for package indexes and HTTP servers, and what devpi, Windows and Unicode
make of names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

TARGET: Final = "etc/passwd"
"""What traversals aim at. `path_tricks` takes another one, such as the path of a canary."""


class PathTrick(Struct, frozen=True):
    """One spelling, and what it tries."""

    kind: str
    raw: bytes
    """Bytes that may stand in a request target: no blank, no control character."""

    @property
    def text(self) -> str:
        """The text after decoding once, leniently: what a form field or a filename would carry."""
        return unquote_to_bytes(self.raw).decode("utf-8", "replace")


# How a dot and a separator have been written so that a check and a file system disagreed about them.
_DOTS = (
    "..",
    "%2e%2e",
    ".%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%ef%bc%8e%ef%bc%8e",
    "%u002e%u002e",
    "..;",
    "..%00",
    "..%20",
    "...",
)
_SEPARATORS = ("/", "%2f", "%5c", "\\", "%252f", "%255c", "%c0%af", "%ef%bc%8f", "%u2215", "//")
_DEPTHS = (1, 6)

_RESERVED = (
    *("+f", "+e", "+api", "+simple", "+login", "+live", "+ready", "+explain", "+status", "+at", "+changes", "+metrics"),
    *("%2Bf", "%2Bsimple", "%2blive", "+", "++", "+F", "simple", "legacy", "pypi", "integrity", "packages", "project"),
    *("static", "v1+json", "v1%2Bjson", "v1+html", "favicon.ico", "robots.txt", "index.html", ".git", ".git/config"),
    *(".env", ".htpasswd", ".well-known", ".ssh/id_rsa", "root-password", "index.sqlite", "blobs", "proc/self/environ"),
)
_WINDOWS = (
    *("CON", "con", "NUL", "AUX", "PRN", "COM1", "LPT9", "con.txt", "NUL.whl", "demo.", "demo..", "demo%20", "demo%09"),
    *("demo::$DATA", "demo:$DATA", "demo%3a%3a$DATA", "C:", "C:%5cWindows", "c:/windows/win.ini", "%5c%5chost%5cshare"),
    *("PROGRA~1", "demo~1.whl", "%5c%5c?%5cC:%5c", "%5c%5c.%5cpipe%5cx"),
)
_UNICODE = (
    *("caf%c3%a9", "cafe%cc%81", "%ef%bd%84emo", "d%d0%b5mo", "%e2%80%aeomed", "de%e2%80%8bmo", "%ef%bb%bfdemo"),
    *("%c5%bfimple", "%e2%84%aa", "%c4%b0", "%c4%b1", "%c3%9f", "%ef%ac%81le", "%cc%81", "%f0%9f%90%8d", "%c2%a0demo"),
    *(
        "demo%c2%85",
        "demo%e2%80%a8",
        "%e2%80%a5",
        "%e2%80%a6",
        "%ef%bf%bf",
        "%f4%8f%bf%bf",
        "%e1%9a%80",
        "%d9%a1.%d9%a0",
    ),
)
_BROKEN_UTF8 = (
    *("%ff", "%fe", "%80", "%c3", "%c3%28", "%a0%a1", "%e2%28%a1", "%e2%82", "%f0%28%8c%bc", "%f8%a1%a1%a1%a1"),
    *(
        "%ed%a0%80",
        "%ed%b0%80",
        "%ed%a0%80%ed%b0%80",
        "%f4%90%80%80",
        "%c0%80",
        "%c1%bf",
        "demo%ff",
        "%ffdemo",
        "%41%ff",
    ),
)
_PERCENT = (
    *("%", "%%", "%2", "%zz", "%-1", "%u0041", "%25", "%2525", "%25252e", "%252500", "%25252f", "%0", "%g0", "100%"),
    *("%2%65", "%%32%65", "%2 ".strip(), "%e", "%C3", "%u", "%x2e", "&#46;&#46;", "\\x2e\\x2e", "%26%2346%3b"),
)
_NAMES = (
    *(
        "-demo",
        "demo-",
        ".demo",
        "demo.",
        "_demo",
        "demo_",
        "de--mo",
        "de-_.mo",
        "DEMO",
        "Demo",
        "a",
        "-",
        "_",
        ".",
        "...",
    ),
    *(
        "demo==1.0",
        "demo[extra]",
        "demo@1.0",
        "demo%20",
        "%20demo",
        "demo,other",
        "demo;x=1",
        "demo;",
        "demo:80",
        "@demo",
    ),
    *(
        "1.0",
        "1.0.0",
        "v1.0",
        "1.0+local",
        "1.0%2Blocal",
        "1!1",
        "1%211",
        "1.0-1",
        "01.0",
        "1.0.post",
        "2004d",
        "*",
        "**",
    ),
    *("demo-1.0.tar.gz.whl", "demo-1.0-py3-none-any.whl.metadata.metadata", ".metadata", ".whl", ".tar.gz", "metadata"),
    *("demo-1.0-py3-none-any.whl%00.metadata", "demo-1.0-py3-none-any.whl.provenance", "demo-1.0-py3-none-any.whl.asc"),
    *(
        "demo-1.0-py3-none-any.whl.",
        "demo-1.0-py3-none-any.WHL",
        "Demo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any.whl%20",
    ),
    *("demo-1.0-1-py3-none-any.whl", "demo-1.0-py3-none-any.whl~", "demo-1.0-py3-none-any.whl;x", "a-b-1-2.tar.gz"),
    *(
        "~",
        "~root",
        "~root/.ssh",
        "$HOME",
        "${HOME}",
        "%24%7bHOME%7d",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "%7b%7b7*7%7d%7d",
    ),
    *(
        "{project}",
        "%7bproject%7d",
        "{0.__class__}",
        "%25s%25n",
        "$(id)",
        "`id`",
        "|id",
        "%7cid",
        "'%20OR%201=1--",
        "%27",
    ),
    *("%25", "_%25", "demo%25", "demo_", "null", "None", "undefined", "true", "0", "-1", "9" * 40, "1e400", "NaN"),
)
_SCRIPTS = (
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg onload=alert(1)>", "javascript:alert(1)"),
    *("</title><script>x</script>", "<!--", "-->", "]]>", "<a href=//evil>", '"onmouseover="x', "{{constructor}}"),
    *(
        "<iframe src=//evil>",
        "<base href=//evil/>",
        "<meta http-equiv=refresh content=0>",
        "<?xml version=1.0?>",
        "%3Cb%3E",
    ),
)
_INJECTIONS = (
    *(
        "%0d%0aX-Injected:%20yes",
        "%0aX-Injected:%20yes",
        "%0dX-Injected:%20yes",
        "demo%0d%0a%0d%0a<b>",
        "%0d%0a%20folded",
    ),
    *(
        "%E5%98%8A%E5%98%8DX-Injected:%20yes",
        "%u000d%u000aX-Injected:yes",
        "%250d%250aX-Injected:yes",
        "%c4%8d%c4%8aX:y",
    ),
    *(
        "\\r\\nX-Injected:yes",
        "%5cr%5cnX-Injected:yes",
        "demo%0d%0aSet-Cookie:a=b",
        "%0d%0aContent-Length:0%0d%0a%0d%0a",
    ),
    *(
        "%0d%0aLocation:%20//evil",
        "%e2%80%a8X-Injected:yes",
        "%c2%85X-Injected:yes",
        "%0bX-Injected:yes",
        "%0cX-Injected:yes",
    ),
)
_SHAPES = (
    *(
        "/",
        "//",
        "///",
        "//evil.example.com",
        "/%2F%2F..%2F..%2F{target}",
        "%2F%2F..%2F..%2F{target}",
        "./demo",
        "demo/.",
    ),
    *(
        "demo/..",
        "demo/../demo",
        "demo/../../{target}",
        "demo//",
        "/./",
        "./",
        "%2e/",
        "%2e",
        "%2e%2e",
        "%2f",
        "%2f{target}",
    ),
    *(
        "file:///{target}",
        "file:%2f%2f%2f{target}",
        "http://evil.example.com/",
        "http:%2f%2fevil.example.com",
        "//{target}",
    ),
    *(
        "demo%2f",
        "%2fdemo",
        "demo%5c",
        "demo%2fdemo",
        "demo%2f..%2fdemo",
        "demo/%2e%2e/{target}",
        "..%2f..%2f{target}%00.whl",
    ),
    *(
        "demo?x=1",
        "demo?",
        "?",
        "?../../{target}",
        "demo%3fx",
        "demo%23x",
        "demo?format=%ff",
        "demo?format=%00",
        "demo?%0d%0aX-Injected:y",
    ),
    *(
        "demo?a=" + "b" * 2000,
        "?" + "&" * 500,
        "?force",
        "?:action=file_upload",
        "demo&x=1",
        "demo;jsessionid=1",
        "demo=",
        "=",
    ),
)
_LENGTHS = (63, 64, 65, 213, 214, 215, 254, 255, 256, 1023, 4000, 4095, 4096, 8000)


def path_tricks(target: str = TARGET) -> tuple[PathTrick, ...]:
    """The whole corpus, with traversals that aim at `target` (a path below the file system's root)."""
    return tuple({trick.raw: trick for trick in _all(target)}.values())


def _all(target: str) -> Iterator[PathTrick]:
    aim = quote(target.strip("/"))
    for dots, separator, depth in itertools.product(_DOTS, _SEPARATORS, _DEPTHS):
        yield _trick("traversal", (dots + separator) * depth + aim)
    yield from _tricks("shape", (shape.replace("{target}", aim) for shape in _SHAPES))
    yield from _tricks("control character", (f"demo%{code:02x}" for code in (*range(32), 127)))
    yield from _tricks("control character", (f"%{code:02x}demo" for code in (0, 9, 10, 13, 27, 127)))
    yield from _tricks("control character", (f"de%c2%{code:02x}mo" for code in (0x80, 0x85, 0x9B, 0x9F)))
    yield from _tricks("header injection", _INJECTIONS)
    yield from _tricks("reserved", _RESERVED)
    yield from _tricks("windows", _WINDOWS)
    yield from _tricks("unicode", _UNICODE)
    yield from _tricks("broken utf-8", _BROKEN_UTF8)
    yield from _tricks("percent", _PERCENT)
    yield from _tricks("name", _NAMES)
    yield from _tricks("script", _SCRIPTS)
    yield from _tricks("length", ("a" * length for length in _LENGTHS))
    yield from _tricks(
        "length", ("a" * 200 + ending for ending in ("-1.0-py3-none-any.whl", "-1.0.tar.gz", "%00", "-" * 60))
    )
    yield from _tricks("length", ("-".join("a" * 300), "." * 300, "%2e" * 300, "/".join("a" * 300), "../" * 300))
    # The same without a disguise: bytes that clients would have to encode and attackers do not.
    for raw in (
        b"\xff",
        b"demo\xff",
        b"\xffdemo",
        b"\xc0\xae\xc0\xae/",
        b"caf\xc3\xa9",
        b"%41\xff",
        b"\xed\xa0\x80",
        b"\x80\x81",
    ):
        yield PathTrick("raw bytes", raw)


def _tricks(kind: str, spellings: Iterable[str]) -> Iterator[PathTrick]:
    for spelling in spellings:
        yield _trick(kind, spelling)


def _trick(kind: str, spelling: str) -> PathTrick:
    # A blank would end the request target; encoded it is a blank in the name, which is the trick.
    return PathTrick(kind, spelling.replace(" ", "%20").encode())


PATH_TRICKS: Final = path_tricks()
"""The corpus as it is, aimed at `TARGET`."""
